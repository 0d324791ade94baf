//! Spans: one tree for each request, and the same CPU time in spans and counters.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use ballast_api::trace::{Span, SpanId, SpanKind, TraceId};
use ballast_sim::{LOAD_GENERATOR, SimConfig, Simulation, Topology};

use crate::support::{drain, hotel, single, used};

type Trace<'a> = HashMap<SpanId, &'a Span>;

fn traces(spans: &[Span]) -> BTreeMap<TraceId, Trace<'_>> {
    let mut traces: BTreeMap<_, Trace<'_>> = BTreeMap::new();
    for span in spans {
        let earlier = traces.entry(span.trace).or_default().insert(span.id, span);
        assert!(earlier.is_none(), "span identifiers are unique in a trace");
    }
    traces
}

/// Every span but the one root has its parent in the trace, and lies within it unless nobody waits for it.
fn check_tree(trace: &Trace<'_>) {
    let roots: Vec<_> = trace.values().filter(|span| span.parent.is_none()).collect();
    let [root] = roots.as_slice() else { panic!("{} roots", roots.len()) };
    assert_eq!((&*root.service, root.kind, &root.container), (LOAD_GENERATOR, SpanKind::Client, &None));
    for span in trace.values() {
        assert!(span.start <= span.end);
        let Some(parent) = span.parent else { continue };
        let parent = trace[&parent];
        let background = span.kind == SpanKind::Consumer || under_a_consumer(trace, span);
        let within = parent.start <= span.start && span.end <= parent.end;
        assert!(within || background || span.kind == SpanKind::Producer, "{span:?} in {parent:?}");
        match span.kind {
            SpanKind::Server => assert_eq!(parent.kind, SpanKind::Client),
            SpanKind::Consumer => assert_eq!(parent.kind, SpanKind::Producer),
            _ => assert!(matches!(parent.kind, SpanKind::Server | SpanKind::Consumer)),
        }
    }
}

fn under_a_consumer(trace: &Trace<'_>, span: &Span) -> bool {
    let parent = span.parent.map(|parent| trace[&parent]);
    parent.is_some_and(|parent| parent.kind == SpanKind::Consumer || under_a_consumer(trace, parent))
}

#[test]
fn every_request_leaves_one_tree() {
    let mut simulation = hotel(11);
    let mut spans = simulation.advance(Duration::from_secs(20));
    drain(&mut simulation, &mut spans);
    let traces = traces(&spans);
    assert!(traces.len() > 500, "{}", traces.len());
    let mut sizes = BTreeMap::new();
    for trace in traces.values() {
        check_tree(trace);
        let root = trace.values().find(|span| span.parent.is_none()).unwrap();
        let before = sizes.insert(root.operation.to_string(), trace.len());
        assert!(before.is_none_or(|before| before == trace.len()));
    }
    // One client and one server span for each call, a client span for each fetch.
    assert_eq!((sizes["GET /hotels"], sizes["GET /recommendations"]), (16, 7));
}

#[test]
fn names_are_those_of_the_testbed() {
    let spans = hotel(2).advance(Duration::from_secs(5));
    let named = |service: &str, kind, operation: &str, peer: Option<&str>| {
        spans.iter().any(|span| {
            (&*span.service, span.kind, &*span.operation, span.peer.as_deref())
                == (service, kind, operation, peer)
                && span.container.as_deref() == (service != LOAD_GENERATOR).then_some(service)
        })
    };
    assert!(named(LOAD_GENERATOR, SpanKind::Client, "GET /hotels", Some("frontend")));
    assert!(named("frontend", SpanKind::Server, "GET /hotels", None));
    assert!(named("frontend", SpanKind::Client, "search.nearby", Some("search")));
    assert!(named("geo", SpanKind::Server, "geo.nearby", None));
    assert!(named("rate", SpanKind::Client, "memcached-rate.get", Some("memcached-rate")));
}

