//! The state of one container as the learner sees it (FIRM, table 3), every number scaled to about [-1, 1].

use std::collections::BTreeMap;

use ballast_api::{Amounts, Limits, PerResource, ReadWrite};
use serde::{Deserialize, Serialize};

/// The numbers of a state vector, in order.
pub const STATE_NAMES: [&str; 8] = [
    "cpu_utilisation",
    "llc_utilisation",
    "memory_bandwidth_utilisation",
    "disk_utilisation",
    "network_utilisation",
    "slo_maintenance",
    "workload_change",
    "request_composition",
];

/// What is known of one container at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Usage over limit, of the resources that are there.
    pub utilisation: PerResource<f64>,
    /// `SM`: target over current latency of the worst objective; at most 1, and 1 without traffic.
    pub slo_maintenance: f64,
    /// `WC`: arrival rate now over the rate one step before; 1 when there was none.
    pub workload_change: f64,
    /// `RC`: the request mix as one number in [0, 1].
    pub request_composition: f64,
}

impl Observation {
    /// The learner's input: [`STATE_NAMES`], shape (8). A resource that is absent is 0, the middle of its range.
    #[must_use]
    pub fn to_vector(&self) -> Vec<f32> {
        let mut vector: Vec<f32> = ballast_api::Resource::ALL
            .iter()
            .map(|resource| self.utilisation.get(*resource).map_or(0.0, |share| centred(*share)))
            .collect();
        vector.push(centred(self.slo_maintenance));
        // A doubled rate and more is 1, an unchanged one 0, silence -1.
        vector.push(centred(self.workload_change / 2.0));
        vector.push(centred(self.request_composition));
        vector
    }
}

/// [0, 1] onto [-1, 1]; what is undefined becomes the middle.
#[expect(clippy::cast_possible_truncation, reason = "the networks compute in f32")]
fn centred(share: f64) -> f32 {
    if share.is_nan() { 0.0 } else { (2.0 * share.clamp(0.0, 1.0) - 1.0) as f32 }
}

/// Usage over limit. Where the limit is the whole node, over its capacity; absent where either is not known. The busier
/// direction counts for disk and network.
#[must_use]
pub fn utilisation(usage: &Amounts, limits: &Limits, capacity: &Amounts) -> PerResource<f64> {
    let busier =
        |used: ReadWrite<f64>, limit: ReadWrite<f64>| (used.read / limit.read).max(used.write / limit.write);
    PerResource {
        cpu: share(usage.cpu, limits.cpu, capacity.cpu),
        llc: share(usage.llc, limits.llc, capacity.llc),
        memory_bandwidth: share(usage.memory_bandwidth, limits.memory_bandwidth, capacity.memory_bandwidth),
        disk: usage.disk.zip(limits.disk).zip(capacity.disk).map(|((used, limit), capacity)| {
            let limit = ReadWrite {
                read: limit.read.or(capacity.read).get(),
                write: limit.write.or(capacity.write).get(),
            };
            busier(ReadWrite { read: used.read.get(), write: used.write.get() }, limit)
        }),
        network: usage.network.zip(limits.network).zip(capacity.network).map(|((used, limit), capacity)| {
            let limit = ReadWrite {
                read: limit.ingress.or(capacity.ingress).get(),
                write: limit.egress.or(capacity.egress).get(),
            };
            busier(ReadWrite { read: used.ingress.get(), write: used.egress.get() }, limit)
        }),
    }
}

fn share<U: Copy + Into<f64>>(
    usage: Option<U>,
    limit: Option<ballast_api::Limit<U>>,
    capacity: Option<U>,
) -> Option<f64> {
    let limit: f64 = match limit? {
        ballast_api::Limit::Max => capacity?,
        ballast_api::Limit::At(amount) => amount,
    }
    .into();
    let usage: f64 = usage?.into();
    (limit > 0.0).then_some(usage / limit)
}

/// What a limit may be, and how the learner's actions map onto it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// The smallest limit, in cores.
    pub min_cores: f64,
    /// The largest limit, in cores.
    pub max_cores: f64,
}

/// The smallest limit, as a share of the baseline.
const SMALLEST_OF_BASELINE: f64 = 0.5;
/// The largest limit, as a multiple of the baseline.
const LARGEST_OF_BASELINE: f64 = 4.0;

impl Bounds {
    /// Half to four times the baseline, within the node's capacity (all in cores): what a learner finds out about one
    /// container then fits a container of another size.
    #[must_use]
    pub fn around(baseline: f64, capacity: f64) -> Self {
        let max_cores = (LARGEST_OF_BASELINE * baseline).min(capacity);
        Self { min_cores: (SMALLEST_OF_BASELINE * baseline).min(max_cores), max_cores }
    }

