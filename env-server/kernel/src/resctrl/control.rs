//! Limits of containers on one machine: each container that has a limit is given a group, shared with others only when the
//! hardware has too few.
//!
//! Must not know who lends what to whom, nor when. What is in force is read from the kernel; only who is in which group is
//! remembered, and a start after a crash begins by removing every group that Ballast left.

mod arrange;
mod books;
mod cache;
mod hardware;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ballast_api::{Amounts, Bytes, BytesPerSecond, Limit};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tracing::debug;

use super::{
    group::GroupName,
    info::{Info, ResctrlMount},
    monitor::Counters,
    tasks::Procs,
};
use crate::{error::KernelError, file, path::CgroupPath};
use books::{Books, Member};
use hardware::Hardware;

/// Lists the processes of a container; none when it is gone.
pub type Pids = Arc<dyn Fn() -> Result<Vec<u32>, KernelError> + Send + Sync>;

/// Limits of one container. Both are the node's: over all cache domains together, divided evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResctrlLimits {
    /// Last-level cache. In an order: absent is left as it is. In an answer: absent is not controlled by this machine.
    pub llc: Option<Limit<Bytes>>,
    /// Memory bandwidth; absent likewise.
    pub memory_bandwidth: Option<Limit<BytesPerSecond>>,
}

/// What holds for a container.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// After the hardware's rounding, as read back.
    pub limits: ResctrlLimits,
    /// Containers of the same group, when the hardware had too few: these limits are theirs as well, together.
    pub shared_with: Vec<CgroupPath>,
    /// What somebody else has made of the group since Ballast wrote it: its limits in resctrl's words, or that it is gone.
    /// The limits above are those found then.
    pub disturbed: Option<String>,
    /// Why tasks of the container are not in its group: somebody has put them into another.
    pub astray: Option<String>,
}

/// One machine's resctrl. Clones are the same machine.
#[derive(Clone)]
pub struct ResctrlNode {
    books: Arc<Mutex<Books>>,
}

impl ResctrlNode {
    /// Looks at what the machine offers, and removes the groups that an earlier run of Ballast left (their tasks go back to
    /// the root group). `peak` is the most that the node's memory can deliver: limits in percent are refused without it.
    ///
    /// # Errors
    /// [`KernelError::ResctrlInUse`] while another one, of this process or another, is open. When a file cannot be read or
    /// holds what no kernel writes, or a leftover cannot be removed; the others are removed then.
    pub fn open(
        mount: &ResctrlMount,
        proc: PathBuf,
        peak: Option<BytesPerSecond>,
    ) -> Result<Self, KernelError> {
        let lock = lock(&mount.point.join("info"))?;
        let hardware = Hardware::probe(mount, Procs::new(proc), peak)?;
        let node = Self { books: Arc::new(Mutex::new(Books::new(hardware, lock))) };
        node.sweep()?;
        Ok(node)
    }

    /// What the machine offers, with the reason for what it does not.
    #[must_use]
    pub fn info(&self) -> Info {
        self.books().hardware.info.clone()
    }

    /// How much there is of cache and memory bandwidth; absent where it is not known.
    #[must_use]
    pub fn capacity(&self) -> Amounts {
        self.books().hardware.amounts()
    }

    /// Removes every group that is Ballast's by name and holds no container of this run, and answers their names. Groups of
    /// others are never touched.
    ///
    /// # Errors
    /// The first refusal of the kernel; the others are removed all the same.
    pub fn sweep(&self) -> Result<Vec<String>, KernelError> {
        let books = self.books();
        let (mut removed, mut refusal) = (Vec::new(), Ok(()));
        for name in books.hardware.groups.names()?.into_iter().filter(|name| GroupName::is_ours(name)) {
            if books.holds(&name) {
                continue;
            }
            match books.hardware.groups.existing(&name).remove() {
                Ok(()) => removed.push(name),
                Err(error) => refusal = refusal.and(Err(error)),
            }
        }
        refusal.map(|()| removed)
    }

    /// The limits of a container, whose processes are those that `pids` lists. Its `identity` is what a later container at
    /// the same path does not have; absent while there is none.
    #[must_use]
    pub fn container(&self, path: CgroupPath, identity: Option<u64>, pids: Pids) -> ResctrlControl {
        ResctrlControl { node: self.clone(), member: Member { path, identity }, pids }
    }

    /// Limits several containers in one arrangement, all or none: see [`ResctrlControl::set_limits`]. Answers what is in
    /// force, in the order of the orders.
    ///
    /// # Errors
    /// As there.
    pub fn set_limits(
        &self,
        orders: &[(&ResctrlControl, ResctrlLimits)],
    ) -> Result<Vec<InForce>, KernelError> {
        let mut books = self.books();
        books.order(orders)?;
        orders.iter().map(|(control, _)| books.ordered(&control.member)).collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // The books are changed only when an order is done: what a panic left is whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ResctrlNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResctrlNode").field("books", &self.books()).finish()
    }
}

