//! What the env-server tells Prometheus about itself.
//!
//! Counts only; must not know why.

use std::hash::Hash;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

mod labels;

use labels::{Answer, AnswerLabel, CauseLabel, CutLabel, FilesLabel, ReasonLabel, ResultLabel};
pub use labels::{Cause, Cut, Files, PlanResult, Reason};

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
    /// Connections open.
    pub connections: Gauge,
    /// Empty without a certificate: zero would be the year 1970.
    certificate_expiry: Family<FilesLabel, Gauge>,
    connections_cut: Family<CutLabel, Counter>,
    plans: Family<ResultLabel, Counter>,
    reload_failures: Family<FilesLabel, Counter>,
    requests: Family<AnswerLabel, Counter>,
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
            connections: Gauge::default(),
            certificate_expiry: Family::default(),
            connections_cut: family(
                [Cut::Pace, Cut::Peer, Cut::Handshake, Cut::Malformed, Cut::Revoked]
                    .map(|reason| CutLabel { reason }),
            ),
            plans: family(
                [
                    PlanResult::Applied,
                    PlanResult::DryRun,
                    PlanResult::Refused,
                    PlanResult::Undone,
                    PlanResult::Failed,
                ]
                .map(|result| ResultLabel { result }),
            ),
            reload_failures: family([Files::Tokens, Files::Certificates].map(|files| FilesLabel { files })),
            requests: family(
                [Answer::Success, Answer::ClientError, Answer::ServerError]
                    .map(|answer| AnswerLabel { answer }),
            ),
            refused_requests: family(
                [Reason::Pace, Reason::Identity, Reason::Role, Reason::Page]
                    .map(|reason| ReasonLabel { reason }),
            ),
            restorations: family(
                [Cause::Expiry, Cause::Request, Cause::Shutdown, Cause::Restart]
                    .map(|cause| CauseLabel { cause }),
            ),
        };
        metrics.register();
        metrics
    }
}

/// All values of a label are there from the start: Prometheus does not see the first event of a series that begins with
/// it.
fn family<L: Clone + Eq + Hash>(labels: impl IntoIterator<Item = L>) -> Family<L, Counter> {
    let family = Family::default();
    for label in labels {
        drop(family.get_or_create(&label));
    }
    family
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("containers", "Containers managed", self.containers.clone());
        registry.register("loans", "Containers whose limits are lent", self.loans.clone());
        registry.register("connections", "Connections open", self.connections.clone());
        registry.register(
            "connections_cut",
            "Connections cut, or refused as they came",
            self.connections_cut.clone(),
        );
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When this node's certificate ends",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "reload_failures",
            "Files of tokens or certificates that changed and cannot be used",
            self.reload_failures.clone(),
        );
        registry.register(
            "drifts",
            "Limits that somebody else changed while they were lent",
            self.drifts.clone(),
        );
        registry.register("plans", "Plans received", self.plans.clone());
        registry.register(
            "refused_requests",
            "Requests refused for who asked, or how often",
            self.refused_requests.clone(),
        );
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

    /// Counts a connection that is cut.
    pub fn cut(&self, reason: Cut) {
        self.connections_cut.get_or_create(&CutLabel { reason }).inc();
    }

    /// Shows when this node's certificate ends, in seconds of Unix time.
    pub fn certificate_ends(&self, at: u64) {
        let label = FilesLabel { files: Files::Certificates };
        self.certificate_expiry.get_or_create(&label).set(i64::try_from(at).unwrap_or(i64::MAX));
    }

    /// Counts a request that was answered with this HTTP status.
    pub fn answered(&self, status: u16) {
        let answer = match status {
            ..400 => Answer::Success,
            400..500 => Answer::ClientError,
            500.. => Answer::ServerError,
        };
        self.requests.get_or_create(&AnswerLabel { answer }).inc();
    }

    /// Counts files that changed and cannot be used.
    pub fn not_reloaded(&self, files: Files) {
        self.reload_failures.get_or_create(&FilesLabel { files }).inc();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_before_its_first_event() {
        let metrics = Metrics::default();
        let before = metrics.render();
        for series in [
            "plans_total{result=\"Failed\"}",
            "requests_total{answer=\"ServerError\"}",
            "refused_requests_total{reason=\"Page\"}",
            "connections_cut_total{reason=\"Handshake\"}",
            "reload_failures_total{files=\"Tokens\"}",
            "restorations_total{cause=\"Expiry\"}",
        ] {
            assert!(before.contains(&format!("ballast_{series} 0\n")), "{series} is missing in {before}");
        }
        metrics.plan(PlanResult::Failed);
        metrics.answered(503);
        metrics.refused(Reason::Page);
        metrics.cut(Cut::Handshake);
        metrics.not_reloaded(Files::Tokens);
        metrics.restored(Cause::Expiry);
        assert_eq!(metrics.render().lines().count(), before.lines().count());
    }
}
