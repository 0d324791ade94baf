//! Lets a span in or refuses it, whichever encoding it came in.
//!
//! Must not know the encodings.

use std::{collections::HashMap, sync::Arc};

use ballast_api::{
    clock::UnixNanos,
    trace::{Span, SpanId, SpanKind, TraceId},
};

use super::{Export, UNKNOWN_SERVICE};

/// A span as it was sent, unchecked.
pub(super) struct RawSpan<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    /// Empty or all zero for a root.
    pub(super) parent_id: &'a [u8],
    pub(super) kind: SpanKind,
    pub(super) name: &'a str,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) failed: bool,
}

/// The identity of the program that sent spans.
#[derive(Default, Clone)]
pub(super) struct Sender {
    service: Option<Arc<str>>,
    container: Option<Arc<str>>,
}

impl Sender {
    /// Reads the attributes of a resource. `container.name` is OpenTelemetry's name for any container's name;
    /// `k8s.container.name` stands for it where only Kubernetes' detector ran.
    pub(super) fn of<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>, names: &mut Names) -> Self {
        let mut sender = Self::default();
        let mut kubernetes = None;
        for (key, value) in attributes.filter(|(_, value)| !value.is_empty()) {
            match key {
                "service.name" => sender.service = Some(names.intern(value)),
                "container.name" => sender.container = Some(names.intern(value)),
                "k8s.container.name" => kubernetes = Some(names.intern(value)),
                _ => {}
            }
        }
        sender.container = sender.container.or(kubernetes);
        sender
    }
}

/// The service that a span says it called.
pub(super) fn peer<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Option<&'a str> {
    attributes
        .filter(|(key, value)| *key == "peer.service" && !value.is_empty())
        .map(|(_, value)| value)
        .last()
}

/// Names seen in one export, each kept once: services and operations repeat in every span.
#[derive(Default)]
pub(super) struct Names(HashMap<String, Arc<str>>);

impl Names {
    pub(super) fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let shared: Arc<str> = name.into();
        self.0.insert(name.to_owned(), shared.clone());
        shared
    }
}

/// Adds the span to the export, or counts why not.
pub(super) fn admit(
    raw: &RawSpan<'_>,
    sender: &Sender,
    peer: Option<&str>,
    names: &mut Names,
    export: &mut Export,
) {
    let rejected = &mut export.rejected;
    let Some(trace) = trace_id(raw.trace_id) else { return rejected.trace_id += 1 };
    let Some(id) = span_id(raw.span_id).filter(|id| id.0 != 0) else { return rejected.span_id += 1 };
    let parent = match raw.parent_id {
        [] => None,
        bytes => match span_id(bytes) {
            None => return rejected.parent_id += 1,
            Some(parent) => Some(parent).filter(|parent| parent.0 != 0),
        },
    };
    // A start of zero is a field that nobody set: such a span would last for half a century.
    if raw.start == 0 {
        return rejected.start += 1;
    }
    export.clamped += u64::from(raw.end < raw.start);
    export.unnamed += u64::from(sender.service.is_none());
    export.spans.push(Span {
        trace,
        id,
        parent,
        kind: raw.kind,
        service: sender.service.clone().unwrap_or_else(|| names.intern(UNKNOWN_SERVICE)),
        container: sender.container.clone(),
        operation: names.intern(raw.name),
        peer: peer.map(|peer| names.intern(peer)),
        start: UnixNanos(raw.start),
        end: UnixNanos(raw.end.max(raw.start)),
        failed: raw.failed,
    });
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    let id = u128::from_be_bytes(bytes.try_into().ok()?);
    (id != 0).then_some(TraceId(id))
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    Some(SpanId(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// OpenTelemetry's number of a kind; what is unspecified or unknown counts as internal, as the specification says.
pub(super) fn kind(number: i64) -> SpanKind {
    match number {
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

/// OpenTelemetry's number of the status `ERROR`.
pub(super) const STATUS_ERROR: i64 = 2;