    /// An action in [-1, 1] onto [min, max], linearly; what lies outside is clamped.
    #[must_use]
    pub fn from_action(&self, action: f64) -> f64 {
        self.min_cores + (action.clamp(-1.0, 1.0) + 1.0) / 2.0 * (self.max_cores - self.min_cores)
    }
}

/// How often each request type was seen.
#[derive(Debug, Clone, Default)]
pub struct RequestMix {
    counts: BTreeMap<String, u64>,
}

/// Steps in which a type's share is told apart: tenths.
const MIX_LEVELS: f64 = 10.0;

impl RequestMix {
    /// Counts one request.
    pub fn count(&mut self, request: &str) {
        match self.counts.get_mut(request) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(request.to_owned(), 1)),
        }
    }

    /// The shares, in tenths and in the order of the types' names, as the digits of one number, scaled to [0, 1]. The
    /// type first in that order weighs most. 0 without requests.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a window of seconds")]
    pub fn as_number(&self) -> f64 {
        let total: u64 = self.counts.values().sum();
        if total == 0 {
            return 0.0;
        }
        let radix = MIX_LEVELS + 1.0;
        let mut place = 1.0;
        let mut number = 0.0;
        for count in self.counts.values() {
            place /= radix;
            number += (*count as f64 / total as f64 * MIX_LEVELS).round() * place;
        }
        // All digits at their largest sum to just under 1.
        number
    }
}

#[cfg(test)]
mod tests {
    use ballast_api::{Cores, Limit};

    use super::*;

    fn cores(value: f64) -> Cores {
        Cores::new(value).unwrap()
    }

    #[test]
    fn utilisation_is_over_the_limit_or_the_capacity() {
        let usage = Amounts { cpu: Some(cores(0.5)), ..Amounts::default() };
        let capacity = Amounts { cpu: Some(cores(2.0)), ..Amounts::default() };
        let limited = Limits::of_cpu(Limit::At(cores(1.0)));
        assert_eq!(utilisation(&usage, &limited, &capacity).cpu, Some(0.5));
        assert_eq!(utilisation(&usage, &Limits::of_cpu(Limit::Max), &capacity).cpu, Some(0.25));
        assert_eq!(utilisation(&usage, &Limits::default(), &capacity).cpu, None);
    }

    #[test]
    fn the_vector_is_named_and_scaled() {
        let observation = Observation {
            utilisation: PerResource { cpu: Some(1.0), ..PerResource::default() },
            slo_maintenance: 0.5,
            workload_change: 1.0,
            request_composition: 0.0,
        };
        let vector = observation.to_vector();
        assert_eq!(vector.len(), STATE_NAMES.len());
        assert_eq!(vector, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
    }

    #[test]
    fn undefined_numbers_never_reach_the_network() {
        let observation = Observation {
            utilisation: PerResource { cpu: Some(f64::NAN), ..PerResource::default() },
            slo_maintenance: f64::NAN,
            workload_change: f64::INFINITY,
            request_composition: -3.0,
        };
        assert!(observation.to_vector().iter().all(|value| (-1.0..=1.0).contains(value)));
    }

    #[test]
    fn actions_span_the_bounds() {
        let bounds = Bounds { min_cores: 0.1, max_cores: 1.1 };
        assert_eq!([-1.0, 0.0, 1.0, 9.0].map(|action| bounds.from_action(action)), [0.1, 0.6, 1.1, 1.1]);
    }

    #[test]
    fn bounds_lie_around_the_baseline_and_within_the_node() {
        assert_eq!(Bounds::around(0.2, 2.0), Bounds { min_cores: 0.1, max_cores: 0.8 });
        assert_eq!(Bounds::around(2.0, 2.0), Bounds { min_cores: 1.0, max_cores: 2.0 });
    }

    #[test]
    fn the_mix_tells_mixes_apart_and_not_volumes() {
        let mix = |counts: &[(&str, u32)]| {
            let mut mix = RequestMix::default();
            counts.iter().for_each(|(name, count)| (0..*count).for_each(|_| mix.count(name)));
            mix.as_number()
        };
        assert_eq!(mix(&[("a", 6), ("b", 4)]), mix(&[("a", 60), ("b", 40)]));
        assert!(mix(&[("a", 6), ("b", 4)]) > mix(&[("a", 4), ("b", 6)]));
        assert!((0.0..1.0).contains(&mix(&[("a", 1)])));
        assert_eq!(mix(&[]), 0.0);
    }
}
