//! What metrics are told apart by: the labels, and the values that each can have.
//!
//! Must not count.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

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
