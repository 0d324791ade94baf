//! What a simulation is told, its fixed constants with their reasons, and what it refuses.
//!
//! Must not know how a request is executed.

use std::time::Duration;

use ballast_api::{NodeName, UnixNanos};

/// The CFS enforcement period: the kernel's default, and what Docker and Kubernetes write.
pub const PERIOD: Duration = Duration::from_millis(100);

/// The smallest quota that the kernel accepts for one period, in microseconds: 0.01 core.
pub const MIN_QUOTA_US: u64 = 1_000;

/// The largest quota that the kernel accepts, in microseconds (`max_cfs_runtime`: 44 bits).
pub const MAX_QUOTA_US: u64 = (1 << 44) - 1;

/// How often the node samples its containers' counters, as an env-server does.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// CPU time of one multi-get at a memcached: receiving, parsing and sending, in microseconds.
pub const FETCH_US: f64 = 30.0;

/// CPU time of one key of a multi-get, in microseconds.
pub const FETCH_KEY_US: f64 = 2.0;

/// Threads of a memcached: `DeathStarBench` starts each with two.
pub const STORE_WORKERS: usize = 2;

/// Spread of the network delay: the standard deviation of its logarithm.
pub const HOP_DELAY_SIGMA: f64 = 0.3;

/// Calls and fetches that one request may cause: a graph that fans out further is refused, for its memory.
pub const MAX_CALLS_PER_REQUEST: u64 = 10_000;

/// The highest arrival rate accepted, in requests per second.
pub const MAX_REQUESTS_PER_SECOND: f64 = 1e6;

/// What is simulated besides the topology.
#[derive(Debug, Clone, PartialEq)]
pub struct SimConfig {
    /// All that is random follows from it.
    pub seed: u64,
    /// Name of the one node that holds all containers.
    pub node: NodeName,
    /// Cores of the node.
    pub node_cores: f64,
    /// Median of the one-way delay between two containers (lognormal, [`HOP_DELAY_SIGMA`]); zero for none.
    pub hop_delay: Duration,
    /// Poisson arrivals from the beginning; [`crate::Simulation::set_arrival_rate`] changes it.
    pub requests_per_second: f64,
    /// Requests that may be in the cluster at once: further arrivals are dropped and counted. It bounds the memory.
    pub max_in_flight: usize,
    /// The time of day at which the simulation begins.
    pub start: UnixNanos,
}

impl Default for SimConfig {
    /// The machine of the testbed: two cores, 30 requests/s.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the literal keeps the rules for names")]
        let node = NodeName::new("sim").expect("a valid name");
        Self {
            seed: 0,
            node,
            node_cores: 2.0,
            hop_delay: Duration::from_micros(100),
            requests_per_second: 30.0,
            max_in_flight: 4096,
            // 2026-01-01 00:00 UTC: any fixed time does.
            start: UnixNanos(1_767_225_600_000_000_000),
        }
    }
}

/// Why a simulation does not do what was asked. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimError {
    /// The configuration makes no sense; every problem is named.
    #[error("the simulation is not valid: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// An arrival rate that cannot be.
    #[error("{0} requests/s is no arrival rate: it must be in [0, {MAX_REQUESTS_PER_SECOND}]")]
    ArrivalRate(f64),
    /// No container of that name.
    #[error("the simulation has no container named {0:?}")]
    UnknownContainer(String),
    /// An injection that cannot be.
    #[error("the injection is not valid: {0}")]
    Injection(String),
}

impl SimConfig {
    /// Everything that is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let Self { node_cores, requests_per_second, max_in_flight, .. } = self;
        if !(node_cores.is_finite() && *node_cores >= 0.01) {
            problems.push(format!("node_cores must be at least 0.01, not {node_cores}"));
        }
        if !is_arrival_rate(*requests_per_second) {
            problems.push(SimError::ArrivalRate(*requests_per_second).to_string());
        }
        if *max_in_flight == 0 {
            problems.push("max_in_flight must be at least 1".to_owned());
        }
        problems
    }
}

pub(crate) fn is_arrival_rate(per_second: f64) -> bool {
    (0.0..=MAX_REQUESTS_PER_SECOND).contains(&per_second)
}

/// A limit in cores as an env-server writes it: the nearest whole microseconds of quota for one period. `None` when the
/// kernel would refuse it.
pub(crate) fn quota_us(cores: f64) -> Option<u64> {
    let us = crate::time::floor_u64((cores * PERIOD.as_secs_f64() * 1e6).round());
    (MIN_QUOTA_US..=MAX_QUOTA_US).contains(&us).then_some(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_rounded_to_microseconds() {
        let known = [(0.29, 29_000), (0.2, 20_000), (0.123_456_7, 12_346), (1.0, 100_000), (0.01, 1_000)];
        for (cores, us) in known {
            assert_eq!(quota_us(cores), Some(us), "{cores}");
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_no_quota() {
        for cores in [0.0, 0.009_99, 1e9, f64::MAX] {
            assert_eq!(quota_us(cores), None, "{cores}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let config = SimConfig {
            node_cores: f64::NAN,
            requests_per_second: -1.0,
            max_in_flight: 0,
            ..SimConfig::default()
        };
        assert_eq!(config.problems().len(), 3);
        assert!(SimConfig::default().problems().is_empty());
    }
}
