//! What the gate tells Prometheus about itself.
//!
//! Counts only; must not know why, nor who shows it.

use std::hash::Hash;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

mod labels;

use labels::{Answer, AnswerLabel, CutLabel, FilesLabel, ReasonLabel};
pub use labels::{Cut, Files, Reason};

/// All metrics of the gate. A clone counts with the original.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Connections open.
    pub connections: Gauge,
    /// Empty without a certificate: zero would be the year 1970.
    certificate_expiry: Family<FilesLabel, Gauge>,
    connections_cut: Family<CutLabel, Counter>,
    reload_failures: Family<FilesLabel, Counter>,
    requests: Family<AnswerLabel, Counter>,
    refused_requests: Family<ReasonLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            certificate_expiry: Family::default(),
            connections_cut: counted_from_the_start(
                [Cut::Pace, Cut::Peer, Cut::Handshake, Cut::Malformed, Cut::Revoked]
                    .map(|reason| CutLabel { reason }),
            ),
            reload_failures: counted_from_the_start(
                [Files::Tokens, Files::Certificates].map(|files| FilesLabel { files }),
            ),
            requests: counted_from_the_start(
                [Answer::Success, Answer::ClientError, Answer::ServerError]
                    .map(|answer| AnswerLabel { answer }),
            ),
            refused_requests: counted_from_the_start(
                [Reason::Pace, Reason::Identity, Reason::Role, Reason::Page]
                    .map(|reason| ReasonLabel { reason }),
            ),
        }
    }
}

/// A family with all values of its label: Prometheus does not see the first event of a series that begins with it.
pub fn counted_from_the_start<L: Clone + Eq + Hash>(
    labels: impl IntoIterator<Item = L>,
) -> Family<L, Counter> {
    let family = Family::default();
    for label in labels {
        drop(family.get_or_create(&label));
    }
    family
}

impl Metrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
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
            "refused_requests",
            "Requests refused for who asked, or how often",
            self.refused_requests.clone(),
        );
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
}

#[cfg(test)]
pub(crate) mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    /// The text that Prometheus would read.
    pub(crate) fn told(metrics: &Metrics) -> String {
        let mut registry = Registry::with_prefix("ballast");
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn every_series_is_there_before_its_first_event() {
        let metrics = Metrics::default();
        let before = told(&metrics);
        for series in [
            "requests_total{answer=\"ServerError\"}",
            "refused_requests_total{reason=\"Page\"}",
            "connections_cut_total{reason=\"Handshake\"}",
            "reload_failures_total{files=\"Tokens\"}",
        ] {
            assert!(before.contains(&format!("ballast_{series} 0\n")), "{series} is missing in {before}");
        }
        metrics.answered(503);
        metrics.refused(Reason::Page);
        metrics.cut(Cut::Handshake);
        metrics.not_reloaded(Files::Tokens);
        assert_eq!(told(&metrics).lines().count(), before.lines().count());
    }
}
