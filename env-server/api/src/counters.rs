//! Raw counters of a container, as the kernel and cAdvisor count: they only grow, until the container restarts.
//!
//! Rates are another type, made from two of these.

use serde::{Deserialize, Serialize};

use crate::{clock::UnixNanos, names::ContainerId};

/// One sample of one container. A counter that the source does not offer is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CounterSample {
    /// Whose.
    pub container: ContainerId,
    /// When the source read them.
    pub taken_at: UnixNanos,
    /// CPU time used, in seconds.
    pub cpu_usage_seconds: Option<f64>,
    /// CFS enforcement periods passed.
    pub cfs_periods: Option<f64>,
    /// Periods in which the container was throttled.
    pub cfs_throttled_periods: Option<f64>,
    /// Time throttled, in seconds, summed over CPUs.
    pub cfs_throttled_seconds: Option<f64>,
    /// The CPU limit in force, in cores; absent when there is none or it is not known. A gauge, not a counter.
    pub cpu_limit_cores: Option<f64>,
    /// Memory that cannot be reclaimed, in bytes. A gauge, not a counter.
    pub memory_working_set_bytes: Option<f64>,
}
