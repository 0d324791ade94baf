//! Network namespaces: which one a process is in, and doing something in another one.
//!
//! A thread that enters a namespace is thrown away afterwards: no other thread ever sees the change. Must not know what
//! is done there.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    panic,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use crate::{error::KernelError, file};

/// Where ip(8), Docker and the Kubernetes runtimes keep namespaces that no process is in.
const KEPT: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// A network namespace, which lives at least as long as this.
#[derive(Debug)]
pub(super) struct Namespace {
    path: PathBuf,
    file: File,
    inode: u64,
}

impl Namespace {
    /// The one of a process.
    pub(super) fn of_process(proc: &Path, pid: u32) -> Result<Self, KernelError> {
        Self::open(proc.join(pid.to_string()).join("ns/net"))
    }

    /// The one of this thread.
    pub(super) fn current(proc: &Path) -> Result<Self, KernelError> {
        Self::open(proc.join("thread-self/ns/net"))
    }

    /// The one with this inode, if it is this thread's or that of any process, or is kept without one.
    pub(super) fn with_inode(proc: &Path, inode: u64) -> Result<Option<Self>, KernelError> {
        let current = Self::current(proc)?;
        if current.inode == inode {
            return Ok(Some(current));
        }
        let entries = fs::read_dir(proc).map_err(file::failed("list", proc))?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        // Processes end meanwhile.
        let of_processes = pids.filter_map(|pid| Self::of_process(proc, pid).ok());
        let folders = KEPT.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let kept = folders.filter_map(|entry| Self::open(entry.ok()?.path()).ok());
        // The same inode of another file system is something else.
        let device = |namespace: &Self| namespace.file.metadata().map(|metadata| metadata.dev()).ok();
        let mut all = of_processes.chain(kept);
        Ok(all.find(|namespace| namespace.inode == inode && device(namespace) == device(&current)))
    }

    fn open(path: PathBuf) -> Result<Self, KernelError> {
        let file = File::open(&path).map_err(file::failed("open", &path))?;
        let inode = file.metadata().map_err(file::failed("look at", &path))?.ino();
        Ok(Self { path, file, inode })
    }

    /// Tells it from every other namespace that exists now.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// The number of the open file, for netlink.
    pub(super) fn raw_fd(&self) -> u32 {
        self.file.as_raw_fd().unsigned_abs()
    }

    /// Does something in this namespace.
    pub(super) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, KernelError> + Send,
    ) -> Result<T, KernelError> {
        on_a_fresh_thread(|| {
            let entered = setns(&self.file, CloneFlags::CLONE_NEWNET);
            entered.map_err(|errno| file::failed("enter", &self.path)(errno.into()))?;
            work()
        })
    }
}

/// The inode of the calling thread's network namespace, which tells it from every other that exists now. `proc` is normally
/// `/proc`.
///
/// # Errors
/// When the kernel does not tell.
pub fn current_namespace(proc: &Path) -> Result<u64, KernelError> {
    Ok(Namespace::current(proc)?.inode())
}

/// Does something on a thread of its own in the network namespace with this inode. Nothing when there is none:
/// no process is in it, and neither ip(8) nor a container runtime keeps it.
///
/// # Errors
/// When the namespace cannot be entered, or what `work` answers.
pub fn in_namespace<T: Send>(
    proc: &Path,
    inode: u64,
    work: impl FnOnce() -> Result<T, KernelError> + Send,
) -> Result<Option<T>, KernelError> {
    Namespace::with_inode(proc, inode)?.map(|namespace| namespace.run(work)).transpose()
}

/// Does something in a network namespace of its own, which ends with it.
pub(super) fn in_private<T: Send>(
    proc: &Path,
    work: impl FnOnce() -> Result<T, KernelError> + Send,
) -> Result<T, KernelError> {
    on_a_fresh_thread(|| {
        let made = unshare(CloneFlags::CLONE_NEWNET);
        let path = proc.join("thread-self/ns/net");
        made.map_err(|errno| file::failed("make a private network namespace at", &path)(errno.into()))?;
        work()
    })
}

fn on_a_fresh_thread<T: Send>(
    work: impl FnOnce() -> Result<T, KernelError> + Send,
) -> Result<T, KernelError> {
    thread::scope(|scope| {
        let no_thread =
            |source: io::Error| file::failed("start a thread in", Path::new("/proc/self"))(source);
        let thread = thread::Builder::new().name("network".to_owned()).spawn_scoped(scope, work);
        thread.map_err(no_thread)?.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    })
}
