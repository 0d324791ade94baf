//! Where the kernel's control groups are mounted: cgroup v1, v2, or both at once.
//!
//! Reads a mountinfo file given by the caller; must not know what is done with a group.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ballast_api::CgroupVersion;

use crate::{error::KernelError, file, path::CgroupPath};

/// The mounted hierarchies that Ballast uses. On a hybrid machine the CPU controller decides which version it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    version: CgroupVersion,
    cpu: PathBuf,
    cpuacct: PathBuf,
    memory: Option<PathBuf>,
    unified: Option<PathBuf>,
}

impl Hierarchy {
    /// Looks for the CPU controller among the mounts that `mountinfo` lists (normally `/proc/self/mountinfo`).
    ///
    /// # Errors
    /// When the file cannot be read, or no hierarchy has the CPU controller (v1: `cpu` and `cpuacct`).
    pub fn find(mountinfo: &Path) -> Result<Self, KernelError> {
        let mounts = parse_mountinfo(&file::read(mountinfo)?);
        let v1 = |controller: &str| {
            mounts
                .iter()
                .find(|mount| mount.v1_controllers.iter().any(|name| name == controller))
                .map(|mount| mount.point.clone())
        };
        let unified = mounts.iter().find(|mount| mount.unified).map(|mount| mount.point.clone());
        if let (Some(cpu), Some(cpuacct)) = (v1("cpu"), v1("cpuacct")) {
            return Ok(Self { version: CgroupVersion::V1, cpu, cpuacct, memory: v1("memory"), unified });
        }
        if let Some(root) = unified
            && file::read(&root.join("cgroup.controllers"))?.split_whitespace().any(|name| name == "cpu")
        {
            return Ok(Self {
                version: CgroupVersion::V2,
                cpu: root.clone(),
                cpuacct: root.clone(),
                memory: None,
                unified: Some(root),
            });
        }
        Err(KernelError::NoHierarchy {
            mountinfo: mountinfo.to_owned(),
            reason: "it needs cgroup v1 with the controllers cpu and cpuacct, or cgroup v2 with cpu in \
                     cgroup.controllers"
                .to_owned(),
        })
    }

    /// Where the CPU controller lives.
    #[must_use]
    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// The root folder of the hierarchy that has the CPU controller.
    #[must_use]
    pub fn cpu_root(&self) -> &Path {
        &self.cpu
    }

    /// The folder of a cgroup in the hierarchy that has the CPU controller.
    #[must_use]
    pub fn cpu_folder(&self, path: &CgroupPath) -> PathBuf {
        self.cpu.join(path)
    }

    /// The folder of a cgroup in the hierarchy that counts CPU time.
    pub(crate) fn cpuacct_folder(&self, path: &CgroupPath) -> PathBuf {
        self.cpuacct.join(path)
    }

    /// Roots that every cgroup has a folder in, each once. The CPU controller's is the first.
    pub(crate) fn required_roots(&self) -> Vec<&Path> {
        let mut roots = vec![self.cpu.as_path()];
        if self.cpuacct != self.cpu {
            roots.push(&self.cpuacct);
        }
        roots
    }

    /// Roots that a cgroup has a folder in where this is allowed: memory counters (v1), and `cgroup.kill`, which only
    /// the unified tree offers. Never cpuset: a group there without processors breaks cAdvisor.
    pub(crate) fn optional_roots(&self) -> Vec<&Path> {
        let required = self.required_roots();
        let optional = [&self.memory, &self.unified].into_iter().flatten().map(PathBuf::as_path);
        optional.filter(|root| !required.contains(root)).collect()
    }

    /// The names of the cgroups directly below `parent`, sorted; none when `parent` does not exist.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn children(&self, parent: &CgroupPath) -> Result<Vec<String>, KernelError> {
        let folder = self.cpu_folder(parent);
        match child_folders(&folder) {
            Ok(names) => Ok(names),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(file::failed("list", &folder)(error)),
        }
    }

    /// A number that tells a cgroup from a later one of the same path, until the machine reboots: the inode of its
    /// folder. Absent when there is no such cgroup.
    #[must_use]
    pub fn identity(&self, path: &CgroupPath) -> Option<u64> {
        let metadata = fs::symlink_metadata(self.cpu_folder(path)).ok()?;
        metadata.is_dir().then(|| metadata.ino())
    }
}

