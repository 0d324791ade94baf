//! Who proposes limits: one file for each. Must not know nodes, plans or traces: an [`Evidence`] is all a policy sees.

mod aimd;
mod ddpg;

use ballast_api::ContainerName;

pub use aimd::Aimd;
pub use ddpg::LearnedPolicy;

use crate::environment::{Bounds, Observation};

/// All that a policy is told of one container.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Which container.
    pub container: &'a ContainerName,
    /// The CPU limit in force, in cores (the capacity when unlimited).
    pub limit_cores: f64,
    /// What a limit may be.
    pub bounds: Bounds,
    /// Its state.
    pub observation: Observation,
}

impl Evidence<'_> {
    /// Whether an objective that this container serves is violated.
    #[must_use]
    pub fn violated(&self) -> bool {
        self.observation.slo_maintenance < 1.0
    }
}

/// Proposes limits.
pub trait LimitPolicy: Send + Sync {
    /// Its name in plans and in the audit log.
    fn name(&self) -> &'static str;

    /// The CPU limit it would set, in cores; absent when it has no opinion.
    fn propose(&self, evidence: &Evidence<'_>) -> Option<f64>;
}
