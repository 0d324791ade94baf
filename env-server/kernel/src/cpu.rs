//! CPU time of a cgroup: how much it used, how often it was throttled, and how much it may use.
//!
//! One type over both kernel interfaces; must not know who lends what to whom, nor when.

mod ancestors;
mod bandwidth;
mod v1;
mod v2;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ballast_api::{CgroupVersion, Cores, Limit};

use crate::{
    error::KernelError,
    file::{self, ControlFile},
    hierarchy::{Hierarchy, offers_limit},
    path::CgroupPath,
};
use ancestors::AncestorQuota;
pub use ancestors::AncestorQuotas;
pub use bandwidth::CpuBandwidth;
use bandwidth::Write;

/// The smallest quota that the kernel accepts, in microseconds (`min_cfs_quota_period`).
pub const SMALLEST_QUOTA_US: u64 = 1000;

/// Raw counters: they only grow, as long as the cgroup lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuCounters {
    /// CPU time used.
    pub usage: Duration,
    /// Enforcement periods that passed while it was runnable.
    pub periods: u64,
    /// Those of them in which it was throttled.
    pub throttled_periods: u64,
    /// Time spent throttled, summed over CPUs.
    pub throttled: Duration,
}

/// The CPU files of one cgroup.
#[derive(Debug, Clone)]
pub struct CpuControl {
    folder: PathBuf,
    /// Clones share what is open.
    files: Arc<Files>,
}

#[derive(Debug)]
enum Files {
    V1(v1::Files),
    V2(v2::Files),
}

impl Files {
    fn new(hierarchy: &Hierarchy, path: &CgroupPath) -> Self {
        let folder = hierarchy.cpu_folder(path);
        match hierarchy.version() {
            CgroupVersion::V2 => Self::V2(v2::Files::new(&folder)),
            _ => Self::V1(v1::Files::new(&folder, &hierarchy.cpuacct_folder(path))),
        }
    }
}

impl CpuControl {
    /// The CPU files of the cgroup at `path`, which need not exist yet.
    #[must_use]
    pub fn new(hierarchy: &Hierarchy, path: &CgroupPath) -> Self {
        Self { folder: hierarchy.cpu_folder(path), files: Arc::new(Files::new(hierarchy, path)) }
    }

    /// The folder that holds the limit.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// When the cgroup is gone ([`KernelError::is_gone`]) or a file holds what no kernel writes.
    pub fn counters(&self) -> Result<CpuCounters, KernelError> {
        match self.files.as_ref() {
            Files::V1(files) => files.counters(),
            Files::V2(files) => files.counters(),
        }
    }

    /// Reads the limit in force.
    ///
    /// # Errors
    /// When the cgroup is gone, its parent does not hand the CPU controller down (v2), or a file is odd.
    pub fn limit(&self) -> Result<Limit<Cores>, KernelError> {
        Ok(self.bandwidth()?.limit())
    }

    /// What [`Self::set_limit`] would put in force: `limit`, rounded to the kernel's microseconds. Writes nothing.
    ///
    /// # Errors
    /// [`KernelError::LimitTooSmall`], or when the period in force cannot be read.
    pub fn rounded(&self, limit: Limit<Cores>) -> Result<Limit<Cores>, KernelError> {
        self.rounded_below(self.bandwidth()?, limit, None)
    }

    /// The same where `before` is in force, in a cgroup whose ancestors leave it `least`.
    ///
    /// # Errors
    /// [`KernelError::LimitTooSmall`] or [`KernelError::AboveAncestor`].
    pub fn rounded_below(
        &self,
        before: CpuBandwidth,
        limit: Limit<Cores>,
        least: Option<&AncestorQuota>,
    ) -> Result<Limit<Cores>, KernelError> {
        let wanted = self.with_limit(before, limit, None)?;
        match least {
            Some(least) if wanted.is_above(least.bandwidth) => Err(KernelError::AboveAncestor {
                asked: limit.to_string(),
                ancestor: least.folder.clone(),
                allowed: least.bandwidth.limit().to_string(),
            }),
            _ => Ok(wanted.limit()),
        }
    }

