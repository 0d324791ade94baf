//! The OTLP receiver: `POST /v1/traces` over HTTP, in protobuf or JSON.
//!
//! Must not wait for those who read the spans: when their queue is full the sender is asked to come again. The address,
//! the queue and the end of service are the caller's.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use ballast_api::trace::Span;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::otlp::{self, Encoding, Export, MAX_BODY_BYTES, OtlpError};

/// How long a sender may take to send one body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the receiver has seen so far.
#[derive(Debug, Default)]
pub struct ReceiverCounts {
    /// Exports taken.
    pub exports: AtomicU64,
    /// Spans taken.
    pub spans: AtomicU64,
    /// Spans refused one by one.
    pub rejected_spans: AtomicU64,
    /// Spans taken whose end lay before their start.
    pub clamped_spans: AtomicU64,
    /// Spans taken that name no service.
    pub unnamed_spans: AtomicU64,
    /// Whole exports refused: not OTLP, too large, too slow.
    pub rejected_exports: AtomicU64,
    /// Exports sent back because the queue was full.
    pub busy_exports: AtomicU64,
}

#[derive(Clone)]
struct Receiver {
    queue: mpsc::Sender<Vec<Span>>,
    counts: Arc<ReceiverCounts>,
}

/// The routes of the receiver. Each export goes into `queue` as one element.
pub fn router(queue: mpsc::Sender<Vec<Span>>, counts: Arc<ReceiverCounts>) -> Router {
    Router::new().route("/v1/traces", post(export)).with_state(Receiver { queue, counts })
}

/// Receives spans on `listener` until `shutdown`, then answers the exports that are under way and returns.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    queue: mpsc::Sender<Vec<Span>>,
    counts: Arc<ReceiverCounts>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router(queue, counts)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn export(State(receiver): State<Receiver>, headers: HeaderMap, body: Body) -> Response {
    // A refusal goes out in the encoding that the sender reads; where that is not known, in the readable one.
    let (encoding, outcome) = match encoding(&headers) {
        Ok(encoding) => (encoding, receiver.take(encoding, &headers, body).await),
        Err(refusal) => (Encoding::Json, Err(refusal)),
    };
    if let Err(refusal) = &outcome {
        receiver.count_refusal(refusal);
    }
    match outcome {
        Ok(export) => accepted(encoding, &export),
        Err(refusal) => refusal.answer(encoding),
    }
}

impl Receiver {
    /// The export without its spans, which are in the queue.
    async fn take(&self, encoding: Encoding, headers: &HeaderMap, body: Body) -> Result<Export, Refusal> {
        if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Refusal::Compressed);
        }
        let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES))
            .await
            .map_err(|_| Refusal::Slow)?
            .map_err(|_| Refusal::TooLarge)?;
        let mut export = otlp::decode(encoding, &body)?;
        let spans = std::mem::take(&mut export.spans);
        let taken = spans.len() as u64;
        if taken > 0 {
            self.queue.try_send(spans).map_err(|_| Refusal::Busy)?;
        }
        self.count(&export, taken);
        Ok(export)
    }

    fn count(&self, export: &Export, taken: u64) {
        let counts = &self.counts;
        counts.exports.fetch_add(1, Ordering::Relaxed);
        counts.spans.fetch_add(taken, Ordering::Relaxed);
        counts.rejected_spans.fetch_add(export.rejected.total(), Ordering::Relaxed);
        counts.clamped_spans.fetch_add(export.clamped, Ordering::Relaxed);
        counts.unnamed_spans.fetch_add(export.unnamed, Ordering::Relaxed);
    }

    fn count_refusal(&self, refusal: &Refusal) {
        let counter = match refusal {
            Refusal::Busy => &self.counts.busy_exports,
            _ => &self.counts.rejected_exports,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%refusal, "export refused");
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match stated.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" => Ok(Encoding::Protobuf),
        "application/json" => Ok(Encoding::Json),
        _ => Err(Refusal::ContentType),
    }
}

fn accepted(encoding: Encoding, export: &Export) -> Response {
    let rejected = export.rejected.total();
    let message = if rejected == 0 { String::new() } else { reasons(export) };
    let body = match encoding {
        Encoding::Protobuf => ExportTraceServiceResponse {
            partial_success: (rejected > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
                error_message: message,
            }),
        }
        .encode_to_vec(),
        Encoding::Json if rejected == 0 => b"{}".to_vec(),
        // Protobuf's JSON writes 64-bit numbers as text.
        Encoding::Json => serde_json::json!({
            "partialSuccess": { "rejectedSpans": rejected.to_string(), "errorMessage": message }
        })
        .to_string()
        .into_bytes(),
    };
    answer(StatusCode::OK, encoding, body)
}

fn reasons(export: &Export) -> String {
    let rejected = &export.rejected;
    [
        (rejected.trace_id, "without a valid trace id (16 bytes, not all zero)"),
        (rejected.span_id, "without a valid span id (8 bytes, not all zero)"),
        (rejected.parent_id, "whose parent's id is not 8 bytes"),
        (rejected.start, "without a start time"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, reason)| format!("{count} {reason}"))
    .collect::<Vec<_>>()
    .join("; ")
}

