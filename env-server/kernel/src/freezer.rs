//! Stopping all processes of a cgroup at once, and letting them go on: cgroup v1 `freezer.state`, v2 `cgroup.freeze`.
//!
//! Must not know why, nor for how long.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use crate::{
    cgroup::pids_in,
    error::KernelError,
    file,
    mounts::{self, Mount},
    path::CgroupPath,
};

/// The freezer of one cgroup, and of no later one of the same path: its control file is open.
#[derive(Debug)]
pub struct Freezer {
    place: Place,
    control: File,
}

/// Where a freezer is.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    files: &'static Files,
}

/// How one version says it.
#[derive(Debug)]
struct Files {
    control: &'static str,
    freeze: &'static str,
    thaw: &'static str,
    /// Where it is told, and the line that says that all are stopped.
    told: (&'static str, &'static str),
}

const V1: Files =
    Files { control: "freezer.state", freeze: "FROZEN", thaw: "THAWED", told: ("freezer.state", "FROZEN") };
const V2: Files =
    Files { control: "cgroup.freeze", freeze: "1", thaw: "0", told: ("cgroup.events", "frozen 1") };

impl Freezer {
    /// The freezer that holds the processes of the cgroup at `path`, among the mounts that `mountinfo` lists. A machine may
    /// have one of each version, and a cgroup may be in one only: that with processes counts, then any.
    ///
    /// # Errors
    /// When `mountinfo` cannot be read, or the freezer not be opened for writing.
    pub fn find(mountinfo: &Path, path: &CgroupPath) -> Result<Option<Self>, KernelError> {
        let mounts = mounts::parse(&file::read(mountinfo)?);
        let is_v1 = |mount: &&Mount| {
            mount.kind == "cgroup" && mount.super_options().any(|option| option == "freezer")
        };
        let v1 = mounts.iter().find(is_v1).map(|mount| (mount, &V1));
        let v2 = mounts.iter().find(|mount| mount.kind == "cgroup2").map(|mount| (mount, &V2));
        let mut there: Vec<_> = [v1, v2]
            .into_iter()
            .flatten()
            .map(|(mount, files)| Place { folder: mount.point.join(path), files })
            .filter(|place| place.control().is_file())
            .collect();
        // Stable: of two without processes the first counts.
        there.sort_by_key(|place| !place.has_processes());
        there.into_iter().next().map_or(Ok(None), Self::open)
    }

    /// Whether a process is in this cgroup or in one nested in it, and would be stopped with the others. By the kernel's lists: what
    /// a process is told of where it is itself depends on its cgroup namespace.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn holds(&self, pid: u32) -> Result<bool, KernelError> {
        Ok(pids_in(std::slice::from_ref(&self.place.folder))?.contains(&pid))
    }

    fn open(place: Place) -> Result<Option<Self>, KernelError> {
        let path = place.control();
        match OpenOptions::new().write(true).open(&path) {
            Ok(control) => Ok(Some(Self { place, control })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file::failed("open", &path)(error)),
        }
    }

    /// Asks for all processes to be stopped, or to go on. The kernel does it in its own time: see [`Self::is_frozen`].
    ///
    /// # Errors
    /// When the cgroup is gone, or the kernel refuses.
    pub fn freeze(&self, frozen: bool) -> Result<(), KernelError> {
        let Place { files, .. } = self.place;
        let value = if frozen { files.freeze } else { files.thaw };
        file::write_open(&self.control, &self.place.control(), value)
    }

    /// Whether all processes are stopped.
    ///
    /// # Errors
    /// When the cgroup is gone.
    pub fn is_frozen(&self) -> Result<bool, KernelError> {
        let (file, line) = self.place.files.told;
        Ok(file::read(&self.place.folder.join(file))?.lines().any(|said| said == line))
    }
}

impl Place {
    fn control(&self) -> PathBuf {
        self.folder.join(self.files.control)
    }

    fn has_processes(&self) -> bool {
        fs::read_to_string(self.folder.join("cgroup.procs")).is_ok_and(|pids| !pids.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_freezer_with_the_processes_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (v1, v2) = (folder.path().join("v1"), folder.path().join("v2"));
        let mountinfo = folder.path().join("mountinfo");
        let lines = format!(
            "1 0 0:1 / {} rw - cgroup x rw,freezer\n2 0 0:2 / {} rw - cgroup2 x rw\n",
            v1.display(),
            v2.display()
        );
        fs::write(&mountinfo, lines).unwrap();
        let path = CgroupPath::new("a/b").unwrap();
        let find = || Freezer::find(&mountinfo, &path).unwrap();
        assert!(find().is_none());
        for (root, files) in [(&v1, &V1), (&v2, &V2)] {
            fs::create_dir_all(root.join("a/b")).unwrap();
            fs::write(root.join("a/b").join(files.control), files.thaw).unwrap();
            fs::write(root.join("a/b").join(files.told.0), "populated 1\nfrozen 0\n").unwrap();
            fs::write(root.join("a/b/cgroup.procs"), "").unwrap();
        }
        assert_eq!(find().unwrap().place.folder, v1.join("a/b"));
        fs::write(v2.join("a/b/cgroup.procs"), "12\n").unwrap();
        let freezer = find().unwrap();
        assert_eq!(freezer.place.folder, v2.join("a/b"));
        freezer.freeze(true).unwrap();
        assert_eq!(fs::read_to_string(v2.join("a/b/cgroup.freeze")).unwrap(), "1");
        assert!(!freezer.is_frozen().unwrap(), "not yet");
        fs::create_dir(v2.join("a/b/nested")).unwrap();
        fs::write(v2.join("a/b/nested/cgroup.procs"), "0\n34\n").unwrap();
        assert_eq!([12, 34, 3].map(|pid| freezer.holds(pid).unwrap()), [true, true, false]);
        fs::write(v2.join("a/b/cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        assert!(freezer.is_frozen().unwrap());
    }
}
