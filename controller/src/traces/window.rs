//! The sliding window: spans of many processes come in any order, complete traces of the last seconds go out.
//!
//! Bounded in spans and traces. Must not read a clock: the time is passed in.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ballast_api::{
    clock::UnixNanos,
    trace::{Span, SpanId, SpanKind, TraceId},
};

use super::trace::Trace;

/// How long spans without a root are kept after the last one came: longer than any request should take, as the parts
/// of a slow request are reported while it goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long and how much the window remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowConfig {
    /// A trace is in the window for so long after its root ended.
    pub length: Duration,
    /// Time given to the other spans of a trace after its root arrived.
    pub grace: Duration,
    /// Most spans kept; beyond, the traces that arrived first are dropped.
    pub max_spans: usize,
    /// Most traces kept; beyond, the traces that arrived first are dropped.
    pub max_traces: usize,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            length: Duration::from_secs(5),
            grace: Duration::from_secs(1),
            max_spans: 200_000,
            max_traces: 20_000,
        }
    }
}

/// What happened to the spans so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowCounts {
    /// Spans taken in.
    pub accepted: u64,
    /// Spans that were there already.
    pub duplicates: u64,
    /// Spans dropped for lack of room, with their traces.
    pub dropped_spans: u64,
    /// Traces dropped for lack of room.
    pub dropped_traces: u64,
    /// Traces that grew too old without a root.
    pub rootless_traces: u64,
}

/// Spans on their way to become traces, and the traces of the last seconds.
#[derive(Debug)]
pub struct TraceWindow {
    config: WindowConfig,
    pending: HashMap<TraceId, Pending>,
    /// Traces in the order of their first arrival, for eviction.
    arrivals: BTreeMap<u64, TraceId>,
    next_arrival: u64,
    spans: usize,
    counts: WindowCounts,
}

#[derive(Debug)]
struct Pending {
    arrival: u64,
    spans: Vec<Span>,
    known: HashSet<SpanId>,
    root_arrived: Option<UnixNanos>,
    last_arrived: UnixNanos,
    /// The tree of `spans`; absent when some came since it was made.
    assembled: Option<Arc<Trace>>,
}

impl TraceWindow {
    /// An empty window.
    #[must_use]
    pub fn new(config: WindowConfig) -> Self {
        Self {
            config,
            pending: HashMap::new(),
            arrivals: BTreeMap::new(),
            next_arrival: 0,
            spans: 0,
            counts: WindowCounts::default(),
        }
    }

    /// Takes spans that arrived at `now`. One that is there already is ignored.
    pub fn insert(&mut self, spans: impl IntoIterator<Item = Span>, now: UnixNanos) {
        for span in spans {
            self.insert_one(span, now);
        }
    }

    fn insert_one(&mut self, span: Span, now: UnixNanos) {
        let trace = span.trace;
        let (next_arrival, arrivals) = (&mut self.next_arrival, &mut self.arrivals);
        let pending = self.pending.entry(trace).or_insert_with(|| {
            let arrival = *next_arrival;
            *next_arrival += 1;
            arrivals.insert(arrival, trace);
            Pending::new(arrival, now)
        });
        if !pending.take(span, now) {
            self.counts.duplicates += 1;
            return;
        }
        self.counts.accepted += 1;
        self.spans += 1;
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.spans > self.config.max_spans || self.pending.len() > self.config.max_traces {
            let Some((_, oldest)) = self.arrivals.pop_first() else { return };
            let Some(dropped) = self.pending.remove(&oldest) else { return };
            self.spans -= dropped.spans.len();
            self.counts.dropped_spans += dropped.spans.len() as u64;
            self.counts.dropped_traces += 1;
        }
    }

