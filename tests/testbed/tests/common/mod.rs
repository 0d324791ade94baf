//! What the tests of the testbed share: a collector of spans, and the program run as its users run it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1,
};
use prost::Message;

/// One span as the collector got it.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) parent: Vec<u8>,
    pub(crate) service: String,
    pub(crate) container: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) kind: v1::span::SpanKind,
    pub(crate) name: String,
    pub(crate) peer: Option<String>,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) failed: bool,
}

fn text(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{key} is {other:?}"),
    }
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.unwrap_or_default().attributes;
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: text(&resource, "service.name").expect("every span has a service"),
                container: text(&resource, "container.name"),
                host: text(&resource, "host.name"),
                kind: span.kind(),
                peer: text(&span.attributes, "peer.service"),
                failed: span
                    .status
                    .as_ref()
                    .is_some_and(|status| status.code() == v1::status::StatusCode::Error),
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                name: span.name,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
            });
        }
    }
    spans
}

/// A collector on a free port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<Span>>>);

impl Sink {
    /// Starts it within the test's runtime, and answers its URL.
    pub(crate) async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(receive)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// The spans until now, by trace.
    pub(crate) fn traces(&self) -> BTreeMap<Vec<u8>, Vec<Span>> {
        let mut traces: BTreeMap<_, Vec<Span>> = BTreeMap::new();
        for span in self.0.lock().unwrap().iter() {
            traces.entry(span.trace.clone()).or_default().push(span.clone());
        }
        traces
    }
}

async fn receive(State(sink): State<Sink>, body: Bytes) -> StatusCode {
    let request = ExportTraceServiceRequest::decode(body).expect("the body is an OTLP request");
    sink.0.lock().unwrap().extend(spans_of(request));
    StatusCode::OK
}

/// The program, as its users run it.
pub(crate) fn testbed(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ballast-testbed"));
    command.args(args);
    command
}

/// Runs to the end; answers the exit code, standard output and standard error.
pub(crate) fn finish(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// An `up` that is ready. Dropping it ends it as the end of standard input does.
pub(crate) struct Up {
    pub(crate) process: Child,
    /// Not left in `process`, which closes it before it waits.
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) ready: serde_json::Value,
}

impl Up {
    /// Starts it and waits for its line.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = testbed(&["up", "--until-stdin-closes"]);
        let mut process =
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("up starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let stdin = process.stdin.take();
        Self { process, stdin, ready }
    }

    /// Its children, whatever they are.
    pub(crate) fn children(&self) -> Vec<u32> {
        let of = |pid: u32| -> Option<u32> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
        };
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| of(*pid) == Some(self.process.id())).collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}

/// Whether a process is there and is no zombie that nobody reaps.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

/// Looks until it is so, for ten seconds.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..200 {
        if is_so() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "other processes have no clock to pause")]
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within ten seconds: {what}");
}

/// Why a whole testbed cannot run here, told on standard error; None where it can.
pub(crate) fn skipped(test: &str) -> Option<()> {
    let reason = if !nix::unistd::geteuid().is_root() {
        "it needs root, to make cgroups"
    } else if ballast_kernel::Hierarchy::find("/proc/self/mountinfo".as_ref()).is_err() {
        "this machine has no CPU controller for cgroups"
    } else if ["memcached", "redis-server"]
        .iter()
        .any(|name| Command::new(name).arg("--version").output().is_err())
    {
        "the Debian packages memcached and redis-server are missing"
    } else {
        return None;
    };
    // Not captured, unlike eprintln.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
    Some(())
}
