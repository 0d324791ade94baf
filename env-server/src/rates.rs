//! From counters to rates: what a container used between two samples.
//!
//! Pure. Raw samples and rates are different types; must not know who samples, nor how often.

use std::time::Duration;

use ballast_api::{
    Amounts, BytesPerSecond, Cores, OperationsPerSecond, PerResource, ReadWrite, Throttling, UnixNanos,
};
use ballast_kernel::{CpuCounters, DiskCounters, network, resctrl};

use crate::controls::Counters;

/// Counters, and when they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When, by the time of day, which may be set.
    pub taken_at: UnixNanos,
    /// When, by the clock that nobody sets.
    pub at: Duration,
    /// What.
    pub counters: Counters,
}

/// What happened between two samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Use per wall-clock time; what is not measured is absent.
    pub usage: Amounts,
    /// How much the quota held the container back.
    pub throttling: Option<Throttling>,
    /// Why what resctrl measures is absent.
    pub unmeasured: PerResource<String>,
}

/// The rates between two samples. Absent when no time passed, or when a counter of the CPU fell: it began anew, and
/// nothing is known about the time before. Another counter that fell, or one that cannot be read, is absent alone.
#[must_use]
pub fn between(before: &Sample, after: &Sample) -> Option<Rates> {
    let elapsed = after.at.saturating_sub(before.at);
    if elapsed == Duration::ZERO {
        return None;
    }
    let (cpu, throttling) = match before.counters.cpu.zip(after.counters.cpu) {
        Some((before, after)) => Some(of_cpu(&before, &after, elapsed)?).unzip(),
        None => (None, None),
    };
    let disk = before.counters.disk.zip(after.counters.disk);
    let disk = disk.and_then(|(before, after)| of_disk(&before, &after, elapsed));
    let caches = before.counters.caches.as_ref().zip(after.counters.caches.as_ref());
    let caches = caches.map(|(before, after)| resctrl::monitor::rates(before, after, elapsed));
    let (of_caches, unmeasured) = caches.map(of_caches).unwrap_or_default();
    let usage = Amounts {
        cpu,
        disk: disk.map(|(bytes, _)| bytes),
        disk_operations: disk.map(|(_, operations)| operations),
        network: before
            .counters
            .network
            .zip(after.counters.network)
            .and_then(|(before, after)| network::rates(&before, &after, elapsed)),
        ..of_caches
    };
    Some(Rates { usage, throttling, unmeasured })
}

/// What is measured, and why the rest is not.
fn of_caches(caches: resctrl::Rates) -> (Amounts, PerResource<String>) {
    let resctrl::Rates { occupancy, total, local } = caches;
    let reasons = PerResource {
        llc: occupancy.as_ref().err().cloned(),
        memory_bandwidth: total.as_ref().err().or(local.as_ref().err()).cloned(),
        ..PerResource::default()
    };
    let measured = Amounts {
        llc: occupancy.ok(),
        memory_bandwidth: total.ok(),
        memory_bandwidth_local: local.ok(),
        ..Amounts::default()
    };
    (measured, reasons)
}

fn of_cpu(old: &CpuCounters, new: &CpuCounters, elapsed: Duration) -> Option<(Cores, Throttling)> {
    let used = new.usage.checked_sub(old.usage)?;
    let throttled = new.throttled.checked_sub(old.throttled)?;
    let periods = new.periods.checked_sub(old.periods)?;
    let throttled_periods = new.throttled_periods.checked_sub(old.throttled_periods)?;
    let throttling = Throttling {
        throttled_share: share(throttled_periods, periods),
        throttled_seconds_per_second: per(throttled, elapsed),
    };
    Some((Cores::saturating(per(used, elapsed)), throttling))
}

fn of_disk(
    old: &DiskCounters,
    new: &DiskCounters,
    elapsed: Duration,
) -> Option<(ReadWrite<BytesPerSecond>, ReadWrite<OperationsPerSecond>)> {
    let bytes = grown(old.bytes, new.bytes)?.map(|grown| BytesPerSecond::saturating(each(grown, elapsed)));
    let operations = grown(old.operations, new.operations)?;
    Some((bytes, operations.map(|grown| OperationsPerSecond::saturating(each(grown, elapsed)))))
}

fn grown(old: ReadWrite<u64>, new: ReadWrite<u64>) -> Option<ReadWrite<u64>> {
    Some(ReadWrite { read: new.read.checked_sub(old.read)?, write: new.write.checked_sub(old.write)? })
}

