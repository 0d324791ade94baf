//! cgroup v1: the files of the controllers `cpu` and `cpuacct`.
//!
//! Must not know of v2.

use std::{path::Path, time::Duration};

use nix::errno::Errno;

use super::{CpuBandwidth, CpuCounters, SMALLEST_QUOTA_US, burst_us, field};
use crate::{error::KernelError, file};

const BURST: &str = "cpu.cfs_burst_us";
const NO_QUOTA: i64 = -1;

pub(super) fn counters(cpu: &Path, cpuacct: &Path) -> Result<CpuCounters, KernelError> {
    let stat = cpu.join("cpu.stat");
    let text = file::read_record(&stat)?;
    let required =
        |key| field(&stat, &text, key)?.ok_or_else(|| file::unexpected(&stat, &text, "the CFS statistics"));
    Ok(CpuCounters {
        usage: Duration::from_nanos(file::read_number(&cpuacct.join("cpuacct.usage"))?),
        periods: required("nr_periods")?,
        throttled_periods: required("nr_throttled")?,
        throttled: Duration::from_nanos(required("throttled_time")?),
    })
}

pub(super) fn bandwidth(cpu: &Path) -> Result<CpuBandwidth, KernelError> {
    let period_us = period_us(cpu)?;
    Ok(CpuBandwidth { quota_us: quota_us(cpu)?, period_us, burst_us: burst_us(&cpu.join(BURST))? })
}

/// The quota with its period; absent for no limit.
pub(super) fn quota_and_period(cpu: &Path) -> Result<Option<(u64, u64)>, KernelError> {
    quota_us(cpu)?.map(|quota_us| Ok((quota_us, period_us(cpu)?))).transpose()
}

fn period_us(cpu: &Path) -> Result<u64, KernelError> {
    let period = cpu.join("cpu.cfs_period_us");
    let period_us = file::read_number(&period)?;
    if period_us == 0 { Err(file::unexpected(&period, "0", "a period")) } else { Ok(period_us) }
}

pub(super) fn quota_us(cpu: &Path) -> Result<Option<u64>, KernelError> {
    let quota = cpu.join("cpu.cfs_quota_us");
    let quota_us: i64 = file::read_number(&quota)?;
    match u64::try_from(quota_us) {
        Err(_) if quota_us == NO_QUOTA => Ok(None),
        Ok(quota_us) if quota_us >= SMALLEST_QUOTA_US => Ok(Some(quota_us)),
        // What could not be written back is not taken for somebody's limit.
        _ => Err(file::unexpected(&quota, &quota_us.to_string(), "a quota")),
    }
}

pub(super) fn write_quota(cpu: &Path, quota_us: Option<u64>) -> Result<(), KernelError> {
    let value = quota_us.map_or_else(|| NO_QUOTA.to_string(), |quota_us| quota_us.to_string());
    file::write(&cpu.join("cpu.cfs_quota_us"), &value).map_err(|error| match error {
        KernelError::Io { path, value: Some(value), source, .. }
            if source.raw_os_error() == Some(Errno::EINVAL as i32) =>
        {
            KernelError::QuotaConflict { path, value, source }
        }
        other => other,
    })
}

pub(super) fn write_burst(cpu: &Path, burst_us: u64) -> Result<(), KernelError> {
    file::write(&cpu.join(BURST), &burst_us.to_string())
}
