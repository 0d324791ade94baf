//! Where the kernel's control groups are mounted: cgroup v1, v2, or both at once.
//!
//! Reads a mountinfo file given by the caller; must not know what is done with a group.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirEntryExt, MetadataExt},
    path::{Path, PathBuf},
};

use ballast_api::CgroupVersion;

use crate::{
    error::KernelError,
    file,
    mounts::{self, Mount},
    path::CgroupPath,
};

const NO_CPU: &str =
    "it needs cgroup v1 with the controllers cpu and cpuacct, or cgroup v2 with cpu in cgroup.controllers";

/// The mounted hierarchies that Ballast uses. On a hybrid machine the CPU controller decides which version it is; without
/// one, another hierarchy that has all groups takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    version: CgroupVersion,
    cpu: PathBuf,
    cpuacct: PathBuf,
    has_cpu: bool,
    memory: Option<PathBuf>,
    unified: Option<PathBuf>,
    /// Where the block controller lives; on a hybrid machine not always beside the CPU's.
    disk: Option<(CgroupVersion, PathBuf)>,
}

impl Hierarchy {
    /// Looks for the CPU controller among the mounts that `mountinfo` lists (normally `/proc/self/mountinfo`).
    ///
    /// # Errors
    /// When the file cannot be read, or no hierarchy has the CPU controller (v1: `cpu` and `cpuacct`).
    pub fn find(mountinfo: &Path) -> Result<Self, KernelError> {
        let found = Self::find_any(mountinfo)?;
        let without = |reason| KernelError::NoHierarchy { mountinfo: mountinfo.to_owned(), reason };
        found.cpu().map_err(without)?;
        Ok(found)
    }

    /// The same on a machine that perhaps has no CPU controller.
    ///
    /// # Errors
    /// When the file cannot be read, or lists neither cgroup v2 nor a controller of cgroup v1 that Ballast uses.
    pub fn find_any(mountinfo: &Path) -> Result<Self, KernelError> {
        let mounts = cgroup_mounts(&file::read(mountinfo)?);
        let v1 = |controller: &str| {
            let has = |mount: &&Mount| {
                mount.kind == "cgroup" && mount.super_options().any(|option| option == controller)
            };
            mounts.iter().find(has).map(|mount| mount.point.clone())
        };
        let unified = mounts.iter().find(|mount| mount.kind == "cgroup2").map(|mount| mount.point.clone());
        let v2 = |controller: &str| unified.clone().filter(|root| offers(root, controller));
        let disk = v1("blkio")
            .map(|root| (CgroupVersion::V1, root))
            .or_else(|| v2("io").map(|root| (CgroupVersion::V2, root)));
        let memory = v1("memory");
        let found = |version, cpu: PathBuf, cpuacct, has_cpu| {
            let memory = memory.clone().filter(|_| version == CgroupVersion::V1);
            Self { version, cpu, cpuacct, has_cpu, memory, unified: unified.clone(), disk: disk.clone() }
        };
        if let (Some(cpu), Some(cpuacct)) = (v1("cpu"), v1("cpuacct")) {
            return Ok(found(CgroupVersion::V1, cpu, cpuacct, true));
        }
        if let Some(root) = v2("cpu") {
            return Ok(found(CgroupVersion::V2, root.clone(), root, true));
        }
        let v2 = unified.clone().map(|root| (CgroupVersion::V2, root));
        let v1 = || v1("blkio").or(memory.clone()).map(|root| (CgroupVersion::V1, root));
        let (version, root) = v2.or_else(v1).ok_or_else(|| KernelError::NoHierarchy {
            mountinfo: mountinfo.to_owned(),
            reason: NO_CPU.to_owned(),
        })?;
        Ok(found(version, root.clone(), root, false))
    }

    /// Whether there is a CPU controller.
    ///
    /// # Errors
    /// A sentence what is missing.
    pub fn cpu(&self) -> Result<(), String> {
        if self.has_cpu { Ok(()) } else { Err(NO_CPU.to_owned()) }
    }

    /// Where the CPU controller lives, or else where the groups are.
    #[must_use]
    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// The root folder of the hierarchy that has the CPU controller, or that takes its place.
    #[must_use]
    pub fn cpu_root(&self) -> &Path {
        &self.cpu
    }

    /// The folder of a cgroup in that hierarchy.
    #[must_use]
    pub fn cpu_folder(&self, path: &CgroupPath) -> PathBuf {
        self.cpu.join(path)
    }

    /// The folder of a cgroup in the hierarchy that counts CPU time.
    pub(crate) fn cpuacct_folder(&self, path: &CgroupPath) -> PathBuf {
        self.cpuacct.join(path)
    }

    /// The root folder of the hierarchy that has the block controller, and its version.
    #[must_use]
    pub fn disk_root(&self) -> Option<(CgroupVersion, &Path)> {
        self.disk.as_ref().map(|(version, root)| (*version, root.as_path()))
    }

    /// The folder of a cgroup in the hierarchy that has the block controller, and that hierarchy's version.
    pub(crate) fn disk_folder(&self, path: &CgroupPath) -> Option<(CgroupVersion, PathBuf)> {
        self.disk_root().map(|(version, root)| (version, root.join(path)))
    }

