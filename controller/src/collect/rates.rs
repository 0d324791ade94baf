//! Two samples of the same counters to rates.
//!
//! Pure. Must not know where samples come from. What cannot be told is absent, never zero.

use std::time::Duration;

use ballast_api::{ContainerId, Cores, Limit, UnixNanos, counters::CounterSample};
use serde::{Deserialize, Serialize};

/// How one container used its CPU over an interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRates {
    /// Whose.
    pub container: ContainerId,
    /// CPU time per wall-clock time.
    pub cpu_usage: Option<Cores>,
    /// Share of the CFS periods in which it was throttled, in [0, 1]; 0 when it was counted that no period passed (the
    /// kernel counts none while a container is idle), absent when periods are not counted.
    pub throttled_share: Option<f64>,
    /// Seconds of throttling, summed over CPUs, per second of wall-clock time.
    pub throttled_seconds_per_second: Option<f64>,
    /// The limit in force at the end. cAdvisor does not tell "none" from "not known": from it, both are absent.
    pub cpu_limit: Option<Limit<Cores>>,
    /// Between the two samples; absent when the source answers rates and does not say over which time.
    pub interval: Option<Duration>,
    /// When the second sample was taken.
    pub taken_at: UnixNanos,
}

/// Why two samples make no rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRates {
    /// They are of different containers.
    #[error("the samples are of different containers")]
    DifferentContainers,
    /// They are the same: cAdvisor repeats its last sample until it takes another.
    #[error("both samples were taken at the same time")]
    SameSample,
    /// The second is the older one: the source's clock was set back.
    #[error("the second sample is older than the first")]
    ClockRanBack,
    /// A counter fell: the container was started anew in between, so no counter can be compared.
    #[error("the container was restarted between the samples")]
    Restarted,
}

/// The rates from `before` to `after`: growth over elapsed time. A counter that either sample lacks gives no rate.
///
/// # Errors
/// [`NoRates`] when nothing can be told.
pub fn rates(before: &CounterSample, after: &CounterSample) -> Result<ContainerRates, NoRates> {
    if before.container != after.container {
        return Err(NoRates::DifferentContainers);
    }
    let interval = match after.taken_at.0.checked_sub(before.taken_at.0) {
        None => return Err(NoRates::ClockRanBack),
        Some(0) => return Err(NoRates::SameSample),
        Some(nanos) => Duration::from_nanos(nanos),
    };
    let per_second = |growth: f64| growth / interval.as_secs_f64();
    let cpu_seconds = growth(before.cpu_usage_seconds, after.cpu_usage_seconds)?;
    let periods = growth(before.cfs_periods, after.cfs_periods)?;
    let throttled_periods = growth(before.cfs_throttled_periods, after.cfs_throttled_periods)?;
    let throttled_seconds = growth(before.cfs_throttled_seconds, after.cfs_throttled_seconds)?;
    Ok(ContainerRates {
        container: after.container.clone(),
        cpu_usage: cpu_seconds.and_then(|seconds| Cores::new(per_second(seconds)).ok()),
        throttled_share: periods.zip(throttled_periods).and_then(|(all, throttled)| share(throttled, all)),
        throttled_seconds_per_second: throttled_seconds.map(per_second).filter(|rate| rate.is_finite()),
        cpu_limit: after.cpu_limit_cores.and_then(|cores| Cores::new(cores).ok()).map(Limit::At),
        interval: Some(interval),
        taken_at: after.taken_at,
    })
}

fn growth(before: Option<f64>, after: Option<f64>) -> Result<Option<f64>, NoRates> {
    let counted = |value: &f64| value.is_finite() && *value >= 0.0;
    match before.filter(counted).zip(after.filter(counted)) {
        None => Ok(None),
        Some((before, after)) if after < before => Err(NoRates::Restarted),
        Some((before, after)) => Ok(Some(after - before)),
    }
}

