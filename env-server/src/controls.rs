//! Everything that can be limited of one container, behind one set of limits.
//!
//! Knows which kernel interface serves which resource; must not know who asks, nor for how long.

use std::collections::BTreeMap;

use ballast_api::{BitsPerSecond, EgressIngress, Limit, Limits, PerResource, with_causes};
use ballast_kernel::{
    CgroupPath, CpuBandwidth, CpuControl, CpuCounters, DeviceNumber, DiskControl, DiskCounters, DiskLimits,
    Hierarchy, Interface, KernelError, NetworkControl, disk,
    network::{Host, NetworkCounters},
};
use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// CPU time.
    pub cpu: CpuCounters,
    /// Traffic of the disk that is controlled; absent where none is.
    pub disk: Option<DiskCounters>,
    /// Traffic of the network interface; absent where none is controlled.
    pub network: Option<NetworkCounters>,
}

/// Limits as read, and why those that are missing cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    cpu: CpuBandwidth,
    disk: Option<DiskLimits>,
    network: Option<NetworkLimits>,
    /// What is in force.
    pub limits: Limits,
    /// For resources that have a control, and failed.
    pub failed: PerResource<String>,
}

/// The controls of one container.
#[derive(Debug, Clone)]
pub struct Controls {
    hierarchy: Hierarchy,
    path: CgroupPath,
    cpu: CpuControl,
    disk: Option<DiskControl>,
    network: Option<NetworkControl>,
}

type NetworkLimits = EgressIngress<Limit<BitsPerSecond>>;

impl Controls {
    /// Those of the container at `path`, which need not exist yet.
    #[must_use]
    pub fn new(hierarchy: &Hierarchy, host: &Host, path: &CgroupPath, devices: &Devices) -> Self {
        Self {
            hierarchy: hierarchy.clone(),
            path: path.clone(),
            cpu: CpuControl::new(hierarchy, path),
            disk: devices.disk.and_then(|device| DiskControl::new(hierarchy, path, device)),
            network: devices.network.map(|interface| NetworkControl::on(host, interface)),
        }
    }

    /// Reads the limits in force. Where CPU limits can be read, the container is there: another resource that fails is
    /// told, and the rest goes on.
    ///
    /// # Errors
    /// When the CPU's limit cannot be read; the container is gone, most likely.
    pub fn limits(&self) -> Result<Reading, KernelError> {
        let cpu = self.cpu.bandwidth()?;
        let mut failed = PerResource::default();
        let disk = self.disk.as_ref().map(DiskControl::limits).transpose();
        let disk = disk.map_err(|error| failed.disk = Some(with_causes(&error))).ok().flatten();
        let network = self.network.as_ref().map(NetworkControl::limit).transpose();
        let network = network.map_err(|error| failed.network = Some(with_causes(&error))).ok().flatten();
        let limits = Limits { network, ..disk.as_ref().map(of_disk).unwrap_or_default() };
        Ok(Reading { cpu, disk, network, limits: limits.or(Limits::of_cpu(cpu.limit())), failed })
    }

    /// What [`Self::change`] would put in force. Writes nothing. A limit that is out of the kernel's range is left out and
    /// becomes a problem, a sentence.
    ///
    /// # Errors
    /// What is no problem of a limit.
    pub fn rounded(
        &self,
        before: &Reading,
        limits: &Limits,
        problems: &mut Vec<String>,
    ) -> Result<Limits, KernelError> {
        let mut rounded = Limits::default();
        if let Some(limit) = limits.cpu {
            rounded.cpu = in_range(self.cpu.rounded_at(before.cpu, limit), problems)?;
        }
        if let Some((control, _, asked)) = self.disk_change(before, limits) {
            let disk = in_range(control.rounded(&asked), problems)?;
            rounded = rounded.or(disk.as_ref().map(of_disk).unwrap_or_default());
        }
        if let Some((control, _, asked)) = self.network_change(before, limits) {
            rounded.network = in_range(control.rounded(asked), problems)?;
        }
        Ok(rounded.among(limits))
    }

