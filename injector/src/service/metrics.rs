//! What the service tells Prometheus about itself.
//!
//! Counts only; must not know why.

use ballast_gate::metrics::counted_from_the_start;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// All metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// Those of who is let in.
    pub(super) gate: ballast_gate::Metrics,
    /// As of the last time it was asked for.
    campaigns: Gauge,
    injections: Family<OutcomeLabel, Counter>,
}

/// How an injection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Completed,
    Otherwise,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

impl Default for Metrics {
    fn default() -> Self {
        let outcomes = [Outcome::Completed, Outcome::Otherwise].map(|outcome| OutcomeLabel { outcome });
        let mut metrics = Self {
            registry: Registry::with_prefix("ballast_injector"),
            gate: ballast_gate::Metrics::default(),
            campaigns: Gauge::default(),
            injections: counted_from_the_start(outcomes),
        };
        let registry = &mut metrics.registry;
        metrics.gate.register(registry);
        registry.register("campaigns", "Campaigns that run", metrics.campaigns.clone());
        registry.register("injections", "Injections that are over", metrics.injections.clone());
        metrics
    }
}

impl Metrics {
    /// Counts an injection that is over.
    pub(super) fn injection(&self, done: bool) {
        let outcome = if done { Outcome::Completed } else { Outcome::Otherwise };
        self.injections.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// The text that Prometheus reads (OpenMetrics 1.0), while so many campaigns are `running`.
    pub(super) fn render(&self, running: usize) -> String {
        self.campaigns.set(i64::try_from(running).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
