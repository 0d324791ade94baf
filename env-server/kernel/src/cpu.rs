//! CPU time of a cgroup: how much it used, how often it was throttled, and how much it may use.
//!
//! One type over both kernel interfaces; must not know who lends what to whom, nor when.

mod v1;
mod v2;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_api::{CgroupVersion, Cores, Limit};

use crate::{error::KernelError, file, hierarchy::Hierarchy, path::CgroupPath};

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

/// CFS bandwidth as the kernel keeps it: so much CPU time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuBandwidth {
    /// Absent for no limit.
    quota_us: Option<u64>,
    period_us: u64,
}

impl CpuBandwidth {
    /// The same in cores.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of a CFS period or quota are far below 2^53"
    )]
    pub fn limit(self) -> Limit<Cores> {
        self.quota_us.map_or(Limit::Max, |quota_us| {
            Limit::At(Cores::saturating(quota_us as f64 / self.period_us as f64))
        })
    }

    /// The quota nearest to `limit` at this period; the smallest limit when it would be less than the kernel accepts.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cores are not negative, and a float-to-integer cast saturates"
    )]
    fn with_limit(self, limit: Limit<Cores>) -> Result<Self, Cores> {
        let quota_us = match limit {
            Limit::Max => None,
            Limit::At(cores) => {
                let quota_us = (cores.get() * self.period_us as f64).round() as u64;
                if quota_us < SMALLEST_QUOTA_US {
                    return Err(Cores::saturating(SMALLEST_QUOTA_US as f64 / self.period_us as f64));
                }
                Some(quota_us)
            }
        };
        Ok(Self { quota_us, ..self })
    }
}

/// The CPU files of one cgroup.
#[derive(Debug, Clone)]
pub struct CpuControl {
    version: CgroupVersion,
    cpu: PathBuf,
    cpuacct: PathBuf,
}

impl CpuControl {
    /// The CPU files of the cgroup at `path`, which need not exist yet.
    #[must_use]
    pub fn new(hierarchy: &Hierarchy, path: &CgroupPath) -> Self {
        Self {
            version: hierarchy.version(),
            cpu: hierarchy.cpu_folder(path),
            cpuacct: hierarchy.cpuacct_folder(path),
        }
    }

    /// The folder that holds the limit.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.cpu
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// When the cgroup is gone ([`KernelError::is_gone`]) or a file holds what no kernel writes.
    pub fn counters(&self) -> Result<CpuCounters, KernelError> {
        match self.version {
            CgroupVersion::V2 => v2::counters(&self.cpu),
            _ => v1::counters(&self.cpu, &self.cpuacct),
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
        self.rounded_at(self.bandwidth()?, limit)
    }

    /// The same where `before` is in force.
    ///
    /// # Errors
    /// [`KernelError::LimitTooSmall`].
    pub fn rounded_at(&self, before: CpuBandwidth, limit: Limit<Cores>) -> Result<Limit<Cores>, KernelError> {
        Ok(self.with_limit(before, limit)?.limit())
    }

    /// Writes a limit, keeping the period, and answers what is in force then, as read back. What is in force already is
    /// not written again: each write refills the budget of the period (measured on Linux 6.18: a busy container limited to
    /// 0.2 core got 0.212 when its quota was rewritten every second, and 0.38 at every 50 ms).
    ///
    /// # Errors
    /// [`KernelError::LimitTooSmall`] before anything is written; [`KernelError::QuotaConflict`] when a cgroup v1 parent
    /// has less or a child has more; others when a file cannot be read or written.
    pub fn set_limit(&self, limit: Limit<Cores>) -> Result<Limit<Cores>, KernelError> {
        self.change(self.bandwidth()?, limit)
    }

    /// The same for who has just read that `before` is in force.
    ///
    /// # Errors
    /// As [`Self::set_limit`].
    pub fn change(&self, before: CpuBandwidth, limit: Limit<Cores>) -> Result<Limit<Cores>, KernelError> {
        let bandwidth = self.with_limit(before, limit)?;
        if bandwidth == before {
            return Ok(before.limit());
        }
        match self.version {
            CgroupVersion::V2 => v2::write_bandwidth(&self.cpu, bandwidth)?,
            _ => v1::write_quota(&self.cpu, bandwidth.quota_us)?,
        }
        self.limit()
    }

    /// Reads the bandwidth in force.
    ///
    /// # Errors
    /// As [`Self::limit`].
    pub fn bandwidth(&self) -> Result<CpuBandwidth, KernelError> {
        match self.version {
            CgroupVersion::V2 => v2::bandwidth(&self.cpu),
            _ => v1::bandwidth(&self.cpu),
        }
    }

    fn with_limit(&self, before: CpuBandwidth, limit: Limit<Cores>) -> Result<CpuBandwidth, KernelError> {
        before.with_limit(limit).map_err(|smallest| KernelError::LimitTooSmall {
            path: self.cpu.clone(),
            asked: limit.to_string(),
            smallest: format!("{smallest:.4}"),
        })
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