    /// The root folder of the hierarchy that has the memory controller, and its version.
    #[must_use]
    pub fn memory_root(&self) -> Option<(CgroupVersion, &Path)> {
        let v1 = self.memory.as_deref().map(|root| (CgroupVersion::V1, root));
        v1.or_else(|| {
            Some((CgroupVersion::V2, self.unified.as_deref().filter(|root| offers(root, "memory"))?))
        })
    }

    /// The folder of a cgroup in the hierarchy that has the memory controller, and that hierarchy's version.
    #[must_use]
    pub fn memory_folder(&self, path: &CgroupPath) -> Option<(CgroupVersion, PathBuf)> {
        self.memory_root().map(|(version, root)| (version, root.join(path)))
    }

    /// Roots that every cgroup has a folder in, each once. The CPU controller's is the first.
    pub(crate) fn required_roots(&self) -> Vec<&Path> {
        let mut roots = vec![self.cpu.as_path()];
        if self.cpuacct != self.cpu {
            roots.push(&self.cpuacct);
        }
        roots
    }

    /// Roots that a cgroup has a folder in where this is allowed: disk, memory counters (v1), and `cgroup.kill`, which
    /// only the unified tree offers. Never cpuset: a group there without processors breaks cAdvisor.
    pub(crate) fn optional_roots(&self) -> Vec<&Path> {
        let required = self.required_roots();
        let disk = self.disk.as_ref().map(|(_, root)| root);
        let optional = [self.memory.as_ref(), disk, self.unified.as_ref()].into_iter().flatten();
        let mut roots: Vec<&Path> = Vec::new();
        for root in optional.map(PathBuf::as_path) {
            if !required.contains(&root) && !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }

    /// The cgroups directly below `parent`, by their names, each with its [identity](Self::identity); none when `parent`
    /// does not exist.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn children(&self, parent: &CgroupPath) -> Result<BTreeMap<String, u64>, KernelError> {
        let folder = self.cpu_folder(parent);
        match folders(&folder) {
            Ok(children) => Ok(children),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
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
    Ok(folders(folder)?.into_keys().collect())
}

/// The same with their inodes, as the kernel lists them: nothing is asked of each.
fn folders(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.insert(name, entry.ino());
        }
    }
    Ok(found)
}

/// Whether a cgroup that has the file `sign` has the file `limit` too: the root (v1), or the first one directly below it (v2,
/// whose root has no limits). Absent where there is none with the sign.
pub(crate) fn offers_limit(version: CgroupVersion, root: &Path, sign: &str, limit: &str) -> Option<bool> {
    let below = || child_folders(root).unwrap_or_default().into_iter().map(|name| root.join(name)).collect();
    let folders = if version == CgroupVersion::V2 { below() } else { vec![root.to_owned()] };
    let shown = folders.into_iter().find(|folder| folder.join(sign).exists());
    shown.map(|folder| folder.join(limit).exists())
}

/// Whether the root of a unified hierarchy has a controller to hand down. One that cannot be read offers nothing.
fn offers(root: &Path, controller: &str) -> bool {
    file::read(&root.join("cgroup.controllers"))
        .is_ok_and(|offered| offered.split_whitespace().any(|name| name == controller))
}

/// The cgroup mounts of a mountinfo file, those that show a whole hierarchy first: a bind mount of one subtree (as inside
/// a container) serves only where the whole hierarchy is not in sight.
fn cgroup_mounts(mountinfo: &str) -> Vec<Mount> {
    let mut mounts = mounts::parse(mountinfo);
    mounts.retain(|mount| matches!(mount.kind.as_str(), "cgroup" | "cgroup2"));
    mounts.sort_by_key(|mount| mount.root != "/");
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 1 0:20 / / rw - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
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
            ["memory", "blkio", "unified"].map(|name| Path::new("/sys/fs/cgroup").join(name))
        );
        let disk = hierarchy.disk_root().unwrap();
        assert_eq!(disk, (CgroupVersion::V1, Path::new("/sys/fs/cgroup/blkio")));
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
        assert_eq!(hierarchy.disk_root(), Some((CgroupVersion::V2, root.as_path())));
        assert!(hierarchy.optional_roots().is_empty());
        fs::write(root.join("cgroup.controllers"), "cpuset hugetlb\n").unwrap();
        assert!(matches!(find(&line, folder.path()), Err(KernelError::NoHierarchy { .. })));
    }

    #[test]
    fn groups_are_found_without_a_cpu_controller() {
        let folder = tempfile::tempdir().unwrap();
        let any = |mountinfo: &str| {
            let _ = find(mountinfo, folder.path());
            Hierarchy::find_any(&folder.path().join("mountinfo")).unwrap()
        };
        let without: String =
            HYBRID.lines().filter(|line| !line.contains("cpu")).map(|line| format!("{line}\n")).collect();
        let unified = any(&without);
        assert_eq!((unified.version(), unified.cpu_root().ends_with("unified")), (CgroupVersion::V2, true));
        assert!(unified.cpu().unwrap_err().contains("cpuacct"));
        assert_eq!(unified.disk_root().unwrap().0, CgroupVersion::V1);
        let v1 = any(&without.replace("cgroup2", "tmpfs"));
        assert_eq!((v1.version(), v1.cpu_root().ends_with("blkio")), (CgroupVersion::V1, true));
        assert!(any(HYBRID).cpu().is_ok());
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
}
