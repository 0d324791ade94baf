//! Giving limits back, one resource after the other: one that fails holds up no other, and what is not back yet is told.
//!
//! Must not know who was lent them.

use ballast_api::Limits;
use ballast_kernel::{DiskControl, KernelError, resctrl::ResctrlLimits};

use super::{Controls, caches_among, disk_limits};

/// What came of giving limits back.
#[derive(Debug, Default)]
#[must_use]
pub struct GivenBack {
    /// Those that are not back.
    pub owed: Limits,
    /// The first reason; nothing where nothing failed.
    pub failure: Option<KernelError>,
}

impl GivenBack {
    /// As a whole.
    ///
    /// # Errors
    /// The first reason why something is not back.
    pub fn whole(self) -> Result<(), KernelError> {
        self.failure.map_or(Ok(()), Err)
    }

    fn and(self, part: Limits, outcome: Result<(), KernelError>) -> Self {
        match outcome {
            Ok(()) => self,
            Err(error) => Self { owed: self.owed.or(part), failure: self.failure.or(Some(error)) },
        }
    }
}

impl Controls {
    /// Gives limits back, with the CPU's also its burst, and goes on where one fails: also when a resource cannot be read,
    /// or when resctrl is mounted and cannot be taken over.
    pub fn give_back(&self, limits: &Limits, own_burst_us: Option<u64>) -> GivenBack {
        let give_back = |limit| self.cpu.change(self.cpu.bandwidth()?, limit, own_burst_us).map(drop);
        let disk = self.disk.as_ref().map_or(Ok(()), |control| give_back_disk(control, limits));
        let caches = caches_among(limits).map_or(Ok(()), |limits| self.give_back_caches(limits));
        GivenBack::default()
            .and(cpu_of(limits), limits.cpu.map_or(Ok(()), give_back))
            .and(disk_of(limits), disk)
            .and(network_of(limits), self.give_back_network(limits))
            .and(caches_of(limits), caches)
    }

    /// Gives back what does not go with the cgroup, once that is gone: a resctrl group, and of `limits` the network's, whose
    /// veth may be others' too, as a pod's sandbox has it. Another container may be at its path by then, which keeps what is
    /// its own. Goes on where one fails; then this can be repeated.
    pub fn forget(&self, limits: &Limits) -> GivenBack {
        let network = self.give_back_network(limits);
        let there = self.hierarchy.identity(&self.path);
        let caches = self.caches.as_ref().map_or(Ok(()), |control| control.forget_earlier(there));
        GivenBack::default().and(network_of(limits), network).and(caches_of(limits), caches)
    }

    fn give_back_caches(&self, limits: ResctrlLimits) -> Result<(), KernelError> {
        match (&self.caches, &self.shut) {
            (Some(control), _) => control.set_limits(limits).map(drop),
            (None, Some(shut)) => shut.clear(),
            // What is not mounted limits nobody.
            (None, None) => Ok(()),
        }
    }

    /// An interface that is gone took its limits along.
    fn give_back_network(&self, limits: &Limits) -> Result<(), KernelError> {
        let Some((control, limits)) = self.network.as_ref().zip(limits.network) else { return Ok(()) };
        match control.set_limit(limits) {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        }
    }
}

fn give_back_disk(control: &DiskControl, limits: &Limits) -> Result<(), KernelError> {
    if disk_of(limits) == Limits::default() {
        return Ok(());
    }
    let now = control.limits()?;
    control.change(&now, &disk_limits(limits, &now)).map(drop)
}

fn cpu_of(limits: &Limits) -> Limits {
    Limits { cpu: limits.cpu, ..Limits::default() }
}

fn disk_of(limits: &Limits) -> Limits {
    Limits { disk: limits.disk, disk_operations: limits.disk_operations, ..Limits::default() }
}

fn network_of(limits: &Limits) -> Limits {
    Limits { network: limits.network, ..Limits::default() }
}

fn caches_of(limits: &Limits) -> Limits {
    Limits { llc: limits.llc, memory_bandwidth: limits.memory_bandwidth, ..Limits::default() }
}