#[expect(clippy::cast_precision_loss, reason = "what is counted between two samples is far below 2^53")]
fn each(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

fn per(amount: Duration, elapsed: Duration) -> f64 {
    amount.as_secs_f64() / elapsed.as_secs_f64()
}

/// In [0, 1]; zero of zero is zero. The kernel updates both counters apart, so the part may lead by one.
#[expect(clippy::cast_precision_loss, reason = "periods between two samples are few")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

/// The last two samples of a container.
#[derive(Debug, Clone, Default)]
pub struct History {
    before: Option<Sample>,
    last: Option<Sample>,
}

impl History {
    /// Takes a new sample, forgetting the older of the two.
    pub fn push(&mut self, sample: Sample) {
        self.before = self.last.replace(sample);
    }

    /// The newest sample.
    #[must_use]
    pub fn last(&self) -> Option<&Sample> {
        self.last.as_ref()
    }

    /// The rates between the two; absent before there are two.
    #[must_use]
    pub fn rates(&self) -> Option<Rates> {
        between(self.before.as_ref()?, self.last.as_ref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64, usage: f64, periods: u64, throttled_periods: u64, throttled: f64) -> Sample {
        Sample {
            // As on a day on which somebody sets the time back.
            taken_at: UnixNanos(1_000_000_000_000).minus(Duration::from_secs_f64(seconds)),
            at: Duration::from_secs_f64(seconds),
            counters: Counters {
                cpu: Some(CpuCounters {
                    usage: Duration::from_secs_f64(usage),
                    periods,
                    throttled_periods,
                    throttled: Duration::from_secs_f64(throttled),
                }),
                ..Counters::default()
            },
        }
    }

    fn with_disk(seconds: f64, read: u64, written: u64) -> Sample {
        let disk = DiskCounters {
            bytes: ReadWrite { read, write: written },
            operations: ReadWrite { read: read / 4096, write: written / 4096 },
        };
        let sample = sample(seconds, 0.0, 0, 0, 0.0);
        Sample { counters: Counters { disk: Some(disk), ..sample.counters }, ..sample }
    }

    #[test]
    fn disk_traffic_is_a_rate_in_each_direction() {
        let rates = between(&with_disk(1.0, 4096, 0), &with_disk(3.0, 12_288, 40_960)).unwrap();
        let disk = rates.usage.disk.unwrap().map(BytesPerSecond::get);
        assert_eq!(disk, ReadWrite { read: 4096.0, write: 20_480.0 });
        let operations = rates.usage.disk_operations.unwrap().map(OperationsPerSecond::get);
        assert_eq!(operations, ReadWrite { read: 1.0, write: 5.0 });
    }

    #[test]
    fn a_disk_counter_that_fell_or_is_new_is_absent_alone() {
        for before in [with_disk(1.0, 4096, 0), sample(1.0, 0.0, 0, 0, 0.0)] {
            let rates = between(&before, &with_disk(2.0, 0, 4096)).unwrap();
            assert_eq!((rates.usage.disk, rates.usage.cpu), (None, Some(Cores::ZERO)));
        }
    }

    #[test]
    fn what_resctrl_does_not_measure_is_absent_with_the_reason() {
        let reading = |value: Result<u64, &str>| -> resctrl::monitor::Readings {
            Ok([(0, value.map_err(str::to_owned))].into())
        };
        let with_caches = |seconds: f64, local: Result<u64, &str>| {
            let caches = resctrl::Counters {
                occupancy: Err("not measured".to_owned()),
                total: reading(Ok(1000)),
                local: reading(local),
            };
            let sample = sample(seconds, 0.0, 0, 0, 0.0);
            Sample { counters: Counters { caches: Some(caches), ..sample.counters }, ..sample }
        };
        let rates = between(&with_caches(1.0, Ok(100)), &with_caches(3.0, Ok(300))).unwrap();
        let per_second = |rate| Some(BytesPerSecond::new(rate).unwrap());
        let usage = rates.usage;
        assert_eq!(
            (usage.memory_bandwidth, usage.memory_bandwidth_local),
            (per_second(0.0), per_second(100.0))
        );
        assert_eq!((usage.llc, rates.unmeasured.llc.as_deref()), (None, Some("not measured")));
        assert_eq!(rates.unmeasured.memory_bandwidth, None);
        let rates = between(&with_caches(1.0, Ok(100)), &with_caches(3.0, Err("Unavailable"))).unwrap();
        assert_eq!(rates.usage.memory_bandwidth_local, None);
        assert_eq!(rates.unmeasured.memory_bandwidth.as_deref(), Some("Unavailable"));
    }

    #[test]
    fn a_rate_is_the_growth_over_the_time() {
        let rates = between(&sample(10.0, 3.0, 50, 5, 1.0), &sample(12.0, 4.0, 70, 15, 1.5)).unwrap();
        assert_eq!(rates.usage.cpu, Some(Cores::new(0.5).unwrap()));
        let throttling = rates.throttling.unwrap();
        assert_eq!(throttling.throttled_share, 0.5);
        assert_eq!(throttling.throttled_seconds_per_second, 0.25);
    }

    #[test]
    fn without_the_cpus_counters_the_others_are_known() {
        let mut after = with_disk(2.0, 4096, 0);
        after.counters.cpu = None;
        let rates = between(&with_disk(1.0, 0, 0), &after).unwrap();
        assert_eq!((rates.usage.cpu, rates.throttling), (None, None));
        assert!(rates.usage.disk.is_some());
    }

    #[test]
    fn an_idle_container_uses_zero_and_is_not_throttled() {
        let rates = between(&sample(1.0, 3.0, 5, 5, 1.0), &sample(2.0, 3.0, 5, 5, 1.0)).unwrap();
        assert_eq!(rates.usage.cpu, Some(Cores::ZERO));
        assert_eq!(rates.throttling, Some(Throttling::default()));
    }

    #[test]
    fn a_counter_that_fell_or_a_clock_that_stood_still_gives_nothing() {
        let before = sample(1.0, 3.0, 5, 5, 1.0);
        for after in [
            sample(2.0, 2.9, 5, 5, 1.0),
            sample(2.0, 3.0, 4, 4, 1.0),
            sample(2.0, 3.0, 5, 5, 0.9),
            sample(1.0, 4.0, 6, 6, 2.0),
            sample(0.5, 4.0, 6, 6, 2.0),
        ] {
            assert_eq!(between(&before, &after), None, "{after:?}");
        }
    }

    #[test]
    fn a_history_keeps_two() {
        let mut history = History::default();
        history.push(sample(1.0, 0.0, 0, 0, 0.0));
        assert!(history.rates().is_none());
        history.push(sample(2.0, 1.0, 0, 0, 0.0));
        history.push(sample(3.0, 1.5, 0, 0, 0.0));
        assert_eq!(history.rates().unwrap().usage.cpu, Some(Cores::new(0.5).unwrap()));
    }
}
