//! What metrics are told apart by: the labels, and the values that each can have.
//!
//! Must not count.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

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
    /// The node's own state failed; nothing was written.
    Failed,
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
    /// A page in somebody's browser asks.
    Page,
}

/// Why a connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Cut {
    /// The peer connects too often.
    Pace,
    /// The peer has too many already, for the places that are free.
    Peer,
    /// There was no agreement on TLS, or none in time.
    Handshake,
    /// What came was no HTTP.
    Malformed,
    /// Somebody else vouches for clients now.
    Revoked,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Answer {
    Success,
    ClientError,
    ServerError,
}

/// Files that are read again when they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Files {
    /// Those of tokens.
    Tokens,
    /// Those of certificates and keys.
    Certificates,
}

/// The label of `ballast_connections_cut_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CutLabel {
    pub(super) reason: Cut,
}

/// The label of `ballast_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AnswerLabel {
    pub(super) answer: Answer,
}

/// The label of `ballast_reload_failures_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FilesLabel {
    pub(super) files: Files,
}

/// The label of `ballast_refused_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: Reason,
}

/// The label of `ballast_plans_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabel {
    pub(super) result: PlanResult,
}

/// The label of `ballast_restorations_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CauseLabel {
    pub(super) cause: Cause,
}
