//! Disk traffic of a cgroup: how much it read and wrote on one disk, and how much it may.
//!
//! One type over both kernel interfaces (v1: blkio throttling, v2: `io.max`). The block layer throttles whole disks and
//! charges requests where they are made: what v1 writes back later from the page cache is charged to nobody. Must not
//! know who lends what to whom, nor when.

pub mod device;
mod v1;
mod v2;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use ballast_api::{BytesPerSecond, CgroupVersion, Limit, OperationsPerSecond, ReadWrite};

use crate::{
    error::KernelError,
    hierarchy::{Hierarchy, offers_limit},
    path::CgroupPath,
};
pub use device::DeviceNumber;

/// The most operations per second that can be asked for: the kernel counts them in 32 bits, whose greatest value is its
/// word for no limit.
const MOST_OPERATIONS: u64 = u32::MAX as u64 - 1;

/// Raw counters of one cgroup on one disk: they only grow, as long as the cgroup lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskCounters {
    /// Bytes moved.
    pub bytes: ReadWrite<u64>,
    /// Requests made.
    pub operations: ReadWrite<u64>,
}

/// What a cgroup may do on one disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiskLimits {
    /// Bandwidth.
    pub bytes: ReadWrite<Limit<BytesPerSecond>>,
    /// Requests.
    pub operations: ReadWrite<Limit<OperationsPerSecond>>,
}

/// The same as the kernel's numbers; absent for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Throttle {
    bytes: ReadWrite<Option<u64>>,
    operations: ReadWrite<Option<u64>>,
}

impl Throttle {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate of 2^53 bytes/s or more is no limit that anybody sets"
    )]
    fn limits(self) -> DiskLimits {
        let bytes = |raw: Option<u64>| {
            raw.map_or(Limit::Max, |raw| Limit::At(BytesPerSecond::saturating(raw as f64)))
        };
        let operations = |raw: Option<u64>| {
            raw.map_or(Limit::Max, |raw| Limit::At(OperationsPerSecond::saturating(raw as f64)))
        };
        DiskLimits { bytes: self.bytes.map(bytes), operations: self.operations.map(operations) }
    }
}

/// The disk files of one cgroup, for one disk.
#[derive(Debug, Clone)]
pub struct DiskControl {
    folder: PathBuf,
    device: DeviceNumber,
    /// Clones share what is open.
    files: Arc<LimitFiles>,
}

#[derive(Debug)]
enum LimitFiles {
    V1(v1::Limits),
    V2(v2::Limits),
}

impl DiskControl {
    /// The files of the cgroup at `path`, which need not exist yet. Absent where no hierarchy has the block controller.
    #[must_use]
    pub fn new(hierarchy: &Hierarchy, path: &CgroupPath, device: DeviceNumber) -> Option<Self> {
        let (version, folder) = hierarchy.disk_folder(path)?;
        let files = match version {
            CgroupVersion::V2 => LimitFiles::V2(v2::Limits::new(&folder)),
            _ => LimitFiles::V1(v1::Limits::new(&folder)),
        };
        Some(Self { folder, device, files: Arc::new(files) })
    }

    /// The disk concerned.
    #[must_use]
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// Reads the limits in force on this disk.
    ///
    /// # Errors
    /// When the cgroup is gone, its parent does not hand the controller down (v2), or a file is odd.
    pub fn limits(&self) -> Result<DiskLimits, KernelError> {
        Ok(self.throttle()?.limits())
    }

    /// What [`Self::set_limits`] would put in force: `limits`, rounded to whole bytes and operations. Writes nothing.
    ///
    /// # Errors
    /// [`KernelError::LimitTooSmall`] or [`KernelError::LimitTooLarge`].
    pub fn rounded(&self, limits: &DiskLimits) -> Result<DiskLimits, KernelError> {
        Ok(self.raw(limits)?.limits())
    }

    /// Writes the limits and answers what is in force then, as read back. What is in force already is not written again.
    ///
    /// # Errors
    /// As [`Self::rounded`], before anything is written; others when a file cannot be read or written. On cgroup v1 the
    /// four limits are four files: a failure may leave some of them changed.
    pub fn set_limits(&self, limits: &DiskLimits) -> Result<DiskLimits, KernelError> {
        self.change(&self.limits()?, limits)
    }

    /// The same for who has just read that `before` is in force.
    ///
    /// # Errors
    /// As [`Self::set_limits`].
    pub fn change(&self, before: &DiskLimits, limits: &DiskLimits) -> Result<DiskLimits, KernelError> {
        let (before, asked) = (self.raw(before)?, self.raw(limits)?);
        if asked == before {
            return Ok(before.limits());
        }
        match self.files.as_ref() {
            LimitFiles::V1(files) => files.write(self.device, &before, &asked)?,
            LimitFiles::V2(files) => files.write(self.device, &asked)?,
        }
        self.limits()
    }

