//! What one request says of each container: its time on the critical path, and how long its answers took.
//!
//! A client span's own time on the path is charged to the container that it calls: the network and the callee's queue
//! show there. Every other span's own time is charged to the container that did the work. Must not compare requests.

use std::{collections::BTreeMap, sync::Arc};

use ballast_api::trace::SpanKind;

use super::critical_path::critical_path;
use crate::traces::{Node, Trace};

/// One request, as far as the localizer is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct PathTimes {
    /// The request type.
    pub request: Arc<str>,
    /// The whole path, in nanoseconds: the duration of the root.
    pub total_nanos: u64,
    /// Time on the path of each container that is on it, in nanoseconds; they sum to the total.
    pub path_nanos: BTreeMap<Arc<str>, u64>,
    /// Latency of each answer that a container gave, in nanoseconds: the span with which the request entered it, or,
    /// where it reports no spans of its own, the client span that called it.
    pub latencies: Vec<(Arc<str>, u64)>,
}

impl PathTimes {
    /// Walks the trace.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        let mut path_nanos: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for section in critical_path(trace) {
            let container = charged(trace, &trace.nodes()[section.node]);
            match path_nanos.get_mut(container) {
                Some(nanos) => *nanos += section.nanos(),
                None => drop(path_nanos.insert(container.clone(), section.nanos())),
            }
        }
        let latencies = trace.nodes().iter().filter_map(|node| {
            answerer(trace, node).map(|container| (container.clone(), node.span.duration_nanos()))
        });
        Self {
            request: trace.request().clone(),
            total_nanos: trace.duration_nanos(),
            path_nanos,
            latencies: latencies.collect(),
        }
    }
}

/// Who is charged with the own time of a span on the path.
fn charged<'a>(trace: &'a Trace, node: &'a Node) -> &'a Arc<str> {
    if node.span.kind != SpanKind::Client {
        return node.container();
    }
    entered(trace, node).or(node.span.peer.as_ref()).unwrap_or_else(|| node.container())
}

/// The container that the request enters below this span: the replica that answered, where it reports spans.
fn entered<'a>(trace: &'a Trace, node: &Node) -> Option<&'a Arc<str>> {
    let below = node.children.iter().map(|child| trace.nodes()[*child].container());
    below.filter(|container| *container != node.container()).min()
}

/// Whose answer this span is, if it is one.
fn answerer<'a>(trace: &'a Trace, node: &'a Node) -> Option<&'a Arc<str>> {
    let caller = node.parent.map(|parent| trace.nodes()[parent].container());
    if caller != Some(node.container()) {
        return Some(node.container());
    }
    let is_call = node.span.kind == SpanKind::Client && entered(trace, node).is_none();
    node.span.peer.as_ref().filter(|_| is_call)
}

#[cfg(test)]
pub(crate) mod tests {
    use ballast_api::trace::Span;

    use super::*;
    use crate::traces::trace::tests::span;

    /// A span of `kind` of the service `service`.
    pub(crate) fn span_of(service: &str, kind: SpanKind, span: Span) -> Span {
        Span { service: service.into(), kind, ..span }
    }

    fn path_of(spans: Vec<Span>) -> PathTimes {
        PathTimes::of(&Trace::assemble(spans).unwrap())
    }

    fn named(times: &PathTimes) -> Vec<(&str, u64)> {
        times.path_nanos.iter().map(|(name, nanos)| (&**name, *nanos)).collect()
    }

    /// frontend calls search over a network that takes 5 there and 5 back.
    fn call(search: &str) -> Vec<Span> {
        vec![
            span_of("frontend", SpanKind::Server, span(1, 0, 0, 100)),
            Span { peer: Some("search".into()), ..span_of("frontend", SpanKind::Client, span(2, 1, 20, 90)) },
            span_of(search, SpanKind::Server, span(3, 2, 25, 85)),
        ]
    }

    #[test]
    fn the_network_and_the_queue_are_charged_to_the_one_called() {
        let times = path_of(call("search"));
        assert_eq!(named(&times), [("frontend", 30), ("search", 70)]);
        assert_eq!(times.total_nanos, 100);
    }

    #[test]
    fn the_replica_that_answered_is_charged_rather_than_its_service() {
        let mut spans = call("search");
        spans[2].container = Some("search-2".into());
        assert_eq!(named(&path_of(spans)), [("frontend", 30), ("search-2", 70)]);
    }

    #[test]
    fn a_store_without_spans_is_charged_and_judged_by_its_callers_spans() {
        let mut spans = call("search");
        spans.truncate(2);
        let times = path_of(spans);
        assert_eq!(named(&times), [("frontend", 30), ("search", 70)]);
        assert_eq!(times.latencies, [("frontend".into(), 100), ("search".into(), 70)]);
    }

    #[test]
    fn a_client_that_does_not_say_whom_it_calls_is_charged_itself() {
        let mut spans = call("search");
        spans.truncate(2);
        spans[1].peer = None;
        assert_eq!(named(&path_of(spans)), [("frontend", 100)]);
    }

    #[test]
    fn a_latency_is_counted_once_where_the_request_enters() {
        let mut spans = call("search");
        spans.push(span_of("search", SpanKind::Internal, span(4, 3, 30, 40)));
        assert_eq!(path_of(spans).latencies, [("frontend".into(), 100), ("search".into(), 60)]);
    }
}
