//! Traces per second through the critical path: trees like those of the hotel-reservation topology.

use std::sync::Arc;

use ballast_api::{
    clock::UnixNanos,
    trace::{Span, SpanId, SpanKind, TraceId},
};
use ballast_controller::{
    localize::{PathTimes, critical_path},
    traces::Trace,
};
use divan::{Bencher, black_box, counter::ItemsCount};

/// Traces of one iteration: a window of 5 s at 30 requests a second.
const TRACES: u64 = 150;

fn main() {
    divan::main();
}

/// The walk alone.
#[divan::bench]
fn critical_path_traces(bencher: Bencher<'_, '_>) {
    let traces = window();
    bencher
        .counter(ItemsCount::new(traces.len()))
        .bench(|| traces.iter().map(|trace| critical_path(black_box(trace)).len()).sum::<usize>());
}

/// From loose spans to each container's time.
#[divan::bench]
fn assembled_and_charged_traces(bencher: Bencher<'_, '_>) {
    let spans: Vec<Vec<Span>> = (0..TRACES).map(|trace| request(trace).spans).collect();
    bencher.counter(ItemsCount::new(spans.len())).with_inputs(|| spans.clone()).bench_values(|spans| {
        let traces = spans.into_iter().filter_map(Trace::assemble);
        traces.map(|trace| PathTimes::of(&trace).path_nanos.len()).sum::<usize>()
    });
}

fn window() -> Vec<Trace> {
    (0..TRACES).filter_map(|trace| Trace::assemble(request(trace).spans)).collect()
}

/// Six in ten search (20 spans), the others recommend (8 spans).
fn request(trace: u64) -> Request {
    let mut request = Request { trace, spans: Vec::new(), now: 1_000_000 * trace };
    if trace % 10 < 6 {
        request.served(None, "frontend", |request, frontend| {
            request.call(frontend, "search", |request, search| {
                request.call(search, "geo", |_, _| {});
                request.call(search, "rate", |request, rate| request.fetch(rate, "memcached-rate"));
            });
            request.call(frontend, "reservation", |request, reservation| {
                request.fetch(reservation, "memcached-reserve");
                request.fetch(reservation, "memcached-reserve");
            });
            request.call(frontend, "profile", |request, profile| request.fetch(profile, "memcached-profile"));
        });
    } else {
        request.served(None, "frontend", |request, frontend| {
            request.call(frontend, "recommendation", |_, _| {});
            request.call(frontend, "profile", |request, profile| request.fetch(profile, "memcached-profile"));
        });
    }
    request
}

/// A request being written down.
struct Request {
    trace: u64,
    spans: Vec<Span>,
    now: u64,
}

impl Request {
    fn span(
        &mut self,
        (parent, kind): (Option<SpanId>, SpanKind),
        service: &str,
        peer: Option<&str>,
        inside: impl FnOnce(&mut Self, SpanId),
    ) {
        let index = self.spans.len();
        let id = SpanId(index as u64 + 1);
        self.now += 50_000;
        self.spans.push(Span {
            trace: TraceId(u128::from(self.trace) + 1),
            id,
            parent,
            kind,
            service: service.into(),
            container: None,
            operation: service.into(),
            peer: peer.map(Into::into),
            start: UnixNanos(self.now),
            end: UnixNanos(self.now),
            failed: false,
        });
        inside(self, id);
        // Durations differ from trace to trace, as real ones do.
        self.now += 1_000_000 + (self.trace * 7_919 + index as u64 * 104_729) % 900_000;
        self.spans[index].end = UnixNanos(self.now);
    }

    fn served(&mut self, parent: Option<SpanId>, service: &str, inside: impl FnOnce(&mut Self, SpanId)) {
        self.span((parent, SpanKind::Server), service, None, inside);
    }

    fn call(&mut self, parent: SpanId, service: &str, inside: impl FnOnce(&mut Self, SpanId)) {
        let caller = self.service_of(parent);
        self.span((Some(parent), SpanKind::Client), &caller, Some(service), |request, client| {
            request.served(Some(client), service, inside);
        });
    }

    fn fetch(&mut self, parent: SpanId, store: &str) {
        let caller = self.service_of(parent);
        self.span((Some(parent), SpanKind::Client), &caller, Some(store), |_, _| {});
    }

    fn service_of(&self, span: SpanId) -> Arc<str> {
        self.spans[usize::try_from(span.0).unwrap_or(usize::MAX) - 1].service.clone()
    }
}