    fn throttle(&self) -> Result<Throttle, KernelError> {
        match self.files.as_ref() {
            LimitFiles::V1(files) => files.throttle(self.device),
            LimitFiles::V2(files) => files.throttle(self.device),
        }
    }

    fn raw(&self, limits: &DiskLimits) -> Result<Throttle, KernelError> {
        let bytes = |limit: Limit<BytesPerSecond>| self.whole(limit, BytesPerSecond::get, u64::MAX - 1);
        let operations =
            |limit: Limit<OperationsPerSecond>| self.whole(limit, OperationsPerSecond::get, MOST_OPERATIONS);
        Ok(Throttle {
            bytes: limits.bytes.try_map(bytes)?,
            operations: limits.operations.try_map(operations)?,
        })
    }

    /// The whole number nearest to a limit. Zero is the kernel's word for no limit, so it is too little to ask for.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "quantities are not negative, and a float-to-integer cast saturates"
    )]
    fn whole<U: Copy + std::fmt::Display>(
        &self,
        limit: Limit<U>,
        number: fn(U) -> f64,
        most: u64,
    ) -> Result<Option<u64>, KernelError> {
        let Limit::At(asked) = limit else { return Ok(None) };
        match number(asked).round() as u64 {
            0 => Err(KernelError::LimitTooSmall {
                path: self.folder.clone(),
                asked: asked.to_string(),
                smallest: "1 a second".to_owned(),
            }),
            raw if raw > most => Err(KernelError::LimitTooLarge {
                path: self.folder.clone(),
                asked: asked.to_string(),
                largest: format!("{most} a second"),
            }),
            raw => Ok(Some(raw)),
        }
    }
}

/// What one cgroup did on each disk.
#[derive(Debug, Clone)]
pub struct DiskTraffic {
    /// Clones share what is open; absent where no hierarchy has the block controller.
    files: Option<Arc<CounterFiles>>,
}

#[derive(Debug)]
enum CounterFiles {
    V1(v1::Counters),
    V2(v2::Counters),
}

impl DiskTraffic {
    /// That of the cgroup at `path`, which need not exist yet.
    #[must_use]
    pub fn new(hierarchy: &Hierarchy, path: &CgroupPath) -> Self {
        let files = hierarchy.disk_folder(path).map(|(version, folder)| match version {
            CgroupVersion::V2 => CounterFiles::V2(v2::Counters::new(&folder)),
            _ => CounterFiles::V1(v1::Counters::new(&folder)),
        });
        Self { files: files.map(Arc::new) }
    }

    /// Reads the counters; empty where no hierarchy has the block controller.
    ///
    /// On cgroup v1 the kernel (6.10 and later) counts on a disk only once throttling is in use on it, see
    /// [`start_counting`].
    ///
    /// # Errors
    /// When the cgroup is gone, its parent does not hand the controller down (v2), or a file is odd.
    pub fn counters(&self) -> Result<BTreeMap<DeviceNumber, DiskCounters>, KernelError> {
        match self.files.as_deref() {
            Some(CounterFiles::V1(files)) => files.read(),
            Some(CounterFiles::V2(files)) => files.read(),
            None => Ok(BTreeMap::new()),
        }
    }
}

/// Whether the kernel can limit disks at all, as far as its cgroups show.
///
/// # Errors
/// A sentence why not.
pub fn probe(hierarchy: &Hierarchy) -> Result<(), String> {
    let Some((version, root)) = hierarchy.disk_root() else {
        return Err("no cgroup hierarchy with the block controller (blkio or io) is mounted".to_owned());
    };
    let (sign, limit) = match version {
        CgroupVersion::V2 => ("io.stat", "io.max"),
        _ => ("blkio.reset_stats", "blkio.throttle.read_bps_device"),
    };
    if offers_limit(version, root, sign, limit) == Some(false) {
        return Err("this kernel was built without limits of disks (CONFIG_BLK_DEV_THROTTLING)".to_owned());
    }
    Ok(())
}

/// Makes the kernel count traffic on a disk from now on, for all cgroups; changes no limit. Nothing to do on cgroup v2.
///
/// # Errors
/// When the root cgroup's files cannot be read or written.
pub fn start_counting(hierarchy: &Hierarchy, device: DeviceNumber) -> Result<(), KernelError> {
    match hierarchy.disk_root() {
        Some((CgroupVersion::V1, root)) => v1::start_counting(root, device),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
