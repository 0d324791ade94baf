//! Limits of containers on one machine: each container that has a limit is given a group, shared with others only when the
//! hardware has too few.
//!
//! Must not know who lends what to whom, nor when. What is in force is read from the kernel; only who is in which group is
//! remembered, and a start after a crash begins by removing every group that Ballast left.

mod arrange;
mod cache;
mod hardware;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ballast_api::{Bytes, BytesPerSecond, ContainerName, Limit};
use nix::errno::Errno;
use tracing::debug;

use super::{
    group::{Group, GroupName},
    info::{Info, ResctrlMount},
    monitor::Counters,
    sharing::Need,
    tasks::Procs,
};
use crate::error::KernelError;
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

/// What holds after an order.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// After the hardware's rounding, as read back.
    pub limits: ResctrlLimits,
    /// Containers of the same group, when the hardware had too few: these limits are theirs as well, together.
    pub shared_with: Vec<ContainerName>,
}

/// One machine's resctrl. Clones are the same machine.
#[derive(Clone)]
pub struct ResctrlNode {
    books: Arc<Mutex<Books>>,
}

struct Books {
    hardware: Hardware,
    held: BTreeMap<ContainerName, Held>,
}

/// A container that has a group.
#[derive(Clone)]
struct Held {
    need: Need,
    pids: Pids,
    group: GroupName,
}

impl ResctrlNode {
    /// Looks at what the machine offers, and removes the groups that an earlier run of Ballast left (their tasks go back to
    /// the root group). `peak` is the most that the node's memory can deliver: limits in percent are refused without it.
    ///
    /// # Errors
    /// When a file cannot be read or holds what no kernel writes, or a leftover cannot be removed.
    pub fn open(
        mount: &ResctrlMount,
        proc: PathBuf,
        peak: Option<BytesPerSecond>,
    ) -> Result<Self, KernelError> {
        let hardware = Hardware::probe(mount, Procs::new(proc), peak)?;
        let node = Self { books: Arc::new(Mutex::new(Books { hardware, held: BTreeMap::new() })) };
        node.sweep()?;
        Ok(node)
    }

    /// What the machine offers, with the reason for what it does not.
    #[must_use]
    pub fn info(&self) -> Info {
        self.books().hardware.info.clone()
    }

