//! What the env-server tells Prometheus about itself.
//!
//! Counts only; must not know why.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What became of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum PlanResult {
    /// Limits are in force.
    Applied,
    /// It was checked, as asked, and would be accepted.
    DryRun,
    /// It was refused before anything was written.
    Refused,
    /// Writing failed; what had been written was undone.
    Undone,
}

/// Why limits went back to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Cause {
    /// The lease ended.
    Expiry,
    /// Somebody asked.
    Request,
    /// This process ends.
    Shutdown,
    /// The process before this one did not end properly.
    Restart,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expiry => "expiry",
            Self::Request => "request",
            Self::Shutdown => "shutdown",
            Self::Restart => "restart",
        })
    }
}

/// Why a request was refused before its call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Reason {
    /// The peer asks too often.
    Pace,
    /// Nobody knows who asks.
    Identity,
    /// It is not theirs to ask.
    Role,
}

/// The label of `ballast_refused_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    reason: Reason,
}

/// The label of `ballast_plans_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    result: PlanResult,
}

/// The label of `ballast_restorations_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabel {
    cause: Cause,
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
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
    refused_requests: Family<ReasonLabel, Counter>,
    restorations: Family<CauseLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("ballast"),
            containers: Gauge::default(),
            loans: Gauge::default(),
            drifts: Counter::default(),
            sampling_failures: Counter::default(),
            restoration_failures: Counter::default(),
            plans: Family::default(),
            refused_requests: Family::default(),
            restorations: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("containers", "Containers managed", metrics.containers.clone());
        registry.register("loans", "Containers whose limits are lent", metrics.loans.clone());
        registry.register(
            "drifts",
            "Limits that somebody else changed while they were lent",
            metrics.drifts.clone(),
        );
        registry.register("plans", "Plans received", metrics.plans.clone());
        registry.register(
            "refused_requests",
            "Requests refused for who asked, or how often",
            metrics.refused_requests.clone(),
        );
        registry.register("restorations", "Baselines restored", metrics.restorations.clone());
        registry.register(
            "restoration_failures",
            "Attempts to restore a baseline that failed",
            metrics.restoration_failures.clone(),
        );
        registry.register(
            "sampling_failures",
            "Samples of a container that failed",
            metrics.sampling_failures.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Counts a plan.
    pub fn plan(&self, result: PlanResult) {
        self.plans.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a request that is not admitted.
    pub fn refused(&self, reason: Reason) {
        self.refused_requests.get_or_create(&ReasonLabel { reason }).inc();
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
