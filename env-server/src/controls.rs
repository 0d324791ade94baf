//! Everything that can be limited of one container, behind one set of limits.
//!
//! Knows which kernel interface serves which resource; must not know who asks, nor for how long.

use std::collections::BTreeMap;

use ballast_api::{Limits, PerResource, with_causes};
use ballast_kernel::{
    CgroupPath, CpuControl, CpuCounters, DeviceNumber, DiskControl, DiskCounters, DiskLimits, Hierarchy,
    KernelError, disk,
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
}

/// Raw counters of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// CPU time.
    pub cpu: CpuCounters,
    /// Traffic of the disk that is controlled; absent where none is.
    pub disk: Option<DiskCounters>,
}

/// Limits as read, and why those that are missing cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
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
}

impl Controls {
    /// Those of the container at `path`, which need not exist yet.
    #[must_use]
    pub fn new(hierarchy: &Hierarchy, path: &CgroupPath, devices: &Devices) -> Self {
        Self {
            hierarchy: hierarchy.clone(),
            path: path.clone(),
            cpu: CpuControl::new(hierarchy, path),
            disk: devices.disk.and_then(|device| DiskControl::new(hierarchy, path, device)),
        }
    }

    /// Reads the limits in force. Where CPU limits can be read, the container is there: another resource that fails is
    /// told, and the rest goes on.
    ///
    /// # Errors
    /// When the CPU's limit cannot be read; the container is gone, most likely.
    pub fn limits(&self) -> Result<Reading, KernelError> {
        let mut limits = Limits::of_cpu(self.cpu.limit()?);
        let mut failed = PerResource::default();
        match self.disk.as_ref().map(DiskControl::limits) {
            Some(Ok(disk)) => limits = limits.or(of_disk(&disk)),
            Some(Err(error)) => failed.disk = Some(with_causes(&error)),
            None => {}
        }
        Ok(Reading { limits, failed })
    }

    /// What [`Self::set`] would put in force. Writes nothing. A limit that is out of the kernel's range is left out and
    /// becomes a problem, a sentence.
    ///
    /// # Errors
    /// When what is in force cannot be read.
    pub fn rounded(&self, limits: &Limits, problems: &mut Vec<String>) -> Result<Limits, KernelError> {
        let mut rounded = Limits::default();
        if let Some(limit) = limits.cpu {
            rounded.cpu = in_range(self.cpu.rounded(limit), problems)?;
        }
        if let Some((control, asked)) = self.disk_change(limits)? {
            let disk = in_range(control.rounded(&asked), problems)?;
            rounded = rounded.or(disk.map(|disk| of_disk(&disk)).unwrap_or_default());
        }
        Ok(rounded.among(limits))
    }

    /// Writes limits, one resource after the other, and answers what is in force then of those that were asked for.
    ///
    /// # Errors
    /// The first one; resources before it are written.
    pub fn set(&self, limits: &Limits) -> Result<Limits, KernelError> {
        let mut in_force = Limits::default();
        if let Some(limit) = limits.cpu {
            in_force.cpu = Some(self.cpu.set_limit(limit)?);
        }
        if let Some((control, asked)) = self.disk_change(limits)? {
            in_force = in_force.or(of_disk(&control.set_limits(&asked)?));
        }
        Ok(in_force.among(limits))
    }

    /// Writes limits as [`Self::set`] does, but goes on where one fails.
    ///
    /// # Errors
    /// The first one.
    pub fn set_each(&self, limits: &Limits) -> Result<(), KernelError> {
        let cpu = self.set(&Limits { cpu: limits.cpu, ..Limits::default() });
        let others = self.set(&Limits { cpu: None, ..*limits });
        cpu.and(others).map(drop)
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
        Ok((Counters { cpu, disk }, disks))
    }

    /// The disk's limits as they would be: what is not asked for stays as it is. Absent when nothing is asked for.
    fn disk_change(&self, limits: &Limits) -> Result<Option<(&DiskControl, DiskLimits)>, KernelError> {
        let (Some(control), true) = (&self.disk, limits.disk.is_some() || limits.disk_operations.is_some())
        else {
            return Ok(None);
        };
        let now = control.limits()?;
        let bytes = limits.disk.unwrap_or(now.bytes);
        let operations = limits.disk_operations.unwrap_or(now.operations);
        Ok(Some((control, DiskLimits { bytes, operations })))
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
        Err(KernelError::LimitTooLarge { asked, largest, .. }) => {
            problems.push(format!(
                "{asked} is too much, the largest limit is {largest}; write \"max\" for no limit"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