/// With a core for everybody each span's own time is CPU time, so spans and counters must tell the same sum.
#[test]
fn counters_equal_the_work_that_spans_show() {
    let mut topology = Topology::shipped("hotel-reservation").unwrap();
    topology.services.iter_mut().for_each(|service| service.cpu_limit_cores = 1000.0);
    topology.stores.iter_mut().for_each(|store| store.cpu_limit_cores = 1000.0);
    let config = SimConfig { seed: 4, node_cores: 1000.0, hop_delay: Duration::ZERO, ..SimConfig::default() };
    let mut simulation = Simulation::new(&topology, config).unwrap();
    let mut spans = simulation.advance(Duration::from_secs(30));
    drain(&mut simulation, &mut spans);
    let mut own_seconds: BTreeMap<&str, f64> = BTreeMap::new();
    for span in &spans {
        let seconds = span.duration_nanos() as f64 / 1e9;
        match (span.kind, span.peer.as_deref()) {
            (SpanKind::Server, _) => *own_seconds.entry(&span.service).or_default() += seconds,
            (_, Some(store)) if store.starts_with("memcached") => {
                *own_seconds.entry(store).or_default() += seconds;
                *own_seconds.entry(&span.service).or_default() -= seconds;
            }
            // The callee's own server span is as long: the network takes no time.
            _ if &*span.service != LOAD_GENERATOR => {
                *own_seconds.entry(&span.service).or_default() -= seconds;
            }
            _ => {}
        }
    }
    for (container, own) in own_seconds {
        let counted = used(&simulation, container);
        assert!(
            (own - counted).abs() < 1e-5 && counted > 0.0,
            "{container}: {own} s in spans, {counted} s counted"
        );
    }
}

const NOTIFYING: &str = r#"
    name = "notifying"
    service = [{ name = "a", workers = 4, cpu_limit_cores = 1.0 }, { name = "b", workers = 1, cpu_limit_cores = 1.0 }]
    operation = [
        { name = "a.post", steps = [{ cpu_us = 100.0 }, { call = ["b.get", "b.get"] }, { notify = ["b.log"] }, { cpu_us = 50.0 }] },
        { name = "b.get", steps = [{ cpu_us = 1000.0 }] },
        { name = "b.log", steps = [{ cpu_us = 20000.0 }, { call = ["a.ok"] }] },
        { name = "a.ok", steps = [] },
    ]
    request = [{ name = "POST /", operation = "a.post", share = 1.0, objective = { percentile = 99.0, target_ms = 20.0 } }]
"#;

#[test]
fn background_work_outlives_the_reply_and_siblings_run_together() {
    let topology: Topology = NOTIFYING.parse().unwrap();
    let config = SimConfig { requests_per_second: 5.0, seed: 1, ..SimConfig::default() };
    let mut simulation = Simulation::new(&topology, config).unwrap();
    let mut spans = simulation.advance(Duration::from_secs(20));
    drain(&mut simulation, &mut spans);
    let traces = traces(&spans);
    let mut outlived = 0;
    for trace in traces.values() {
        check_tree(trace);
        // Root, entry, two calls, the notification, and the empty call from within it.
        assert_eq!(trace.len(), 2 + 4 + 2 + 2);
        let root = trace.values().find(|span| span.parent.is_none()).unwrap();
        let consumer = trace.values().find(|span| span.kind == SpanKind::Consumer).unwrap();
        outlived += usize::from(consumer.end > root.end);
        let calls: Vec<_> = trace
            .values()
            .filter(|span| span.kind == SpanKind::Client && &*span.operation == "b.get")
            .collect();
        assert_eq!(calls[0].start, calls[1].start);
    }
    assert!(outlived > traces.len() / 2, "{outlived} of {}", traces.len());
}

/// A throttled container cannot even take the call: the server's span begins when it next runs.
#[test]
fn a_call_to_a_throttled_container_is_accepted_when_that_runs_again() {
    let config = SimConfig { seed: 6, requests_per_second: 20.0, ..SimConfig::default() };
    let mut simulation = single(16, 0.1, 9000.0, config);
    let spans = simulation.advance(Duration::from_secs(30));
    let traces = traces(&spans);
    let late = traces.values().filter_map(|trace| {
        let server = trace.values().find(|span| span.kind == SpanKind::Server)?;
        let client = trace.get(&server.parent?)?;
        Some(server.start.since(client.start))
    });
    let late: Vec<_> = late.filter(|late| !late.is_zero()).collect();
    assert!(late.len() > 100, "{}", late.len());
    assert!(late.iter().all(|late| *late <= Duration::from_millis(100)));
}

#[test]
fn arrivals_beyond_the_bound_are_dropped_and_counted() {
    let config = SimConfig { max_in_flight: 10, requests_per_second: 200.0, ..SimConfig::default() };
    let mut simulation = single(2, 0.1, 10_000.0, config);
    simulation.advance(Duration::from_secs(10));
    assert_eq!(simulation.in_flight().count(), 10);
    assert!(simulation.dropped_arrivals() > 1500, "{}", simulation.dropped_arrivals());
}