    /// Writes a limit, keeping the period, and answers what is in force then, as read back. What is in force already is
    /// not written again: each write refills the budget of the period (measured on Linux 6.18: a busy container limited to
    /// 0.2 core got 0.212 when its quota was rewritten every second, and 0.38 at every 50 ms).
    ///
    /// # Errors
    /// [`KernelError::LimitTooSmall`] before anything is written; [`KernelError::QuotaConflict`] when a cgroup v1 parent
    /// has less or a child has more; others when a file cannot be read or written.
    pub fn set_limit(&self, limit: Limit<Cores>) -> Result<Limit<Cores>, KernelError> {
        self.change(self.bandwidth()?, limit, None)
    }

    /// The same for who has just read that `before` is in force. The kernel refuses a quota below the burst: the burst goes
    /// down with the quota, and where the container's own is given, up with it to that one again.
    ///
    /// # Errors
    /// As [`Self::set_limit`].
    pub fn change(
        &self,
        before: CpuBandwidth,
        limit: Limit<Cores>,
        own_burst_us: Option<u64>,
    ) -> Result<Limit<Cores>, KernelError> {
        let wanted = self.with_limit(before, limit, own_burst_us)?;
        let writes = before.writes_to(wanted);
        if writes.is_empty() {
            return Ok(before.limit());
        }
        for write in writes {
            match (self.files.as_ref(), write) {
                (Files::V1(files), Write::Quota(quota_us)) => files.write_quota(quota_us)?,
                (Files::V1(files), Write::Burst(burst_us)) => files.write_burst(burst_us)?,
                (Files::V2(files), Write::Quota(quota_us)) => {
                    files.write_quota(quota_us, before.period_us)?;
                }
                (Files::V2(files), Write::Burst(burst_us)) => files.write_burst(burst_us)?,
            }
        }
        // The period is not ours to change, and a burst that was written says nothing of the limit.
        Ok(CpuBandwidth { quota_us: self.quota_us()?, ..before }.limit())
    }

    fn quota_us(&self) -> Result<Option<u64>, KernelError> {
        match self.files.as_ref() {
            Files::V1(files) => files.quota_us(),
            Files::V2(files) => Ok(files.quota_and_period()?.0),
        }
    }

    /// Reads the bandwidth in force.
    ///
    /// # Errors
    /// As [`Self::limit`].
    pub fn bandwidth(&self) -> Result<CpuBandwidth, KernelError> {
        match self.files.as_ref() {
            Files::V1(files) => files.bandwidth(),
            Files::V2(files) => files.bandwidth(),
        }
    }

    fn with_limit(
        &self,
        before: CpuBandwidth,
        limit: Limit<Cores>,
        own_burst_us: Option<u64>,
    ) -> Result<CpuBandwidth, KernelError> {
        before.with_limit(limit, own_burst_us).map_err(|smallest| KernelError::LimitTooSmall {
            path: self.folder.clone(),
            asked: limit.to_string(),
            smallest: format!("{smallest:.4}"),
        })
    }
}

/// Whether the kernel can limit CPU time at all, as far as its cgroups show.
///
/// # Errors
/// A sentence why not.
pub fn probe(hierarchy: &Hierarchy) -> Result<(), String> {
    hierarchy.cpu()?;
    let (sign, limit) = match hierarchy.version() {
        CgroupVersion::V2 => ("cpu.weight", "cpu.max"),
        _ => ("cpu.shares", "cpu.cfs_quota_us"),
    };
    if offers_limit(hierarchy.version(), hierarchy.cpu_root(), sign, limit) == Some(false) {
        return Err("this kernel was built without limits of CPU time (CONFIG_CFS_BANDWIDTH)".to_owned());
    }
    Ok(())
}

/// The number in the file of the burst; absent before Linux 5.14.
fn burst_us(file: &ControlFile) -> Result<Option<u64>, KernelError> {
    match file.read_number() {
        Err(error) if error.is_gone() => Ok(None),
        other => other.map(Some),
    }
}

/// The value of `key` in a file of `key value` lines (`cpu.stat`).
fn field(path: &Path, text: &str, key: &'static str) -> Result<Option<u64>, KernelError> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.trim().parse())
        .transpose()
        .map_err(|_| file::unexpected(path, text, "lines of a name and a whole number"))
}

#[cfg(test)]
mod tests;
