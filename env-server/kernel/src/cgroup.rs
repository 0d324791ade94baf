//! Groups of processes: making one, moving a process into it, killing everything in it, removing it.
//!
//! Must not know about limits. A group is the same path in several hierarchies at once on cgroup v1.

mod pids;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_api::CgroupVersion;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tracing::debug;

use crate::{
    error::KernelError,
    file,
    hierarchy::{Hierarchy, child_folders},
    path::CgroupPath,
};
pub use pids::Representatives;
pub(crate) use pids::all as pids_in;

/// How often killing or removing is tried, [`RETRY_PAUSE`] apart: five seconds in all.
const ATTEMPTS: u32 = 500;
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// All cgroups of a machine.
#[derive(Debug, Clone)]
pub struct CgroupTree {
    hierarchy: Hierarchy,
}

impl CgroupTree {
    /// The groups of these hierarchies.
    #[must_use]
    pub fn new(hierarchy: Hierarchy) -> Self {
        Self { hierarchy }
    }

    /// Where the groups live.
    #[must_use]
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Makes a new cgroup, and its ancestors where they are missing: in `cpu` and `cpuacct`, and, where this is allowed,
    /// in `memory`, `blkio` and the unified tree.
    ///
    /// # Errors
    /// When the path is invalid, the group exists already, or the kernel refuses; then nothing is left of it but
    /// ancestors.
    pub fn create(&self, path: &str) -> Result<Cgroup, KernelError> {
        let path = CgroupPath::new(path)?;
        let mut folders = Vec::new();
        for root in self.hierarchy.required_roots() {
            match self.make(root, &path) {
                Ok(folder) => folders.push(folder),
                Err(error) => {
                    take_back(&folders);
                    return Err(error);
                }
            }
        }
        for root in self.hierarchy.optional_roots() {
            match self.make(root, &path) {
                Ok(folder) => folders.push(folder),
                Err(error) => debug!(root = %root.display(), cgroup = %path, %error, "hierarchy left out"),
            }
        }
        Ok(Cgroup { path, folders })
    }

    /// The cgroup at `path`, if it exists.
    ///
    /// # Errors
    /// When the path is invalid.
    pub fn find(&self, path: &str) -> Result<Option<Cgroup>, KernelError> {
        let path = CgroupPath::new(path)?;
        let roots = self.hierarchy.required_roots().into_iter().chain(self.hierarchy.optional_roots());
        let folders: Vec<_> = roots.map(|root| root.join(&path)).filter(|folder| folder.is_dir()).collect();
        Ok((!folders.is_empty()).then_some(Cgroup { path, folders }))
    }

    fn make(&self, root: &Path, path: &CgroupPath) -> Result<PathBuf, KernelError> {
        self.hand_down(root)?;
        for ancestor in path.ancestors() {
            let folder = root.join(ancestor);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(file::failed("create", &folder)(error));
                }
                _ => self.hand_down(&folder)?,
            }
        }
        let folder = root.join(path);
        fs::create_dir(&folder).map_err(file::failed("create", &folder))?;
        Ok(folder)
    }

    /// On cgroup v2 a group has a controller only where its parent hands it down: the CPU's is needed, the disks' welcome.
    fn hand_down(&self, folder: &Path) -> Result<(), KernelError> {
        if self.hierarchy.version() != CgroupVersion::V2 {
            return Ok(());
        }
        hand_down(folder, "cpu")?;
        if let Err(error) = hand_down(folder, "io") {
            debug!(folder = %folder.display(), %error, "no disk limits below");
        }
        Ok(())
    }
}

fn hand_down(folder: &Path, controller: &str) -> Result<(), KernelError> {
    let control = folder.join("cgroup.subtree_control");
    if file::read(&control)?.split_whitespace().any(|handed_down| handed_down == controller) {
        return Ok(());
    }
    file::write(&control, &format!("+{controller}"))
}