/// The cache and memory bandwidth of one container.
#[derive(Clone)]
pub struct ResctrlControl {
    node: ResctrlNode,
    member: Member,
    pids: Pids,
}

impl fmt::Debug for ResctrlControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResctrlControl").field("member", &self.member).finish_non_exhaustive()
    }
}

impl ResctrlControl {
    /// Reads what is in force: no limit for a container that was not given a group.
    ///
    /// # Errors
    /// When a file cannot be read or is odd.
    pub fn in_force(&self) -> Result<InForce, KernelError> {
        self.node.books().in_force(&self.member)
    }

    /// What [`Self::set_limits`] would put in force if the container has a group alone: rounded up to whole ways and steps.
    /// Writes nothing.
    ///
    /// # Errors
    /// [`KernelError::LimitUnavailable`] when the machine cannot limit a resource that is named.
    pub fn rounded(&self, limits: ResctrlLimits) -> Result<ResctrlLimits, KernelError> {
        let books = self.node.books();
        let need = books.hardware.need(limits, books.need_of(&self.member))?;
        books.hardware.limits_of(need)
    }

    /// Limits the container, in a group of its own or, when the hardware has no more, in one shared with those whose needs
    /// are nearest; then each of them may get more than it asked, never less. Moves all its tasks there; for those that come
    /// later there is [`Self::gather`]. What is in force already is not written again, nor a group that somebody else
    /// changed and that none of the ordered containers is in. A limit of all there is is no limit: the container goes back
    /// to the root group, whatever others have made of that one.
    ///
    /// # Errors
    /// [`KernelError::LimitUnavailable`] and [`KernelError::ForeignGroup`] before anything is written;
    /// [`KernelError::OutOfClosids`] when the machine has no group for Ballast at all; others when the kernel refuses.
    /// Whatever it is, what was done is undone.
    pub fn set_limits(&self, limits: ResctrlLimits) -> Result<InForce, KernelError> {
        let mut books = self.node.books();
        books.order(&[(self, limits)])?;
        books.ordered(&self.member)
    }

    /// Moves in the tasks that entered the container from outside since the last order: they begin in the root group. A
    /// container without a group is left as it is.
    ///
    /// # Errors
    /// [`KernelError::ForeignGroup`] when somebody has put a task elsewhere, which then stays there, and is told by
    /// [`Self::in_force`] until the next time; others when the kernel refuses.
    pub fn gather(&self) -> Result<(), KernelError> {
        self.node.books().gather(&self.member)
    }

    /// Refuses a container with a task in a control or monitoring group that Ballast did not make.
    ///
    /// # Errors
    /// [`KernelError::ForeignGroup`]; others when a file cannot be read.
    pub fn refuse_foreign(&self) -> Result<(), KernelError> {
        let hardware = &self.node.books().hardware;
        hardware.refuse(&hardware.foreign_tasks()?, &self.member.path, &self.pids)
    }

    /// Gives the container's tasks back to the root group and removes its group when nobody else is in it. A container
    /// without a group is left as it is, and so is a task that somebody has put elsewhere.
    ///
    /// # Errors
    /// When the kernel refuses; then the container stays limited and this can be repeated.
    pub fn restore(&self) -> Result<(), KernelError> {
        self.node.books().release(&self.member.path, |identity| identity == self.member.identity)
    }

    /// The same for every container that was at this path before the one that is `there` now, if any is.
    ///
    /// # Errors
    /// As there.
    pub fn forget_earlier(&self, there: Option<u64>) -> Result<(), KernelError> {
        self.node.books().release(&self.member.path, |identity| there.is_none() || identity != there)
    }

    /// Reads the counters of the container's group. Absent, with the reason, for a container that has none or shares it: the
    /// hardware counts groups, not containers.
    ///
    /// # Errors
    /// When a file cannot be read or is odd.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        self.node.books().counters(&self.member)
    }
}

/// Locks the folder that every resctrl mount has, until the file is closed. The kernel's documentation (section "Locking
/// on resctrl") gives the lock of the root folder to those who change groups for a moment: it is not held for long.
fn lock(info: &Path) -> Result<Flock<File>, KernelError> {
    let folder = File::open(info).map_err(file::failed("open", info))?;
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => KernelError::ResctrlInUse { path: info.to_owned() },
        errno => file::failed("lock", info)(errno.into()),
    })
}

/// A container that is gone has no processes.
fn gone_is_none(pids: &Pids) -> impl Fn() -> Result<Vec<u32>, KernelError> + use<> {
    let pids = pids.clone();
    move || match pids() {
        Err(error) if error.is_gone() || error.says(Errno::ESRCH) => {
            debug!(%error, "container is gone");
            Ok(Vec::new())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
