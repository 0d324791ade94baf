//! Spans: what a tracing system, or the simulator, says about the parts of a request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::UnixNanos;

/// Identifies a request through all services (W3C trace context: 16 bytes, not all zero).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceId(pub u128);

/// Identifies a span within its trace (8 bytes, not all zero).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpanId(pub u64);

/// Which side of which kind of call a span is, as OpenTelemetry names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Work inside a service.
    Internal,
    /// The answering side of a call.
    Server,
    /// The waiting side of a call.
    Client,
    /// The sending side of a message.
    Producer,
    /// The receiving side of a message.
    Consumer,
}

/// One timed operation of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The request it belongs to.
    pub trace: TraceId,
    /// Itself.
    pub id: SpanId,
    /// Who caused it; absent for the root.
    pub parent: Option<SpanId>,
    /// Which side of the call it is.
    pub kind: SpanKind,
    /// The service that did the work (`service.name`).
    pub service: Arc<str>,
    /// The container that did the work (`container.name`); absent where the source does not say, and then the service
    /// stands for it.
    pub container: Option<Arc<str>>,
    /// What was done: `GET /hotels`, `geo.nearby`.
    pub operation: Arc<str>,
    /// For a client span, the service called (`peer.service`).
    pub peer: Option<Arc<str>>,
    /// Begin.
    pub start: UnixNanos,
    /// End; never before `start` once a parser has let it in.
    pub end: UnixNanos,
    /// Whether the operation failed.
    pub failed: bool,
}

impl Span {
    /// From begin to end, in nanoseconds; zero when the clock ran backwards.
    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}