fn answer(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static(match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    });
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// Why a whole export was refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the content type must be application/x-protobuf or application/json")]
    ContentType,
    #[error("compressed exports are not read here: send them without compression")]
    Compressed,
    #[error("the export has more than {MAX_BODY_BYTES} bytes, or ended too soon: send smaller batches")]
    TooLarge,
    #[error("the export took longer than {} s to arrive", BODY_TIMEOUT.as_secs())]
    Slow,
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    #[error("the queue of spans is full: send again in a second")]
    Busy,
}

/// The body that OTLP asks for in every failure: `google.rpc.Status`.
#[derive(Clone, PartialEq, Message, serde::Serialize)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl Refusal {
    /// The status of HTTP and the code of `google.rpc`.
    fn codes(&self) -> (StatusCode, i32) {
        const INVALID_ARGUMENT: i32 = 3;
        const UNAVAILABLE: i32 = 14;
        match self {
            Self::ContentType | Self::Compressed => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, INVALID_ARGUMENT),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, INVALID_ARGUMENT),
            Self::Otlp(_) => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        }
    }

    fn answer(&self, encoding: Encoding) -> Response {
        let (status, code) = self.codes();
        let body = RpcStatus { code, message: self.to_string() };
        let body = match encoding {
            Encoding::Protobuf => body.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(&body).unwrap_or_default(),
        };
        let mut response = answer(status, encoding, body);
        if matches!(self, Self::Busy) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    use super::*;

    /// Two spans, the second with a trace id of zeros.
    const TWO_SPANS: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"00000000000000000000000000000001","spanId":"0000000000000002","startTimeUnixNano":"5","endTimeUnixNano":"6"},
        {"traceId":"00000000000000000000000000000000","spanId":"0000000000000002","startTimeUnixNano":"5","endTimeUnixNano":"6"}]}]}]}"#;

    struct Running {
        url: String,
        spans: mpsc::Receiver<Vec<Span>>,
        counts: Arc<ReceiverCounts>,
        shutdown: CancellationToken,
        task: tokio::task::JoinHandle<io::Result<()>>,
    }

    async fn start(queue_length: usize) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (queue, spans) = mpsc::channel(queue_length);
        let (counts, shutdown) = (Arc::new(ReceiverCounts::default()), CancellationToken::new());
        let task = tokio::spawn(serve(listener, queue, counts.clone(), shutdown.clone()));
        Running { url, spans, counts, shutdown, task }
    }

    async fn post(url: &str, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Vec<u8>) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(url).header("content-type", content_type).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn spans_go_into_the_queue_and_the_refused_ones_are_told() {
        let mut running = start(4).await;
        let (status, body) = post(&running.url, "application/json; charset=utf-8", TWO_SPANS).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, body["partialSuccess"]["rejectedSpans"].as_str()), (200, Some("1")));
        assert!(body["partialSuccess"]["errorMessage"].as_str().unwrap().contains("trace id"));
        assert_eq!(running.spans.recv().await.unwrap().len(), 1);
        assert_eq!(running.counts.spans.load(Ordering::Relaxed), 1);
        assert_eq!(running.counts.rejected_spans.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn protobuf_is_answered_in_protobuf() {
        let running = start(4).await;
        let empty = ExportTraceServiceRequest::default().encode_to_vec();
        let (status, body) = post(&running.url, "application/x-protobuf", empty).await;
        let answer = ExportTraceServiceResponse::decode(&body[..]).unwrap();
        assert_eq!((status, answer.partial_success), (200, None));
        let (status, body) = post(&running.url, "application/x-protobuf", "hello").await;
        assert_eq!(status, 400);
        assert!(RpcStatus::decode(&body[..]).unwrap().message.contains("protobuf"));
    }

    #[tokio::test]
    async fn a_full_queue_asks_the_sender_to_come_again() {
        let running = start(1).await;
        assert_eq!(post(&running.url, "application/json", TWO_SPANS).await.0, 200);
        assert_eq!(post(&running.url, "application/json", TWO_SPANS).await.0, 503);
        assert_eq!(running.counts.busy_exports.load(Ordering::Relaxed), 1);
        assert_eq!(running.counts.spans.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn other_content_and_too_much_of_it_is_refused() {
        let running = start(4).await;
        for (content_type, body, expected) in [
            ("text/plain", vec![], 415),
            ("application/json", b"{".to_vec(), 400),
            ("application/json", vec![b' '; MAX_BODY_BYTES + 1], 413),
        ] {
            assert_eq!(post(&running.url, content_type, body).await.0, expected, "{content_type}");
        }
        assert_eq!(running.counts.rejected_exports.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn ends_when_told() {
        let running = start(1).await;
        assert_eq!(post(&running.url, "application/json", "{}").await.0, 200);
        running.shutdown.cancel();
        running.task.await.unwrap().unwrap();
    }
}
