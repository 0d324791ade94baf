//! Spans out: OTLP over HTTP in batches, and the W3C trace context in the headers of requests.
//!
//! Must not know what the spans are about. A collector that is away costs spans, never a request.

use std::{borrow::Cow, fmt, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{SpanBuilder, SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use reqwest::{Url, header::HeaderMap};
use tokio::runtime::Handle;

/// How long a finished span waits for others to travel with.
const BATCH_DELAY: Duration = Duration::from_millis(300);

/// Spans that wait at most; further ones are dropped. At the shipped load a service makes about 150 a second.
const QUEUE_SPANS: usize = 4096;

/// How long one delivery may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes spans of one service. Clones share the queue.
#[derive(Clone)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Spans with these resource attributes, sent to the collector at `otlp` (`http://host:port`, or a whole URL with
    /// its path). Without one, spans are made and propagated but sent nowhere. Called within a tokio runtime.
    ///
    /// # Errors
    /// When the exporter cannot be made.
    pub fn new(otlp: Option<&Url>, resource: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let attributes = resource.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned()));
        let resource = Resource::builder_empty().with_attributes(attributes).build();
        let mut provider = SdkTracerProvider::builder().with_resource(resource);
        if let Some(url) = otlp {
            let batch = BatchConfigBuilder::default()
                .with_scheduled_delay(BATCH_DELAY)
                .with_max_queue_size(QUEUE_SPANS)
                .build();
            let processor = BatchSpanProcessor::builder(exporter(url)?).with_batch_config(batch).build();
            provider = provider.with_span_processor(processor);
        }
        let provider = provider.build();
        let tracer = provider.tracer("ballast-testbed");
        Ok(Self { provider, tracer, propagator: TraceContextPropagator::new() })
    }

    /// A builder that says the name, the kind and, for a call, who is called.
    #[must_use]
    pub fn span(name: impl Into<Cow<'static, str>>, kind: SpanKind, peer: Option<&str>) -> SpanBuilder {
        let peer = peer.map(|peer| KeyValue::new("peer.service", peer.to_owned()));
        SpanBuilder::from_name(name).with_kind(kind).with_attributes(peer)
    }

    /// Starts the span as a child of the one in `parent`, or as a root when there is none.
    #[must_use]
    pub fn start(&self, span: SpanBuilder, parent: &Context) -> Context {
        parent.with_span(self.tracer.build_with_context(span, parent))
    }

    /// The caller's context, from the headers of its request.
    #[must_use]
    pub fn extract(&self, headers: &HeaderMap) -> Context {
        self.propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers))
    }

    /// The headers that carry `context` to a callee.
    #[must_use]
    pub fn inject(&self, context: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.propagator.inject_context(context, &mut HeaderInjector(&mut headers));
        headers
    }

    /// Sends what waits, for at most `patience`. The last act: spans that end later are lost.
    pub async fn flush(&self, patience: Duration) {
        let provider = self.provider.clone();
        // On another thread: the flush blocks until the exporter, which needs this runtime, has answered.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(patience));
        // Spans that cannot be delivered are lost by design.
        let _ = tokio::time::timeout(patience, flush).await;
    }
}

fn exporter(url: &Url) -> anyhow::Result<SpanExporter> {
    let mut endpoint = url.clone();
    if endpoint.path() == "/" {
        endpoint.set_path("/v1/traces");
    }
    let client = reqwest::Client::builder().timeout(EXPORT_TIMEOUT).no_proxy().build()?;
    SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .with_http_client(OnRuntime { client, runtime: Handle::current() })
        .build()
        .context("making the OTLP exporter")
}

/// The batch processor's thread has no runtime, which the HTTP client needs: this sends on the program's own.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt;

    use super::*;

    #[tokio::test]
    async fn the_context_survives_the_headers() {
        let telemetry = Telemetry::new(None, &[("service.name", "a")]).unwrap();
        let span = Telemetry::span("a.get", SpanKind::Client, Some("b"));
        let context = telemetry.start(span, &Context::new());
        let sent = context.span().span_context().clone();
        let headers = telemetry.inject(&context);
        assert!(headers["traceparent"].to_str().unwrap().contains(&sent.trace_id().to_string()));
        let received = telemetry.extract(&headers);
        assert_eq!(received.span().span_context().span_id(), sent.span_id());
        let child = telemetry.start(Telemetry::span("b.get", SpanKind::Server, None), &received);
        assert_eq!(child.span().span_context().trace_id(), sent.trace_id());
    }

    #[tokio::test]
    async fn a_collector_that_is_away_delays_nothing() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = Url::parse(&format!("http://{gone}")).unwrap();
        let telemetry = Telemetry::new(Some(&url), &[("service.name", "a")]).unwrap();
        let begin = tokio::time::Instant::now();
        for _ in 0..3 * QUEUE_SPANS {
            let _ = telemetry.start(Telemetry::span("a.get", SpanKind::Server, None), &Context::new());
        }
        let each = begin.elapsed() / u32::try_from(3 * QUEUE_SPANS).unwrap();
        assert!(each < Duration::from_micros(500), "{each:?} for each span");
        telemetry.flush(Duration::from_millis(200)).await;
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