    /// Removes every group that is Ballast's by name and holds no container of this run, and answers their names. Groups of
    /// others are never touched.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sweep(&self) -> Result<Vec<String>, KernelError> {
        let books = self.books();
        let mut removed = Vec::new();
        for name in books.hardware.groups.names()?.into_iter().filter(|name| GroupName::is_ours(name)) {
            if !books.held.values().any(|held| held.group.as_str() == name) {
                books.hardware.groups.existing(&name).remove()?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// The limits of a container, whose processes are those that `pids` lists.
    #[must_use]
    pub fn container(&self, name: ContainerName, pids: Pids) -> ResctrlControl {
        ResctrlControl { node: self.clone(), name, pids }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // The books are changed only when an order is done: what a panic left is whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ResctrlNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResctrlNode").field("containers", &self.books().held.keys()).finish_non_exhaustive()
    }
}

/// The cache and memory bandwidth of one container.
#[derive(Clone)]
pub struct ResctrlControl {
    node: ResctrlNode,
    name: ContainerName,
    pids: Pids,
}

impl fmt::Debug for ResctrlControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResctrlControl").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ResctrlControl {
    /// Reads the limits in force: [`Limit::Max`] for a container that was not given a group.
    ///
    /// # Errors
    /// When a file cannot be read or is odd.
    pub fn limits(&self) -> Result<ResctrlLimits, KernelError> {
        Ok(self.in_force(&self.node.books())?.limits)
    }

    fn in_force(&self, books: &Books) -> Result<InForce, KernelError> {
        let Some(held) = books.held.get(&self.name) else {
            let limits = books.hardware.limits_of(books.hardware.full())?;
            return Ok(InForce { limits, shared_with: Vec::new() });
        };
        let shares = |other: &Held| other.group == held.group;
        let shared_with = books.held.iter().filter(|(name, other)| **name != self.name && shares(other));
        Ok(InForce {
            limits: books.hardware.limits_in(&books.group_of(held))?,
            shared_with: shared_with.map(|(name, _)| name.clone()).collect(),
        })
    }

    /// What [`Self::set_limits`] would put in force if the container has a group alone: rounded up to whole ways and steps.
    /// Writes nothing.
    ///
    /// # Errors
    /// [`KernelError::LimitUnavailable`] when the machine cannot limit a resource that is named.
    pub fn rounded(&self, limits: ResctrlLimits) -> Result<ResctrlLimits, KernelError> {
        let books = self.node.books();
        let need = books.hardware.need(limits, books.need_of(&self.name))?;
        books.hardware.limits_of(need)
    }

    /// Limits the container, in a group of its own or, when the hardware has no more, in one shared with those whose needs
    /// are nearest; then each of them may get more than it asked, never less. Moves all its tasks there, also those that
    /// came since the last order: a process that entered the container from outside begins in the root group, so repeat
    /// the order now and then. What is in force already is not written again. A limit of all there is is no limit: the
    /// container goes back to the root group, whatever others have made of that one.
    ///
    /// # Errors
    /// [`KernelError::LimitUnavailable`] and [`KernelError::ForeignGroup`] before anything is written;
    /// [`KernelError::OutOfClosids`] when the machine has no group for Ballast at all; others when the kernel refuses.
    /// Whatever it is, what was done is undone.
    pub fn set_limits(&self, limits: ResctrlLimits) -> Result<InForce, KernelError> {
        let mut books = self.node.books();
        let before = books.need_of(&self.name);
        let need = books.hardware.need(limits, before)?;
        if need == books.hardware.full() {
            books.release(&self.name)?;
        } else {
            books.hardware.refuse_foreign(&self.name, &self.pids)?;
            books.hold(&self.name, need, &self.pids)?;
        }
        self.in_force(&books)
    }

    /// Gives the container's tasks back to the root group and removes its group when nobody else is in it. A container
    /// without a group is left as it is.
    ///
    /// # Errors
    /// When the kernel refuses; then the container stays limited and this can be repeated.
    pub fn restore(&self) -> Result<(), KernelError> {
        self.node.books().release(&self.name)
    }

    /// Reads the counters of the container's group. Absent, with the reason, for a container that has none or shares it: the
    /// hardware counts groups, not containers.
    ///
    /// # Errors
    /// When a file cannot be read or is odd.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        let books = self.node.books();
        if let Err(reason) = &books.hardware.info.monitoring {
            return Ok(Counters::absent(&reason.0));
        }
        let Some(held) = books.held.get(&self.name) else {
            return Ok(Counters::absent(
                "the container has no resctrl group: it is measured while it is limited",
            ));
        };
        if books.held.values().filter(|other| other.group == held.group).count() > 1 {
            return Ok(Counters::absent(
                "the container shares its resctrl group, which is measured as a whole",
            ));
        }
        books.group_of(held).counters()
    }
}

impl Books {
    fn group_of(&self, held: &Held) -> Group {
        self.hardware.groups.existing(held.group.as_str())
    }

    fn need_of(&self, name: &ContainerName) -> Need {
        self.held.get(name).map_or(self.hardware.full(), |held| held.need)
    }

    fn hold(&mut self, name: &ContainerName, need: Need, pids: &Pids) -> Result<(), KernelError> {
        let mut wanted: BTreeMap<_, _> =
            self.held.iter().map(|(name, held)| (name.clone(), (held.need, held.pids.clone()))).collect();
        wanted.insert(name.clone(), (need, pids.clone()));
        self.held = arrange::arrange(&self.hardware, &self.held, &wanted, Some(name))?;
        Ok(())
    }

    fn release(&mut self, name: &ContainerName) -> Result<(), KernelError> {
        let Some(held) = self.held.get(name) else { return Ok(()) };
        let pids = gone_is_none(&held.pids);
        self.hardware.groups.root().take(&self.hardware.procs, &pids)?;
        let others = self.held.iter().filter(|(other, _)| *other != name);
        let wanted = others.map(|(name, held)| (name.clone(), (held.need, held.pids.clone()))).collect();
        self.held = arrange::arrange(&self.hardware, &self.held, &wanted, None)?;
        Ok(())
    }
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
