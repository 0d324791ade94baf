//! What the requests of the window and the counters say of each container.
//!
//! A feature that cannot be told (under [`MIN_SAMPLES`], no variance, no such counter) is absent, never zero. Must not
//! judge.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    healthy::{HealthyProfile, nanos},
    path_times::PathTimes,
};
use crate::traces::percentile;

/// Requests, or latencies, under which nothing is said.
pub const MIN_SAMPLES: usize = 20;

/// What the counters say of a container, over the last interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ContainerMetrics {
    /// CPU usage over its limit; absent without a limit.
    pub cpu_utilisation: Option<f64>,
    /// Share of the CFS periods in which it was throttled, in [0, 1].
    pub throttled_share: Option<f64>,
}

/// The evidence on one container.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerFeatures {
    /// RI: Pearson correlation of its time on the path with the path's total, over the requests of the window, both less
    /// the mean of their request type (else long and short types correlate with whoever serves them). In [-1, 1].
    pub relative_importance: Option<f64>,
    /// CI: p99 / p50 of the latencies of its answers. At least 1.
    pub congestion_intensity: Option<f64>,
    /// CPU usage over its limit.
    pub cpu_utilisation: Option<f64>,
    /// CPU utilisation less its healthy mean.
    pub cpu_growth: Option<f64>,
    /// Share of the CFS periods in which it was throttled, in [0, 1].
    pub throttled_share: Option<f64>,
    /// Growth of its mean time on the path over the healthy mean of the same request types, as a multiple of the healthy
    /// mean duration of these requests: 0.5 means that it alone makes requests half as long again.
    pub path_growth: Option<f64>,
    /// Its share of the growth of all containers that grew, in [0, 1].
    pub growth_share: Option<f64>,
}

/// The names of the numbers of [`ContainerFeatures::to_vector`], in order.
pub const FEATURE_NAMES: [&str; 7] = [
    "relative_importance",
    "ln_congestion_intensity",
    "cpu_utilisation",
    "cpu_growth",
    "throttled_share",
    "asinh_path_growth",
    "growth_share",
];

impl ContainerFeatures {
    /// The features as numbers to learn from, NaN where absent. Ratios without an upper bound go through a logarithm.
    #[must_use]
    pub fn to_vector(&self) -> [f64; FEATURE_NAMES.len()] {
        [
            self.relative_importance,
            self.congestion_intensity.map(f64::ln),
            self.cpu_utilisation,
            self.cpu_growth,
            self.throttled_share,
            self.path_growth.map(f64::asinh),
            self.growth_share,
        ]
        .map(|feature| feature.unwrap_or(f64::NAN))
    }
}

/// The features of every container that appears in the requests, in the metrics, or on a path in healthy times.
#[must_use]
pub fn features(
    requests: &[PathTimes],
    metrics: &BTreeMap<Arc<str>, ContainerMetrics>,
    healthy: &HealthyProfile,
) -> BTreeMap<Arc<str>, ContainerFeatures> {
    let latencies = latencies(requests);
    let growth = growth(requests, healthy);
    let importance = RelativeImportance::of(requests);
    let mut containers: BTreeSet<&Arc<str>> =
        requests.iter().flat_map(|request| request.path_nanos.keys()).collect();
    containers.extend(latencies.keys());
    containers.extend(metrics.keys());
    containers.extend(growth.iter().flat_map(|growth| growth.relative.keys()));
    let of = |container: &Arc<str>| {
        let metrics = metrics.get(container).copied().unwrap_or_default();
        let cpu_utilisation = metrics.cpu_utilisation.filter(|value| value.is_finite());
        ContainerFeatures {
            relative_importance: importance.of_container(container),
            congestion_intensity: latencies.get(container).and_then(|values| congestion_intensity(values)),
            cpu_utilisation,
            cpu_growth: cpu_utilisation.zip(healthy.cpu_utilisation(container)).map(|(now, then)| now - then),
            throttled_share: metrics.throttled_share.filter(|value| value.is_finite()),
            path_growth: growth.as_ref().map(|growth| growth.of_container(container)),
            growth_share: growth.as_ref().and_then(|growth| growth.share_of(container)),
        }
    };
    containers.into_iter().map(|container| (container.clone(), of(container))).collect()
}

