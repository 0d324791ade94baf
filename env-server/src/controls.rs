//! Everything that can be limited of one container, behind one set of limits.
//!
//! Knows which kernel interface serves which resource; must not know who asks, nor for how long.

mod caches;
mod give_back;
mod problems;
mod reading;

use std::collections::BTreeMap;

use ballast_api::{EgressIngress, Limit, Limits, PerResource, with_causes};
use ballast_kernel::{
    AncestorQuotas, CgroupPath, CpuBandwidth, CpuControl, CpuCounters, DeviceNumber, DiskControl,
    DiskCounters, DiskLimits, DiskTraffic, Hierarchy, Interface, KernelError, NetworkControl,
    network::{Host, NetworkCounters, NetworkLimit},
    resctrl::{self, ResctrlControl, ResctrlLimits},
};
use problems::in_range;
pub(crate) use problems::why_not;
use serde::{Deserialize, Serialize};

pub use caches::ShutResctrl;
use caches::caches_among;
pub(crate) use caches::{of_both_caches, of_caches, without_caches};
pub use give_back::GivenBack;
pub use reading::Reading;

/// What of the machine a container's limits are written to, beside its cgroup. A loan remembers it: limits go back to
/// where they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// The disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DeviceNumber>,
    /// The host side of its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Interface>,
}

/// Raw counters of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// CPU time; absent where it cannot be read.
    pub cpu: Option<CpuCounters>,
    /// Traffic of the disk that is controlled; absent where none is, or where it cannot be read.
    pub disk: Option<DiskCounters>,
    /// Traffic of the network interface; absent where none is controlled.
    pub network: Option<NetworkCounters>,
    /// Cache and memory traffic, as far as they are measured; absent without resctrl.
    pub caches: Option<resctrl::Counters>,
}

type NetworkLimits = EgressIngress<NetworkLimit>;

/// The controls of one container.
#[derive(Debug, Clone)]
pub struct Controls {
    hierarchy: Hierarchy,
    path: CgroupPath,
    cpu: CpuControl,
    disk: Option<DiskControl>,
    traffic: DiskTraffic,
    network: Option<NetworkControl>,
    caches: Option<ResctrlControl>,
    shut: Option<ShutResctrl>,
}

impl Controls {
    /// Those of the container at `path`, which need not exist yet. `caches` where the machine has resctrl, else what is there
    /// in its place.
    #[must_use]
    pub fn new(
        hierarchy: &Hierarchy,
        host: &Host,
        path: &CgroupPath,
        devices: &Devices,
        caches: Result<ResctrlControl, Option<ShutResctrl>>,
    ) -> Self {
        let (caches, shut) = match caches {
            Ok(control) => (Some(control), None),
            Err(shut) => (None, shut),
        };
        Self {
            hierarchy: hierarchy.clone(),
            path: path.clone(),
            cpu: CpuControl::new(hierarchy, path),
            disk: devices.disk.and_then(|device| DiskControl::new(hierarchy, path, device)),
            traffic: DiskTraffic::new(hierarchy, path),
            network: devices.network.map(|interface| NetworkControl::on(host, interface)),
            caches,
            shut,
        }
    }

    /// Reads the limits in force. A resource that fails is told, and the rest goes on.
    ///
    /// # Errors
    /// When the container is gone.
    pub fn limits(&self) -> Result<Reading, KernelError> {
        let mut failed = PerResource::default();
        let cpu = match self.cpu.bandwidth() {
            Err(error) if !self.exists() => return Err(error),
            other => other.map_err(|error| failed.cpu = Some(why_not(&self.hierarchy, &error))).ok(),
        };
        let disk = self.disk.as_ref().map(DiskControl::limits).transpose();
        let disk = disk.map_err(|error| failed.disk = Some(why_not(&self.hierarchy, &error))).ok().flatten();
        let network = self.network.as_ref().map(NetworkControl::in_force).transpose();
        let network = network.map_err(|error| failed.network = Some(with_causes(&error))).ok().flatten();
        let caches = self.caches.as_ref().map(ResctrlControl::in_force).transpose();
        let caches = caches.map_err(|error| failed = of_both_caches(&with_causes(&error)).or(failed.clone()));
        let caches = caches.ok().flatten();
        let limits = disk.as_ref().map(of_disk).unwrap_or_default();
        let limits = limits.or(network.map(of_network).unwrap_or_default());
        let limits = limits.or(caches.as_ref().map(|caches| of_caches(&caches.limits)).unwrap_or_default());
        let limits = Limits { cpu: cpu.map(CpuBandwidth::limit), ..limits };
        Ok(Reading { cpu, disk, network, caches, limits, failed })
    }

    /// Asked only when something failed: whose files can be read is there.
    fn exists(&self) -> bool {
        self.hierarchy.identity(&self.path).is_some()
    }