    /// The complete traces whose root ended within the window's length before `now`, in the order of their roots' ends.
    ///
    /// A trace is complete when its root arrived at least a grace ago. Where a program that exports no spans began the
    /// request, the answering span that it called stands for the root, once nothing came for two graces; any other span
    /// without its parent is a part of a request that still goes on. Spans that come later still join their trace.
    pub fn traces(&mut self, now: UnixNanos) -> Vec<Arc<Trace>> {
        self.forget_old(now);
        let (oldest_end, grace) = (now.minus(self.config.length), self.config.grace);
        let complete = self.pending.values_mut().filter(|pending| pending.is_complete(now, grace));
        let mut traces: Vec<Arc<Trace>> = complete
            .filter_map(Pending::assemble)
            .filter(|trace| is_entry(&trace.root().span))
            .filter(|trace| trace.root().end >= oldest_end && trace.root().end <= now)
            .collect();
        traces.sort_by_key(|trace| (trace.root().end, trace.root().span.trace));
        traces
    }

    /// Drops what can be in no later window: a trace into which nothing came for so long that its root ended outside.
    fn forget_old(&mut self, now: UnixNanos) {
        let with_root = self.config.length + 3 * self.config.grace;
        let without_root = with_root.max(PATIENCE);
        let (mut spans, mut rootless) = (0, 0);
        let arrivals = &mut self.arrivals;
        self.pending.retain(|_, pending| {
            let quiet_allowed = if pending.root_arrived.is_some() { with_root } else { without_root };
            let keep = now.since(pending.last_arrived) <= quiet_allowed;
            if !keep {
                arrivals.remove(&pending.arrival);
                spans += pending.spans.len();
                rootless += u64::from(pending.root_arrived.is_none());
            }
            keep
        });
        self.spans -= spans;
        self.counts.rootless_traces += rootless;
    }

    /// What happened to the spans so far.
    #[must_use]
    pub fn counts(&self) -> WindowCounts {
        self.counts
    }
}

/// Whether a request can begin with this span: it has no parent, or answers one that is not reported.
fn is_entry(root: &Span) -> bool {
    root.parent.is_none() || matches!(root.kind, SpanKind::Server | SpanKind::Consumer)
}

impl Pending {
    fn new(arrival: u64, now: UnixNanos) -> Self {
        Self {
            arrival,
            spans: Vec::new(),
            known: HashSet::new(),
            root_arrived: None,
            last_arrived: now,
            assembled: None,
        }
    }

    /// Whether the span is new.
    fn take(&mut self, span: Span, now: UnixNanos) -> bool {
        if !self.known.insert(span.id) {
            return false;
        }
        if span.parent.is_none() {
            self.root_arrived.get_or_insert(now);
        }
        self.last_arrived = now;
        self.assembled = None;
        self.spans.push(span);
        true
    }

    fn is_complete(&self, now: UnixNanos, grace: Duration) -> bool {
        match self.root_arrived {
            Some(arrived) => now.since(arrived) >= grace,
            None => now.since(self.last_arrived) >= 2 * grace,
        }
    }

    fn assemble(&mut self) -> Option<Arc<Trace>> {
        if self.assembled.is_none() {
            self.assembled = Trace::assemble(self.spans.clone()).map(Arc::new);
        }
        self.assembled.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traces::trace::tests::span;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: f64) -> UnixNanos {
        UnixNanos(100 * SECOND).plus(Duration::from_secs_f64(seconds))
    }

    /// A span of trace `trace` that lies between two times.
    fn spanning(trace: u128, id: u64, parent: u64, start: f64, end: f64) -> Span {
        Span { trace: TraceId(trace), ..span(id, parent, at(start).0, at(end).0) }
    }

    fn window() -> TraceWindow {
        TraceWindow::new(WindowConfig { max_spans: 6, max_traces: 3, ..WindowConfig::default() })
    }

    #[test]
    fn a_trace_appears_a_grace_after_its_root_and_leaves_when_the_window_passed() {
        let mut window = window();
        window.insert([spanning(7, 2, 1, 0.1, 0.2)], at(0.3));
        window.insert([spanning(7, 1, 0, 0.0, 0.5)], at(0.6));
        assert!(window.traces(at(1.5)).is_empty());
        let [trace] = &window.traces(at(1.6))[..] else { panic!("one trace expected") };
        assert_eq!(trace.nodes().len(), 2);
        assert_eq!(window.traces(at(5.5)).len(), 1);
        assert!(window.traces(at(5.51)).is_empty());
        assert_eq!(window.counts().rootless_traces, 0);
    }