/// All latencies of each container, sorted.
fn latencies(requests: &[PathTimes]) -> BTreeMap<Arc<str>, Vec<u64>> {
    let mut latencies: BTreeMap<Arc<str>, Vec<u64>> = BTreeMap::new();
    for (container, nanos) in requests.iter().flat_map(|request| &request.latencies) {
        latencies.entry(container.clone()).or_default().push(*nanos);
    }
    latencies.values_mut().for_each(|values| values.sort_unstable());
    latencies
}

fn congestion_intensity(sorted: &[u64]) -> Option<f64> {
    let (p50, p99) = (percentile(sorted, 50.0)?, percentile(sorted, 99.0)?);
    (sorted.len() >= MIN_SAMPLES && p50 > 0).then(|| nanos(p99) / nanos(p50))
}

/// Durations of requests, less the mean of their type, to correlate with.
struct RelativeImportance<'a> {
    requests: &'a [PathTimes],
    /// The type of each request, numbered.
    types: Vec<usize>,
    totals: Vec<f64>,
}

impl<'a> RelativeImportance<'a> {
    fn of(requests: &'a [PathTimes]) -> Self {
        let mut numbers = BTreeMap::new();
        let mut number = |request: &'a PathTimes| {
            let next = numbers.len();
            *numbers.entry(&request.request).or_insert(next)
        };
        let types: Vec<usize> = requests.iter().map(&mut number).collect();
        let totals = requests.iter().map(|request| nanos(request.total_nanos)).collect();
        let totals = less_mean_of_type(totals, &types);
        Self { requests, types, totals }
    }

    fn of_container(&self, container: &Arc<str>) -> Option<f64> {
        if self.requests.len() < MIN_SAMPLES {
            return None;
        }
        let times = |request: &PathTimes| request.path_nanos.get(container).copied().map_or(0.0, nanos);
        let times = less_mean_of_type(self.requests.iter().map(times).collect(), &self.types);
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (own, all) = (product(&times, &times), product(&self.totals, &self.totals));
        // Less than a nanosecond of deviation is rounding.
        let least = nanos(self.requests.len() as u64);
        (own >= least && all >= least)
            .then(|| (product(&times, &self.totals) / (own.sqrt() * all.sqrt())).clamp(-1.0, 1.0))
    }
}

fn less_mean_of_type(mut values: Vec<f64>, types: &[usize]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); types.iter().max().map_or(0, |most| most + 1)];
    for (value, kind) in values.iter().zip(types) {
        sums[*kind].0 += value;
        sums[*kind].1 += 1.0;
    }
    for (value, kind) in values.iter_mut().zip(types) {
        *value -= sums[*kind].0 / sums[*kind].1;
    }
    values
}

/// How much longer containers are on the path than in healthy times.
struct Growth {
    /// As multiples of the healthy mean duration.
    relative: BTreeMap<Arc<str>, f64>,
    /// Of those that grew.
    sum: f64,
}

/// Compares each request with the healthy mean of its own type; types without one are passed over.
fn growth(requests: &[PathTimes], healthy: &HealthyProfile) -> Option<Growth> {
    let (mut compared, mut healthy_total) = (0, 0.0);
    let mut grown: BTreeMap<Arc<str>, f64> = BTreeMap::new();
    for request in requests {
        let Some(usual) = healthy.request(&request.request, MIN_SAMPLES) else { continue };
        compared += 1;
        healthy_total += usual.total_nanos();
        for (container, now) in &request.path_nanos {
            *grown.entry(container.clone()).or_default() += nanos(*now);
        }
        for (container, then) in usual.path_nanos() {
            *grown.entry(container.clone()).or_default() -= then;
        }
    }
    if compared < MIN_SAMPLES || healthy_total <= 0.0 {
        return None;
    }
    grown.values_mut().for_each(|growth| *growth /= healthy_total);
    let sum = grown.values().filter(|growth| **growth > 0.0).sum();
    Some(Growth { relative: grown, sum })
}

impl Growth {
    fn of_container(&self, container: &Arc<str>) -> f64 {
        self.relative.get(container).copied().unwrap_or(0.0)
    }

    fn share_of(&self, container: &Arc<str>) -> Option<f64> {
        (self.sum > 0.0).then(|| self.of_container(container).max(0.0) / self.sum)
    }
}

#[cfg(test)]
mod tests;