    /// Writes limits, one resource after the other, where `before` is in force, and answers what is in force then of those
    /// that were asked for. A resource that could not be read is left out.
    ///
    /// # Errors
    /// The first one; resources before it are written.
    pub fn change(&self, before: &Reading, limits: &Limits) -> Result<Limits, KernelError> {
        let mut in_force = Limits::default();
        if let Some(limit) = limits.cpu {
            in_force.cpu = Some(self.cpu.change(before.cpu, limit)?);
        }
        if let Some((control, before, asked)) = self.disk_change(before, limits) {
            in_force = in_force.or(of_disk(&control.change(before, &asked)?));
        }
        if let Some((control, before, asked)) = self.network_change(before, limits) {
            in_force.network = Some(if asked == before { before } else { control.set_limit(asked)? });
        }
        Ok(in_force.among(limits))
    }

    /// Gives limits back, and goes on where one fails.
    ///
    /// # Errors
    /// The first one, also when a resource cannot be read.
    pub fn give_back(&self, limits: &Limits) -> Result<(), KernelError> {
        let cpu = limits.cpu.map(|limit| self.cpu.set_limit(limit)).transpose();
        let disk = self.disk.as_ref().map(|control| give_back_disk(control, limits)).transpose();
        let network = self.network.as_ref().zip(limits.network);
        let network = network.map(|(control, limits)| give_back_network(control, limits)).transpose();
        cpu.map(drop).and(disk.map(drop)).and(network.map(drop))
    }

    /// Reads the counters, and those of every disk that the container used.
    ///
    /// # Errors
    /// When the CPU's cannot be read; the container is gone, most likely.
    pub fn counters(&self) -> Result<(Counters, BTreeMap<DeviceNumber, DiskCounters>), KernelError> {
        let cpu = self.cpu.counters()?;
        let disks = disk::counters(&self.hierarchy, &self.path).unwrap_or_default();
        let disk =
            self.disk.as_ref().map(|control| disks.get(&control.device()).copied().unwrap_or_default());
        let network = self.network.as_ref().and_then(|control| control.counters().ok());
        Ok((Counters { cpu, disk, network }, disks))
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
        Some((self.network.as_ref()?, before.network?, limits.network?))
    }
}

/// An interface that is gone took its limits along.
fn give_back_network(control: &NetworkControl, limits: NetworkLimits) -> Result<(), KernelError> {
    match control.set_limit(limits) {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(()),
    }
}

fn give_back_disk(control: &DiskControl, limits: &Limits) -> Result<(), KernelError> {
    if limits.disk.is_none() && limits.disk_operations.is_none() {
        return Ok(());
    }
    let now = control.limits()?;
    control.change(&now, &disk_limits(limits, &now)).map(drop)
}

fn disk_limits(limits: &Limits, now: &DiskLimits) -> DiskLimits {
    DiskLimits {
        bytes: limits.disk.unwrap_or(now.bytes),
        operations: limits.disk_operations.unwrap_or(now.operations),
    }
}

fn of_disk(disk: &DiskLimits) -> Limits {
    Limits { disk: Some(disk.bytes), disk_operations: Some(disk.operations), ..Limits::default() }
}

fn in_range<T>(
    rounded: Result<T, KernelError>,
    problems: &mut Vec<String>,
) -> Result<Option<T>, KernelError> {
    match rounded {
        Ok(rounded) => Ok(Some(rounded)),
        Err(KernelError::LimitTooSmall { asked, smallest, .. }) => {
            problems.push(format!("{asked} is too little, the smallest limit is {smallest}"));
            Ok(None)
        }
        Err(error @ (KernelError::RateTooSmall { .. } | KernelError::NotOurs { .. })) => {
            problems.push(error.to_string());
            Ok(None)
        }
        Err(KernelError::LimitTooLarge { asked, largest, .. }) => {
            problems.push(format!(
                "{asked} is too much, the largest limit is {largest}; write \"max\" for no limit"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
