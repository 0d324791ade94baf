//! How long users waited, measured from when they sent: those still waiting are told too, so that nothing is omitted.
//!
//! Must not know why.

use std::{sync::Arc, time::Duration};

use ballast_api::{UnixNanos, trace::TraceId};

/// A request that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The root operation, such as `GET /hotels`.
    pub request_type: Arc<str>,
    /// Its trace.
    pub trace: TraceId,
    /// When the user sent it.
    pub intended_start: UnixNanos,
    /// Until the user had the answer.
    pub latency: Duration,
}

/// A request that was not answered yet.
#[derive(Debug, Clone, PartialEq)]
pub struct InFlight {
    /// The root operation.
    pub request_type: Arc<str>,
    /// Its trace.
    pub trace: TraceId,
    /// When the user sent it.
    pub intended_start: UnixNanos,
    /// For how long the user has been waiting: a lower bound of its latency.
    pub age: Duration,
}