/// Throttled without a period is a contradiction, so absent; more throttled periods than periods is a count read while
/// it was written.
fn share(throttled: f64, all: f64) -> Option<f64> {
    if all > 0.0 { Some((throttled / all).min(1.0)) } else { (throttled == 0.0).then_some(0.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(at_ms: u64, cpu: f64, periods: f64, throttled: f64, seconds: f64) -> CounterSample {
        CounterSample {
            container: "n1/geo".parse().unwrap(),
            taken_at: UnixNanos(at_ms * 1_000_000),
            cpu_usage_seconds: Some(cpu),
            cfs_periods: Some(periods),
            cfs_throttled_periods: Some(throttled),
            cfs_throttled_seconds: Some(seconds),
            cpu_limit_cores: Some(0.5),
            memory_working_set_bytes: None,
        }
    }

    #[test]
    fn growth_over_time() {
        let told =
            rates(&sample(1000, 10.0, 100.0, 5.0, 1.0), &sample(3000, 11.0, 120.0, 10.0, 2.5)).unwrap();
        assert_eq!(told.cpu_usage, Some(Cores::new(0.5).unwrap()));
        assert_eq!(told.throttled_share, Some(0.25));
        assert_eq!(told.throttled_seconds_per_second, Some(0.75));
        assert_eq!(told.cpu_limit, Some(Limit::At(Cores::new(0.5).unwrap())));
        assert_eq!(told.interval, Some(Duration::from_secs(2)));
        assert_eq!(told.taken_at, UnixNanos(3_000_000_000));
    }

    #[test]
    fn no_rates_from_what_cannot_be_compared() {
        let one = sample(1000, 10.0, 100.0, 5.0, 1.0);
        assert_eq!(rates(&one, &one), Err(NoRates::SameSample));
        assert_eq!(rates(&one, &sample(999, 10.0, 100.0, 5.0, 1.0)), Err(NoRates::ClockRanBack));
        assert_eq!(rates(&one, &sample(2000, 0.1, 200.0, 5.0, 1.0)), Err(NoRates::Restarted));
        assert_eq!(rates(&one, &sample(2000, 11.0, 3.0, 5.0, 1.0)), Err(NoRates::Restarted));
        let other =
            CounterSample { container: "n2/geo".parse().unwrap(), ..sample(2000, 11.0, 110.0, 5.0, 1.0) };
        assert_eq!(rates(&one, &other), Err(NoRates::DifferentContainers));
    }

    #[test]
    fn a_counter_that_is_missing_leaves_the_others() {
        let mut before = sample(1000, 10.0, 100.0, 5.0, 1.0);
        before.cfs_periods = None;
        let mut after = sample(2000, 11.0, 110.0, 5.0, 1.0);
        after.cfs_throttled_seconds = None;
        after.cpu_limit_cores = None;
        let told = rates(&before, &after).unwrap();
        assert_eq!(
            (told.throttled_share, told.throttled_seconds_per_second, told.cpu_limit),
            (None, None, None)
        );
        assert_eq!(told.cpu_usage, Some(Cores::new(1.0).unwrap()));
    }

    #[test]
    fn idle_is_zero_because_it_was_counted() {
        let told = rates(&sample(1000, 10.0, 100.0, 5.0, 1.0), &sample(2000, 10.0, 100.0, 5.0, 1.0)).unwrap();
        assert_eq!((told.cpu_usage, told.throttled_share), (Some(Cores::ZERO), Some(0.0)));
        let contradiction = rates(&sample(1, 1.0, 1.0, 0.0, 0.0), &sample(2, 1.0, 1.0, 1.0, 0.0)).unwrap();
        assert_eq!(contradiction.throttled_share, None);
    }

    fn counter() -> impl Strategy<Value = Option<f64>> {
        prop_oneof![Just(None), proptest::num::f64::ANY.prop_map(Some), (0.0..1e6).prop_map(Some)]
    }

    prop_compose! {
        fn any_sample()(at in 0..4_u64, counters in prop::array::uniform5(counter())) -> CounterSample {
            let [cpu, periods, throttled, seconds, limit] = counters;
            CounterSample {
                container: "n1/geo".parse().unwrap(),
                taken_at: UnixNanos(at),
                cpu_usage_seconds: cpu,
                cfs_periods: periods,
                cfs_throttled_periods: throttled,
                cfs_throttled_seconds: seconds,
                cpu_limit_cores: limit,
                memory_working_set_bytes: None,
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_was_counted_rates_are_amounts_or_absent(before in any_sample(), after in any_sample()) {
            match rates(&before, &after) {
                Ok(told) => {
                    prop_assert!(before.taken_at < after.taken_at);
                    prop_assert!(told.throttled_share.is_none_or(|share| (0.0..=1.0).contains(&share)));
                    prop_assert!(told.throttled_seconds_per_second.is_none_or(|rate| rate.is_finite() && rate >= 0.0));
                    let known = before.cpu_usage_seconds.is_some() && after.cpu_usage_seconds.is_some();
                    prop_assert!(known || told.cpu_usage.is_none());
                }
                Err(NoRates::SameSample) => prop_assert_eq!(before.taken_at, after.taken_at),
                Err(NoRates::ClockRanBack) => prop_assert!(before.taken_at > after.taken_at),
                Err(NoRates::Restarted) => prop_assert!(before.taken_at < after.taken_at),
                Err(NoRates::DifferentContainers) => prop_assert!(false, "they are the same"),
            }
        }

        #[test]
        fn rate_times_interval_is_growth(cpu in 0.0..1e6_f64, grown in 0.0..1e3_f64, ms in 1..100_000_u64) {
            let told = rates(&sample(1, cpu, 0.0, 0.0, 0.0), &sample(1 + ms, cpu + grown, 0.0, 0.0, 0.0)).unwrap();
            let back = told.cpu_usage.unwrap().get() * told.interval.unwrap().as_secs_f64();
            prop_assert!((back - grown).abs() < 1e-6, "{} is not {}", back, grown);
        }

        #[test]
        fn a_restart_never_makes_a_rate(cpu in 1.0..1e6_f64, share in 0.0..0.999_f64, ms in 1..100_000_u64) {
            let after = sample(1 + ms, cpu * share, 0.0, 0.0, 0.0);
            prop_assert_eq!(rates(&sample(1, cpu, 0.0, 0.0, 0.0), &after), Err(NoRates::Restarted));
        }
    }
}
