//! OTLP trace exports: the body of a request in, spans out.
//!
//! Everything that comes from the network is doubted here and nowhere else. Must not know who sent it, nor where the
//! spans go. Never panics, whatever the bytes.

mod admit;
mod json;
mod protobuf;

use ballast_api::trace::Span;

/// The largest body accepted, in bytes.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// The two encodings of OTLP over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`: one document, or one after another (the collector's file exporter writes one a line).
    Json,
}

/// What an export held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Export {
    /// The spans let in, in the order of the document.
    pub spans: Vec<Span>,
    /// Spans refused, by reason.
    pub rejected: Rejected,
    /// Spans let in whose end lay before their start (a clock set back, or an end that is not set): they end when they
    /// start, so that their children keep their place.
    pub clamped: u64,
    /// Spans let in without a `service.name`: they belong to [`UNKNOWN_SERVICE`].
    pub unnamed: u64,
}

/// The service of spans that name none, as the OpenTelemetry specification calls it.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// Spans refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rejected {
    /// The trace id is not 16 bytes, or zero.
    pub trace_id: u64,
    /// The span id is not 8 bytes, or zero.
    pub span_id: u64,
    /// The parent's id is there and not 8 bytes.
    pub parent_id: u64,
    /// The start is missing.
    pub start: u64,
}

impl Rejected {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.trace_id + self.span_id + self.parent_id + self.start
    }
}

/// Why a whole body was refused.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// More than [`MAX_BODY_BYTES`].
    #[error("the export has {bytes} bytes; at most {MAX_BODY_BYTES} are accepted: send smaller batches")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// No `ExportTraceServiceRequest` in protobuf.
    #[error("the export is no ExportTraceServiceRequest in protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// No `ExportTraceServiceRequest` in JSON.
    #[error("the export is no ExportTraceServiceRequest in JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads the body of an export. Spans that make no sense are refused one by one and counted.
///
/// # Errors
/// When the body is too large, or is not of the encoding stated.
pub fn decode(encoding: Encoding, body: &[u8]) -> Result<Export, OtlpError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(OtlpError::TooLarge { bytes: body.len() });
    }
    match encoding {
        Encoding::Protobuf => protobuf::decode(body),
        Encoding::Json => json::decode(body),
    }
}

#[cfg(test)]
mod tests;