/// The names of the folders in `folder`, sorted. Names that are no UTF-8 are left out: no cgroup path can hold them.
pub(crate) fn child_folders(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.insert(name);
        }
    }
    Ok(names.into_iter().collect())
}

/// One mounted cgroup hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct CgroupMount {
    point: PathBuf,
    unified: bool,
    v1_controllers: Vec<String>,
}

/// The cgroup mounts of a mountinfo file (proc_pid_mountinfo(5)), those that show a whole hierarchy first.
///
/// A line is `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS`.
fn parse_mountinfo(text: &str) -> Vec<CgroupMount> {
    let mut mounts: Vec<(bool, CgroupMount)> = text.lines().filter_map(parse_mount).collect();
    // A bind mount of one subtree (as inside a container) serves only where the whole hierarchy is not in sight.
    mounts.sort_by_key(|(whole, _)| !whole);
    mounts.into_iter().map(|(_, mount)| mount).collect()
}

fn parse_mount(line: &str) -> Option<(bool, CgroupMount)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, super_options) = (filesystem.next()?, filesystem.nth(1)?);
    let unified = kind == "cgroup2";
    if !unified && kind != "cgroup" {
        return None;
    }
    let v1_controllers =
        if unified { Vec::new() } else { super_options.split(',').map(str::to_owned).collect() };
    Some((root == "/", CgroupMount { point: unescape(point).into(), unified, v1_controllers }))
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
pub(crate) fn unescape(text: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 1 0:20 / / rw - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn find(mountinfo: &str, folder: &Path) -> Result<Hierarchy, KernelError> {
        let file = folder.join("mountinfo");
        fs::write(&file, mountinfo).unwrap();
        Hierarchy::find(&file)
    }

    #[test]
    fn a_hybrid_machine_with_cpu_on_v1_is_v1() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = find(HYBRID, folder.path()).unwrap();
        assert_eq!(hierarchy.version(), CgroupVersion::V1);
        let roots = |roots: Vec<&Path>| roots.into_iter().map(Path::to_owned).collect::<Vec<_>>();
        assert_eq!(
            roots(hierarchy.required_roots()),
            [PathBuf::from("/sys/fs/cgroup/cpu"), "/sys/fs/cgroup/cpuacct".into()]
        );
        assert_eq!(
            roots(hierarchy.optional_roots()),
            [PathBuf::from("/sys/fs/cgroup/memory"), "/sys/fs/cgroup/unified".into()]
        );
    }

    #[test]
    fn controllers_mounted_together_are_one_root() {
        let folder = tempfile::tempdir().unwrap();
        let line = "32 31 0:29 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let hierarchy = find(line, folder.path()).unwrap();
        assert_eq!(hierarchy.required_roots(), [Path::new("/cg/cpu,cpuacct")]);
        assert!(hierarchy.optional_roots().is_empty());
    }

    #[test]
    fn a_unified_hierarchy_counts_only_with_the_cpu_controller() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("unified root");
        fs::create_dir(&root).unwrap();
        let escaped = root.to_str().unwrap().replace(' ', "\\040");
        let line = format!("41 31 0:38 / {escaped} rw - cgroup2 cgroup2 rw,nsdelegate\n");
        fs::write(root.join("cgroup.controllers"), "cpuset cpu io\n").unwrap();
        let hierarchy = find(&line, folder.path()).unwrap();
        assert_eq!((hierarchy.version(), hierarchy.cpu_root()), (CgroupVersion::V2, root.as_path()));
        fs::write(root.join("cgroup.controllers"), "cpuset hugetlb\n").unwrap();
        assert!(matches!(find(&line, folder.path()), Err(KernelError::NoHierarchy { .. })));
    }

    #[test]
    fn a_whole_hierarchy_is_preferred_to_a_bind_mount_of_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let part = "30 1 0:29 /docker/x /bound rw - cgroup cgroup rw,cpu,cpuacct\n";
        assert_eq!(find(&format!("{part}{HYBRID}"), folder.path()).unwrap().cpu_root(), {
            Path::new("/sys/fs/cgroup/cpu")
        });
        assert_eq!(find(part, folder.path()).unwrap().cpu_root(), Path::new("/bound"));
    }

    #[test]
    fn a_machine_without_cgroups_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = find("23 1 0:20 / / rw - ext4 /dev/vda rw\nnonsense\n", folder.path()).unwrap_err();
        assert!(error.to_string().contains("cpuacct"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[ -~\\n]{0,200}") {
            parse_mountinfo(&text);
        }
    }
}
