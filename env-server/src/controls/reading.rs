//! What was read of one container's limits.
//!
//! Must not know how it was read.

use ballast_api::{EgressIngress, Limits, PerResource};
use ballast_kernel::{CpuBandwidth, DiskLimits, resctrl::InForce};

use super::{NetworkLimits, of_both_caches, of_caches, of_network};

/// Limits as read, and why those that are missing cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub(super) cpu: Option<CpuBandwidth>,
    pub(super) disk: Option<DiskLimits>,
    pub(super) network: Option<NetworkLimits>,
    pub(super) caches: Option<InForce>,
    /// What is in force.
    pub limits: Limits,
    /// For resources that have a control, and failed.
    pub failed: PerResource<String>,
}

impl Reading {
    /// Those limits that are as Ballast itself wrote them, though the container may have been lent others: it shares a
    /// resctrl group, whose limits follow the needs of all its members.
    #[must_use]
    pub fn arranged(&self) -> Limits {
        match &self.caches {
            Some(caches) if caches.disturbed.is_none() => of_caches(&caches.limits),
            _ => Limits::default(),
        }
    }

    /// What somebody else has made of the container's resctrl group, in resctrl's words, with the limits that this comes to.
    #[must_use]
    pub fn disturbed(&self) -> Option<(&str, Limits)> {
        let caches = self.caches.as_ref()?;
        Some((caches.disturbed.as_deref()?, of_caches(&caches.limits)))
    }

    /// Why limits of resctrl do not hold for all tasks of the container.
    #[must_use]
    pub fn astray(&self) -> PerResource<String> {
        let astray = self.caches.as_ref().and_then(|caches| caches.astray.as_deref());
        astray.map(of_both_caches).unwrap_or_default()
    }

    /// Those limits of which an injection has put a part in force: it takes them back when it ends.
    #[must_use]
    pub fn injected(&self) -> Limits {
        let injected = self.network.filter(|ways| ways.egress.is_injected || ways.ingress.is_injected);
        injected.map(of_network).unwrap_or_default()
    }

    /// Why what an injection holds is left alone.
    #[must_use]
    pub fn under_injection(&self) -> PerResource<String> {
        let ways = self.network.map(|ways| ways.map(|way| way.is_injected));
        let ways = match ways.unwrap_or_default() {
            EgressIngress { egress: true, ingress: true } => "egress and ingress",
            EgressIngress { egress: true, ingress: false } => "egress",
            EgressIngress { egress: false, ingress: true } => "ingress",
            EgressIngress { egress: false, ingress: false } => return PerResource::default(),
        };
        let why = format!("an injection holds its {ways}: it is left alone until that ends");
        PerResource { network: Some(why), ..PerResource::default() }
    }

    /// What the kernel saves of the CPU's quota. It is no limit that is lent, but is held down by one.
    #[must_use]
    pub fn cpu_burst_us(&self) -> Option<u64> {
        self.cpu.and_then(CpuBandwidth::burst_us)
    }
}
