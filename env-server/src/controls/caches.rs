//! What resctrl limits among all limits of a container, and a resctrl that others have.
//!
//! Must not know control groups.

use std::path::PathBuf;

use ballast_api::{Limits, PerResource};
use ballast_kernel::{
    KernelError,
    resctrl::{ResctrlLimits, ResctrlMount, ResctrlNode},
};

/// A mounted resctrl that could not be taken over at the start: somebody else had it, or it was odd.
#[derive(Debug, Clone)]
pub struct ShutResctrl {
    mount: ResctrlMount,
    proc: PathBuf,
}

impl ShutResctrl {
    /// The resctrl mounted there, and where processes are listed.
    #[must_use]
    pub fn new(mount: ResctrlMount, proc: PathBuf) -> Self {
        Self { mount, proc }
    }

    /// Removes what an earlier env-server has left there, if that is possible by now: then nobody is limited any more.
    pub(super) fn clear(&self) -> Result<(), KernelError> {
        ResctrlNode::open(&self.mount, self.proc.clone(), None).map(drop)
    }
}

/// What limits say of cache and memory bandwidth, as limits of the container.
pub(crate) fn of_caches(limits: &ResctrlLimits) -> Limits {
    Limits { llc: limits.llc, memory_bandwidth: limits.memory_bandwidth, ..Limits::default() }
}

/// The rest of the limits.
pub(crate) fn without_caches(limits: Limits) -> Limits {
    Limits { llc: None, memory_bandwidth: None, ..limits }
}

/// What limits of a container say of cache and memory bandwidth, as resctrl's. Absent when they say nothing.
pub(super) fn caches_among(limits: &Limits) -> Option<ResctrlLimits> {
    let Limits { llc, memory_bandwidth, .. } = *limits;
    (llc.is_some() || memory_bandwidth.is_some()).then_some(ResctrlLimits { llc, memory_bandwidth })
}

/// One reason for both resources of resctrl.
pub(crate) fn of_both_caches(reason: &str) -> PerResource<String> {
    let reason = || Some(reason.to_owned());
    PerResource { llc: reason(), memory_bandwidth: reason(), ..PerResource::default() }
}
