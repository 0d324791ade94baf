//! cgroup v1: the files of the controllers `cpu` and `cpuacct`.
//!
//! Must not know of v2.

use std::{path::Path, time::Duration};

use nix::errno::Errno;

use super::{CpuBandwidth, CpuCounters, SMALLEST_QUOTA_US, burst_us, field};
use crate::{
    error::KernelError,
    file::{self, ControlFile},
};

const NO_QUOTA: i64 = -1;

/// The files of one cgroup.
#[derive(Debug)]
pub(super) struct Files {
    quota: ControlFile,
    period: ControlFile,
    burst: ControlFile,
    stat: ControlFile,
    usage: ControlFile,
}

impl Files {
    pub(super) fn new(cpu: &Path, cpuacct: &Path) -> Self {
        Self {
            quota: ControlFile::of_limit(cpu.join("cpu.cfs_quota_us")),
            period: ControlFile::of_counter(cpu.join("cpu.cfs_period_us")),
            burst: ControlFile::of_limit(cpu.join("cpu.cfs_burst_us")),
            stat: ControlFile::of_counter(cpu.join("cpu.stat")),
            usage: ControlFile::of_counter(cpuacct.join("cpuacct.usage")),
        }
    }

    pub(super) fn counters(&self) -> Result<CpuCounters, KernelError> {
        let (stat, text) = (self.stat.path(), self.stat.read()?);
        let required =
            |key| field(stat, &text, key)?.ok_or_else(|| file::unexpected(stat, &text, "the CFS statistics"));
        Ok(CpuCounters {
            usage: Duration::from_nanos(self.usage.read_number()?),
            periods: required("nr_periods")?,
            throttled_periods: required("nr_throttled")?,
            throttled: Duration::from_nanos(required("throttled_time")?),
        })
    }

    pub(super) fn bandwidth(&self) -> Result<CpuBandwidth, KernelError> {
        let period_us = self.period_us()?;
        Ok(CpuBandwidth { quota_us: self.quota_us()?, period_us, burst_us: burst_us(&self.burst)? })
    }

    /// The quota with its period; absent for no limit.
    pub(super) fn quota_and_period(&self) -> Result<Option<(u64, u64)>, KernelError> {
        self.quota_us()?.map(|quota_us| Ok((quota_us, self.period_us()?))).transpose()
    }

    fn period_us(&self) -> Result<u64, KernelError> {
        let period_us = self.period.read_number()?;
        if period_us == 0 {
            Err(file::unexpected(self.period.path(), "0", "a period"))
        } else {
            Ok(period_us)
        }
    }

    pub(super) fn quota_us(&self) -> Result<Option<u64>, KernelError> {
        let quota_us: i64 = self.quota.read_number()?;
        match u64::try_from(quota_us) {
            Err(_) if quota_us == NO_QUOTA => Ok(None),
            Ok(quota_us) if quota_us >= SMALLEST_QUOTA_US => Ok(Some(quota_us)),
            // What could not be written back is not taken for somebody's limit.
            _ => Err(file::unexpected(self.quota.path(), &quota_us.to_string(), "a quota")),
        }
    }

    pub(super) fn write_quota(&self, quota_us: Option<u64>) -> Result<(), KernelError> {
        let value = quota_us.map_or_else(|| NO_QUOTA.to_string(), |quota_us| quota_us.to_string());
        self.quota.write(&value).map_err(|error| match error {
            KernelError::Io { path, value: Some(value), source, .. }
                if source.raw_os_error() == Some(Errno::EINVAL as i32) =>
            {
                KernelError::QuotaConflict { path, value, source }
            }
            other => other,
        })
    }

    pub(super) fn write_burst(&self, burst_us: u64) -> Result<(), KernelError> {
        self.burst.write(&burst_us.to_string())
    }
}
