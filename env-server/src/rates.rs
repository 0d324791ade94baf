//! From counters to rates: what a container used between two samples.
//!
//! Pure. Raw samples and rates are different types; must not know who samples, nor how often.

use std::time::Duration;

use ballast_api::{Amounts, Cores, Throttling, UnixNanos};
use ballast_kernel::CpuCounters;

/// Counters, and when they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub taken_at: UnixNanos,
    /// What.
    pub counters: CpuCounters,
}

/// What happened between two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// CPU time per wall-clock time; the other resources are not measured.
    pub usage: Amounts,
    /// How much the quota held the container back.
    pub throttling: Throttling,
}

/// The rates between two samples. Absent when no time passed, or when a counter fell: it began anew, and nothing is
/// known about the time before.
#[must_use]
pub fn between(before: &Sample, after: &Sample) -> Option<Rates> {
    let elapsed = after.taken_at.since(before.taken_at);
    let (old, new) = (before.counters, after.counters);
    let used = new.usage.checked_sub(old.usage)?;
    let throttled = new.throttled.checked_sub(old.throttled)?;
    let periods = new.periods.checked_sub(old.periods)?;
    let throttled_periods = new.throttled_periods.checked_sub(old.throttled_periods)?;
    (elapsed > Duration::ZERO).then(|| Rates {
        usage: Amounts { cpu: Some(Cores::saturating(per(used, elapsed))), ..Amounts::default() },
        throttling: Throttling {
            throttled_share: share(throttled_periods, periods),
            throttled_seconds_per_second: per(throttled, elapsed),
        },
    })
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
#[derive(Debug, Clone, Copy, Default)]
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
            taken_at: UnixNanos(0).plus(Duration::from_secs_f64(seconds)),
            counters: CpuCounters {
                usage: Duration::from_secs_f64(usage),
                periods,
                throttled_periods,
                throttled: Duration::from_secs_f64(throttled),
            },
        }
    }

    #[test]
    fn a_rate_is_the_growth_over_the_time() {
        let rates = between(&sample(10.0, 3.0, 50, 5, 1.0), &sample(12.0, 4.0, 70, 15, 1.5)).unwrap();
        assert_eq!(rates.usage.cpu, Some(Cores::new(0.5).unwrap()));
        assert_eq!(rates.throttling.throttled_share, 0.5);
        assert_eq!(rates.throttling.throttled_seconds_per_second, 0.25);
    }

    #[test]
    fn an_idle_container_uses_zero_and_is_not_throttled() {
        let rates = between(&sample(1.0, 3.0, 5, 5, 1.0), &sample(2.0, 3.0, 5, 5, 1.0)).unwrap();
        assert_eq!(rates.usage.cpu, Some(Cores::ZERO));
        assert_eq!(rates.throttling, Throttling::default());
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
