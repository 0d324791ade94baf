//! cgroup v2: `cpu.max`, `cpu.max.burst` and `cpu.stat`.
//!
//! Must not know of v1.

use std::{path::Path, time::Duration};

use super::{CpuBandwidth, CpuCounters, SMALLEST_QUOTA_US, burst_us, field};
use crate::{
    error::KernelError,
    file::{self, ControlFile},
};

/// The files of one cgroup.
#[derive(Debug)]
pub(super) struct Files {
    max: ControlFile,
    burst: ControlFile,
    stat: ControlFile,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            max: ControlFile::of_limit(folder.join("cpu.max")),
            burst: ControlFile::of_limit(folder.join("cpu.max.burst")),
            stat: ControlFile::of_counter(folder.join("cpu.stat")),
        }
    }

    pub(super) fn counters(&self) -> Result<CpuCounters, KernelError> {
        let (stat, text) = (self.stat.path(), self.stat.read()?);
        let usage_us = field(stat, &text, "usage_usec")?
            .ok_or_else(|| file::unexpected(stat, &text, "CPU statistics with usage_usec"))?;
        // Without the CPU controller there is no quota to be held back by: the kernel leaves these lines out.
        let throttling = |key| field(stat, &text, key).map(Option::unwrap_or_default);
        Ok(CpuCounters {
            usage: Duration::from_micros(usage_us),
            periods: throttling("nr_periods")?,
            throttled_periods: throttling("nr_throttled")?,
            throttled: Duration::from_micros(throttling("throttled_usec")?),
        })
    }

    pub(super) fn bandwidth(&self) -> Result<CpuBandwidth, KernelError> {
        let (quota_us, period_us) = self.quota_and_period()?;
        Ok(CpuBandwidth { quota_us, period_us, burst_us: burst_us(&self.burst)? })
    }

    pub(super) fn quota_and_period(&self) -> Result<(Option<u64>, u64), KernelError> {
        let text = self.max.read()?;
        parse(&text).ok_or_else(|| file::unexpected(self.max.path(), &text, "a quota and a period"))
    }

    pub(super) fn write_quota(&self, quota_us: Option<u64>, period_us: u64) -> Result<(), KernelError> {
        self.max.write(&render(quota_us, period_us))
    }

    pub(super) fn write_burst(&self, burst_us: u64) -> Result<(), KernelError> {
        self.burst.write(&burst_us.to_string())
    }
}

/// The quota, absent for none, and the period.
fn parse(text: &str) -> Option<(Option<u64>, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    // What could not be written back is not taken for somebody's limit.
    let number = || quota.parse().ok().filter(|quota_us| *quota_us >= SMALLEST_QUOTA_US);
    let quota_us = if quota == "max" { None } else { Some(number()?) };
    let period_us = period.parse().ok().filter(|period_us| *period_us > 0)?;
    Some((quota_us, period_us))
}

fn render(quota_us: Option<u64>, period_us: u64) -> String {
    match quota_us {
        Some(quota_us) => format!("{quota_us} {period_us}"),
        None => format!("max {period_us}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(parse("max 100000\n"), Some((None, 100_000)));
        assert_eq!(parse("20000 50000\n"), Some((Some(20_000), 50_000)));
        for bad in ["", "max", "-1 100000", "999 100000", "max 0", "1 2 3", "max max"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            quota_us in proptest::option::of(1000u64..1 << 40),
            period_us in 1000u64..=1_000_000,
        ) {
            prop_assert_eq!(parse(&render(quota_us, period_us)), Some((quota_us, period_us)));
        }
    }
}