fn take_back(folders: &[PathBuf]) {
    for folder in folders {
        if let Err(error) = fs::remove_dir(folder) {
            debug!(folder = %folder.display(), %error, "half-made cgroup left behind");
        }
    }
}

/// One cgroup that exists, or did when it was found. Dropping it removes nothing.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: CgroupPath,
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Moves a process, with all its threads, into this group in every hierarchy.
    ///
    /// # Errors
    /// When there is no such process, or the kernel refuses.
    pub fn attach(&self, pid: u32) -> Result<(), KernelError> {
        self.folders.iter().try_for_each(|folder| file::write(&folder.join("cgroup.procs"), &pid.to_string()))
    }

    /// The processes in this group and the groups nested in it, sorted; none when it is gone.
    ///
    /// # Errors
    /// When the kernel's list cannot be read.
    pub fn pids(&self) -> Result<Vec<u32>, KernelError> {
        pids::all(&self.folders)
    }

    /// The processes to ask about the group, sorted: those in it, else those in the groups nested in it, which may be
    /// somebody else's (a container in a container). None when it is gone.
    ///
    /// # Errors
    /// When the kernel's list cannot be read.
    pub fn representatives(&self) -> Result<Representatives, KernelError> {
        pids::representatives(&self.folders)
    }

    /// Kills every process in this group and the groups nested in it, and waits until they are gone.
    ///
    /// # Errors
    /// [`KernelError::StillBusy`] when some outlive five seconds of trying; others when the kernel refuses.
    pub fn kill_all(&self) -> Result<(), KernelError> {
        for attempt in 0..ATTEMPTS {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            // The kernel's own kill leaves no gap for a fork; what it does not reach is killed one by one, again and
            // again, so that a process that forks meanwhile is caught at the next look.
            let at_once =
                self.folders.iter().map(|folder| folder.join("cgroup.kill")).find(|file| file.exists());
            match at_once {
                Some(kill_file) if attempt == 0 => ignore_gone(file::write(&kill_file, "1"))?,
                _ => pids.iter().try_for_each(|pid| self.kill_one(*pid))?,
            }
            file::pause(RETRY_PAUSE);
        }
        self.still_busy()
    }

    fn kill_one(&self, pid: u32) -> Result<(), KernelError> {
        let Ok(raw) = i32::try_from(pid) else { return Ok(()) };
        match kill(Pid::from_raw(raw), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(KernelError::Io {
                operation: "kill a process of",
                path: self.folders.first().cloned().unwrap_or_default(),
                value: Some(pid.to_string()),
                source: errno.into(),
            }),
        }
    }

    /// Removes this group and the groups nested in it. Processes in them must be gone.
    ///
    /// # Errors
    /// [`KernelError::StillBusy`] when a process is still there after five seconds; others when the kernel refuses.
    pub fn remove(&self) -> Result<(), KernelError> {
        for _ in 0..ATTEMPTS {
            let mut busy = false;
            for folder in &self.folders {
                busy |= !remove_nested(folder)?;
            }
            if !busy {
                return Ok(());
            }
            file::pause(RETRY_PAUSE);
        }
        self.still_busy()
    }

    fn still_busy(&self) -> Result<(), KernelError> {
        Err(KernelError::StillBusy {
            path: self.folders.first().cloned().unwrap_or_default(),
            attempts: ATTEMPTS,
            pids: self.pids()?,
        })
    }
}

fn ignore_gone(result: Result<(), KernelError>) -> Result<(), KernelError> {
    match result {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}

/// Removes innermost folders first. False when the kernel says that one is still in use.
fn remove_nested(folder: &Path) -> Result<bool, KernelError> {
    for child in nested(folder)? {
        if !remove_nested(&child)? {
            return Ok(false);
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file::failed("remove", folder)(error)),
        _ => Ok(true),
    }
}

fn nested(folder: &Path) -> Result<Vec<PathBuf>, KernelError> {
    match child_folders(folder) {
        Ok(names) => Ok(names.into_iter().map(|name| folder.join(name)).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(file::failed("list", folder)(error)),
    }
}