    #[test]
    fn a_late_span_joins_its_trace() {
        let mut window = window();
        window.insert([spanning(7, 1, 0, 0.0, 0.5)], at(0.6));
        assert_eq!(window.traces(at(2.0))[0].nodes().len(), 1);
        window.insert([spanning(7, 2, 1, 0.1, 0.2)], at(2.1));
        assert_eq!(window.traces(at(2.2))[0].nodes().len(), 2);
    }

    #[test]
    fn a_trace_is_assembled_once_while_nothing_new_comes() {
        let mut window = window();
        window.insert([spanning(7, 1, 0, 0.0, 0.5)], at(0.6));
        let first = window.traces(at(2.0));
        assert!(Arc::ptr_eq(&first[0], &window.traces(at(3.0))[0]));
    }

    #[test]
    fn duplicates_are_ignored_and_counted() {
        let mut window = window();
        window.insert([spanning(7, 1, 0, 0.0, 0.5), spanning(7, 1, 0, 0.0, 0.5)], at(0.6));
        assert_eq!((window.counts().accepted, window.counts().duplicates), (1, 1));
        assert_eq!(window.traces(at(2.0))[0].nodes().len(), 1);
    }

    #[test]
    fn a_root_that_nobody_reports_is_stood_for_after_two_graces() {
        let mut window = window();
        let entry = Span { kind: SpanKind::Server, ..spanning(7, 2, 99, 0.1, 0.4) };
        window.insert([entry, spanning(7, 3, 2, 0.2, 0.3)], at(0.5));
        assert!(window.traces(at(2.4)).is_empty());
        assert_eq!(window.traces(at(2.5))[0].root().span.id, SpanId(2));
        assert!(window.traces(at(31.0)).is_empty());
        assert_eq!(window.counts().rootless_traces, 1);
    }

    #[test]
    fn the_first_parts_of_a_slow_request_wait_for_the_others() {
        let mut window = window();
        window.insert([Span { kind: SpanKind::Client, ..spanning(7, 2, 1, 0.1, 0.4) }], at(0.5));
        assert!(window.traces(at(4.0)).is_empty());
        window.insert([spanning(7, 1, 0, 0.0, 19.0)], at(19.1));
        assert_eq!(window.traces(at(20.1))[0].nodes().len(), 2);
    }

    #[test]
    fn the_oldest_traces_make_room() {
        let mut window = window();
        for trace in 1..=4 {
            window.insert([spanning(trace, 1, 0, 0.0, 0.5)], at(0.6));
        }
        assert_eq!((window.counts().dropped_traces, window.counts().dropped_spans), (1, 1));
        let kept: Vec<u128> = window.traces(at(2.0)).iter().map(|trace| trace.root().span.trace.0).collect();
        assert_eq!(kept, [2, 3, 4]);
        window.insert((2..=6).map(|id| spanning(4, id, 1, 0.1, 0.2)), at(2.0));
        assert_eq!(window.traces(at(2.1)).len(), 1);
    }

    #[test]
    fn a_root_of_the_future_waits() {
        let mut window = window();
        window.insert([spanning(7, 1, 0, 0.0, 9.0)], at(0.0));
        assert!(window.traces(at(2.0)).is_empty());
    }

    proptest! {
        #[test]
        fn never_holds_more_than_its_bounds(
            arrivals in prop::collection::vec((1u128..8, 1u64..6, 0u64..6, 0.0f64..20.0), 0..200)
        ) {
            let mut window = window();
            for (trace, id, parent, time) in arrivals {
                window.insert([spanning(trace, id, parent, 0.0, time)], at(time));
                prop_assert!(window.spans <= 6 && window.pending.len() <= 3);
                prop_assert_eq!(window.pending.len(), window.arrivals.len());
                prop_assert_eq!(window.spans, window.pending.values().map(|p| p.spans.len()).sum::<usize>());
                window.traces(at(time));
            }
        }
    }
}
