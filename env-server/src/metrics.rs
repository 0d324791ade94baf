//! What the env-server tells Prometheus about itself.
//!
//! Counts only; must not know why.

use ballast_gate::metrics::counted_from_the_start;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

mod labels;

pub use labels::{Cause, PlanResult};
use labels::{CauseLabel, ResultLabel};

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Those of who is let in.
    pub gate: ballast_gate::Metrics,
    /// Containers managed.
    pub containers: Gauge,
    /// Containers whose limits are lent.
    pub loans: Gauge,
    /// Limits that somebody else changed while they were lent.
    pub drifts: Counter,
    /// Samples that could not be taken.
    pub sampling_failures: Counter,
    /// Baselines that could not be restored, once for each attempt.
    pub restoration_failures: Counter,
    plans: Family<ResultLabel, Counter>,
    restorations: Family<CauseLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("ballast"),
            gate: ballast_gate::Metrics::default(),
            containers: Gauge::default(),
            loans: Gauge::default(),
            drifts: Counter::default(),
            sampling_failures: Counter::default(),
            restoration_failures: Counter::default(),
            plans: counted_from_the_start(
                [
                    PlanResult::Applied,
                    PlanResult::DryRun,
                    PlanResult::Refused,
                    PlanResult::Undone,
                    PlanResult::Failed,
                ]
                .map(|result| ResultLabel { result }),
            ),
            restorations: counted_from_the_start(
                [Cause::Expiry, Cause::Request, Cause::Shutdown, Cause::Restart]
                    .map(|cause| CauseLabel { cause }),
            ),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        self.gate.register(registry);
        registry.register("containers", "Containers managed", self.containers.clone());
        registry.register("loans", "Containers whose limits are lent", self.loans.clone());
        registry.register(
            "drifts",
            "Limits that somebody else changed while they were lent",
            self.drifts.clone(),
        );
        registry.register("plans", "Plans received", self.plans.clone());
        registry.register("restorations", "Baselines restored", self.restorations.clone());
        registry.register(
            "restoration_failures",
            "Attempts to restore a baseline that failed",
            self.restoration_failures.clone(),
        );
        registry.register(
            "sampling_failures",
            "Samples of a container that failed",
            self.sampling_failures.clone(),
        );
    }

    /// Counts a plan.
    pub fn plan(&self, result: PlanResult) {
        self.plans.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a container that is back at its baseline.
    pub fn restored(&self, cause: Cause) {
        self.restorations.get_or_create(&CauseLabel { cause }).inc();
    }

    /// The text that Prometheus reads (OpenMetrics 1.0).
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_before_its_first_event() {
        let metrics = Metrics::default();
        let before = metrics.render();
        for series in ["plans_total{result=\"Failed\"}", "restorations_total{cause=\"Expiry\"}"] {
            assert!(before.contains(&format!("ballast_{series} 0\n")), "{series} is missing in {before}");
        }
        metrics.plan(PlanResult::Failed);
        metrics.restored(Cause::Expiry);
        assert_eq!(metrics.render().lines().count(), before.lines().count());
    }
}