    /// What [`Self::change`] and an [order](Self::order) would put in force. Writes nothing. A limit that is out of the kernel's range is left out and
    /// becomes a problem, a sentence; so is a quota above that of an ancestor, which would not be in force.
    ///
    /// # Errors
    /// What is no problem of a limit.
    pub fn rounded(
        &self,
        before: &Reading,
        limits: &Limits,
        ancestors: &mut AncestorQuotas<'_>,
        problems: &mut Vec<String>,
    ) -> Result<Limits, KernelError> {
        let mut rounded = Limits::default();
        if let Some((before, limit)) = before.cpu.zip(limits.cpu) {
            let least = if limit == Limit::Max { None } else { ancestors.least_above(&self.path)? };
            rounded.cpu = in_range(self.cpu.rounded_below(before, limit, least.as_ref()), problems)?;
        }
        if let Some((control, _, asked)) = self.disk_change(before, limits) {
            let disk = in_range(control.rounded(&asked), problems)?;
            rounded = rounded.or(disk.as_ref().map(of_disk).unwrap_or_default());
        }
        if let Some((control, _, asked)) = self.network_change(before, limits) {
            rounded.network = in_range(control.rounded(asked.map(|way| way.limit)), problems)?;
        }
        if let Some((control, asked)) = self.order(before, limits) {
            let caches = in_range(control.rounded(asked), problems)?;
            rounded = rounded.or(caches.as_ref().map(of_caches).unwrap_or_default());
        }
        Ok(rounded.among(limits))
    }

    /// Writes limits, one resource after the other, where `before` is in force, and answers what is in force then of those
    /// that were asked for. A resource that could not be read is left out, and so are caches and memory bandwidth: groups
    /// are few, so all containers of a plan are [ordered](Self::order) at once. The burst is the
    /// container's own, as far as the quota allows.
    ///
    /// # Errors
    /// The first one; resources before it are written.
    pub fn change(
        &self,
        before: &Reading,
        limits: &Limits,
        own_burst_us: Option<u64>,
    ) -> Result<Limits, KernelError> {
        let mut in_force = Limits::default();
        if let Some((before, limit)) = before.cpu.zip(limits.cpu) {
            in_force.cpu = Some(self.cpu.change(before, limit, own_burst_us)?);
        }
        if let Some((control, before, asked)) = self.disk_change(before, limits) {
            in_force = in_force.or(of_disk(&control.change(before, &asked)?));
        }
        if let Some((control, before, asked)) = self.network_change(before, limits) {
            let now = if asked == before { before } else { control.put_in_force(asked)? };
            in_force = in_force.or(of_network(now));
        }
        Ok(in_force.among(limits))
    }

    /// What of `limits` is to be ordered of resctrl, where `before` is in force. Absent when nothing of it is asked for.
    #[must_use]
    pub fn order(&self, before: &Reading, limits: &Limits) -> Option<(&ResctrlControl, ResctrlLimits)> {
        let asked = limits.among(&of_caches(&before.caches.as_ref()?.limits));
        Some((self.caches.as_ref()?, caches_among(&asked)?))
    }

    /// Takes tasks along that entered the container after it was limited.
    ///
    /// # Errors
    /// When somebody has put one into a resctrl group of their own, or the kernel refuses.
    pub fn gather(&self) -> Result<(), KernelError> {
        self.caches.as_ref().map_or(Ok(()), ResctrlControl::gather)
    }

    /// Whether there is no such interface any more: an ifb may be left of it.
    #[must_use]
    pub fn network_is_gone(&self) -> bool {
        self.network.as_ref().is_some_and(|control| control.limit().is_err_and(|error| error.is_gone()))
    }

    /// Reads the counters, and those of every disk that the container used.
    ///
    /// # Errors
    /// When the container is gone, or the CPU's files hold what no kernel writes.
    pub fn counters(&self) -> Result<(Counters, BTreeMap<DeviceNumber, DiskCounters>), KernelError> {
        let cpu = match self.cpu.counters() {
            Err(error) if error.is_gone() && self.exists() => None,
            other => Some(other?),
        };
        let disks = self.traffic.counters().ok();
        // The kernel leaves out a disk without traffic: there it is zero, and not known only where nothing could be read.
        let counted = self.disk.as_ref().zip(disks.as_ref());
        let disk = counted.map(|(control, disks)| disks.get(&control.device()).copied().unwrap_or_default());
        let network = self.network.as_ref().and_then(|control| control.counters().ok());
        let of_caches = |control: &ResctrlControl| {
            control.counters().unwrap_or_else(|error| resctrl::Counters::absent(&with_causes(&error)))
        };
        let caches = self.caches.as_ref().map(of_caches);
        Ok((Counters { cpu, disk, network, caches }, disks.unwrap_or_default()))
    }

    /// The disk's limits, and as they would be: what is not asked for stays as it is. Absent when nothing is asked for.
    fn disk_change<'a>(
        &'a self,
        before: &'a Reading,
        limits: &Limits,
    ) -> Option<(&'a DiskControl, &'a DiskLimits, DiskLimits)> {
        let (control, now) = (self.disk.as_ref()?, before.disk.as_ref()?);
        let is_asked = limits.disk.is_some() || limits.disk_operations.is_some();
        is_asked.then(|| (control, now, disk_limits(limits, now)))
    }

    /// The network's limits, and as they would be. Absent when they are not asked for.
    fn network_change(
        &self,
        before: &Reading,
        limits: &Limits,
    ) -> Option<(&NetworkControl, NetworkLimits, NetworkLimits)> {
        Some((self.network.as_ref()?, before.network?, limits.network?.map(NetworkLimit::lent)))
    }
}

fn disk_limits(limits: &Limits, now: &DiskLimits) -> DiskLimits {
    DiskLimits {
        bytes: limits.disk.unwrap_or(now.bytes),
        operations: limits.disk_operations.unwrap_or(now.operations),
    }
}

fn of_network(network: NetworkLimits) -> Limits {
    Limits { network: Some(network.map(|way| way.limit)), ..Limits::default() }
}

fn of_disk(disk: &DiskLimits) -> Limits {
    Limits { disk: Some(disk.bytes), disk_operations: Some(disk.operations), ..Limits::default() }
}

#[cfg(test)]
mod tests;
