//! Sending one request and seeing what comes of it. Must not know when the next one is due.

use std::time::{Duration, UNIX_EPOCH};

use ballast_api::UnixNanos;
use ballast_sim::Topology;
use opentelemetry::{
    Context,
    trace::{SpanKind, Status, TraceContextExt},
};
use reqwest::{Method, Url};
use tokio::time::Instant;

use super::summary::{Finished, Outcome};
use crate::{refusal::Refusal, telemetry::Telemetry, topology};

/// Requests under way at most; those due beyond are counted as failed.
pub const MAX_IN_FLIGHT: usize = 4096;

/// How long an answer may take, counted from the sending.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests of a topology's types to its entry.
#[derive(Debug)]
pub struct Sender {
    http: reqwest::Client,
    telemetry: Telemetry,
    /// The service called, for the spans.
    entry: String,
    types: Vec<(String, Method, Url)>,
}

impl Sender {
    /// For the entry at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Refusal::BadInput`] when `url` is no `http` address.
    pub fn new(url: &Url, topology: &Topology, telemetry: Telemetry) -> anyhow::Result<Self> {
        if url.scheme() != "http" || url.host().is_none() {
            let detail = format!("--url {url}: it must look like http://127.0.0.1:8080");
            return Err(Refusal::BadInput(detail).into());
        }
        let types = topology.requests.iter().filter_map(|request| {
            let (method, path) = topology::method_and_path(&request.name)?;
            let mut url = url.clone();
            url.set_path(path);
            Some((request.name.clone(), method, url))
        });
        Ok(Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?,
            telemetry,
            entry: topology::entry(topology)?.to_string(),
            types: types.collect(),
        })
    }

    /// The name of the request type of that number.
    #[must_use]
    pub fn request_name(&self, request: usize) -> Option<&str> {
        self.types.get(request).map(|(name, ..)| name.as_str())
    }

    /// Sends a request that was due at `due`, which is `due_unix` by the calendar. The span begins then too, so that
    /// waiting here shows in the trace.
    pub async fn send(&self, request: usize, due: Instant, due_unix: UnixNanos) -> Finished {
        let (name, method, url) = &self.types[request];
        let begin = UNIX_EPOCH + Duration::from_nanos(due_unix.0);
        let span = Telemetry::span(name.clone(), SpanKind::Client, Some(&self.entry)).with_start_time(begin);
        let context = self.telemetry.start(span, &Context::new());
        let headers = self.telemetry.inject(&context);
        let send_delay = due.elapsed();
        let answer = self.http.request(method.clone(), url.clone()).headers(headers).send();
        let outcome = outcome_of(answer).await;
        let latency = due.elapsed();
        let span = context.span();
        if outcome != Outcome::Completed {
            span.set_status(Status::error(format!("{outcome:?}")));
        }
        span.end_with_timestamp(begin + latency);
        Finished { request, outcome, latency, send_delay }
    }
}

async fn outcome_of(answer: impl Future<Output = reqwest::Result<reqwest::Response>>) -> Outcome {
    let whole = async { answer.await?.error_for_status()?.bytes().await };
    match whole.await {
        Ok(_) => Outcome::Completed,
        Err(error) if error.is_timeout() => Outcome::TimedOut,
        Err(error) => {
            tracing::debug!(%error, "request failed");
            Outcome::Failed
        }
    }
}
