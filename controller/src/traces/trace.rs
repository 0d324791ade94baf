//! A trace: the spans of one request as a tree, each clipped into its parent.
//!
//! Must not know how spans travel, nor what the tree is asked for.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ballast_api::{
    clock::UnixNanos,
    trace::{Span, SpanId},
};

/// The tree of one request. There is always a root; it is node 0, and every child comes after its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    nodes: Vec<Node>,
    left_out: usize,
}

/// One span in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// As it was reported.
    pub span: Span,
    /// Begin, clipped into the parent.
    pub start: UnixNanos,
    /// End, clipped into the parent. Equal to `start` where nothing of the span lies inside its parent.
    pub end: UnixNanos,
    /// Whose child it is; absent for the root.
    pub parent: Option<usize>,
    /// Its children, in no order.
    pub children: Vec<usize>,
}

impl Node {
    /// The container that did the work; the service stands for it where the source does not say.
    #[must_use]
    pub fn container(&self) -> &Arc<str> {
        self.span.container.as_ref().unwrap_or(&self.span.service)
    }
}

impl Trace {
    /// Makes a tree of the spans of one request, given in any order. A span given twice counts once.
    ///
    /// The root is the span without a parent; of several, the one that starts first. Where no span is without one, the
    /// root was not reported, and the span that starts first among those whose parent is absent stands for it.
    ///
    /// Any other span whose parent is absent becomes a child of the root: what it did happened within the request, and
    /// where a sibling covers it, the critical path passes it by. Spans that are their own ancestors are left out.
    ///
    /// Answers `None` where there is no root: no spans at all, or nothing but circles.
    #[must_use]
    pub fn assemble(spans: Vec<Span>) -> Option<Self> {
        let mut seen = HashSet::with_capacity(spans.len());
        let spans: Vec<Span> = spans.into_iter().filter(|span| seen.insert(span.id)).collect();
        let root = root_of(&spans, &seen)?;
        let order = breadth_first(&spans, root, &children_by_parent(&spans, root, &seen));
        let left_out = spans.len() - order.len();
        Some(Self { nodes: place(spans, &order), left_out })
    }

    /// The request itself.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.nodes[0]
    }

    /// The request type: what the root did.
    #[must_use]
    pub fn request(&self) -> &Arc<str> {
        &self.root().span.operation
    }

    /// How long the request took, in nanoseconds.
    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        self.root().span.duration_nanos()
    }

    /// All spans of the tree, parents before children, the root first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Spans that hang on no path to the root (circles).
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

fn root_of(spans: &[Span], known: &HashSet<SpanId>) -> Option<usize> {
    let first = |candidate: &dyn Fn(&Span) -> bool| {
        (0..spans.len())
            .filter(|index| candidate(&spans[*index]))
            .min_by_key(|index| (spans[*index].start, Reverse(spans[*index].end), spans[*index].id))
    };
    first(&|span| span.parent.is_none())
        .or_else(|| first(&|span| span.parent.is_some_and(|parent| !known.contains(&parent))))
}

/// The children of each span; those without a known parent belong to the root.
fn children_by_parent(spans: &[Span], root: usize, known: &HashSet<SpanId>) -> HashMap<SpanId, Vec<usize>> {
    let mut children: HashMap<SpanId, Vec<usize>> = HashMap::new();
    for (index, span) in spans.iter().enumerate().filter(|(index, _)| *index != root) {
        let parent = span.parent.filter(|parent| known.contains(parent)).unwrap_or(spans[root].id);
        children.entry(parent).or_default().push(index);
    }
    children
}

/// Pairs of (span, position of its parent in this order). A span has one parent, so none is met twice.
fn breadth_first(
    spans: &[Span],
    root: usize,
    children: &HashMap<SpanId, Vec<usize>>,
) -> Vec<(usize, Option<usize>)> {
    let mut order = vec![(root, None)];
    let mut position = 0;
    while position < order.len() {
        let span = order[position].0;
        let below = children.get(&spans[span].id).into_iter().flatten();
        order.extend(below.map(|child| (*child, Some(position))));
        position += 1;
    }
    order
}

fn place(spans: Vec<Span>, order: &[(usize, Option<usize>)]) -> Vec<Node> {
    let mut spans: Vec<Option<Span>> = spans.into_iter().map(Some).collect();
    let mut nodes: Vec<Node> = Vec::with_capacity(order.len());
    for (index, parent) in order {
        let Some(span) = spans[*index].take() else { continue };
        let (start, end) = match parent.map(|parent| &nodes[parent]) {
            None => (span.start, span.end.max(span.start)),
            Some(parent) => {
                let start = span.start.clamp(parent.start, parent.end);
                (start, span.end.clamp(start, parent.end))
            }
        };
        if let Some(parent) = parent {
            let position = nodes.len();
            nodes[*parent].children.push(position);
        }
        nodes.push(Node { span, start, end, parent: *parent, children: Vec::new() });
    }
    nodes
}

#[cfg(test)]
pub(crate) mod tests {
    use ballast_api::trace::{SpanKind, TraceId};

    use super::*;

    /// A span of service `s<id>` from `start` to `end`; `parent` 0 means none.
    pub(crate) fn span(id: u64, parent: u64, start: u64, end: u64) -> Span {
        Span {
            trace: TraceId(1),
            id: SpanId(id),
            parent: (parent != 0).then_some(SpanId(parent)),
            kind: SpanKind::Internal,
            service: format!("s{id}").into(),
            container: None,
            operation: format!("op{id}").into(),
            peer: None,
            start: UnixNanos(start),
            end: UnixNanos(end),
            failed: false,
        }
    }

    fn ids(trace: &Trace) -> Vec<u64> {
        trace.nodes().iter().map(|node| node.span.id.0).collect()
    }

    fn times(trace: &Trace, id: u64) -> (u64, u64) {
        let node = trace.nodes().iter().find(|node| node.span.id.0 == id).unwrap();
        (node.start.0, node.end.0)
    }

    #[test]
    fn spans_in_any_order_make_the_same_tree() {
        let forward = vec![span(1, 0, 0, 100), span(2, 1, 10, 90), span(3, 2, 20, 80)];
        let mut backward = forward.clone();
        backward.reverse();
        assert_eq!(Trace::assemble(forward), Trace::assemble(backward));
    }

    #[test]
    fn a_duplicate_counts_once() {
        let trace = Trace::assemble(vec![span(1, 0, 0, 9), span(2, 1, 1, 5), span(2, 1, 1, 5)]).unwrap();
        assert_eq!((ids(&trace), trace.left_out()), (vec![1, 2], 0));
    }

    #[test]
    fn a_span_whose_parent_is_absent_hangs_on_the_root() {
        let trace = Trace::assemble(vec![span(3, 77, 10, 20), span(1, 0, 0, 100)]).unwrap();
        assert_eq!(trace.root().children, [1]);
    }

    #[test]
    fn without_a_root_the_first_orphan_stands_for_it() {
        let trace =
            Trace::assemble(vec![span(5, 77, 30, 40), span(4, 77, 10, 90), span(6, 4, 20, 30)]).unwrap();
        assert_eq!(trace.root().span.id, SpanId(4));
        assert_eq!(trace.nodes().len(), 3);
    }

    #[test]
    fn circles_are_left_out_and_alone_make_no_trace() {
        let circle = [span(2, 3, 0, 9), span(3, 2, 0, 9), span(4, 4, 0, 9)];
        assert_eq!(Trace::assemble(circle.to_vec()), None);
        assert_eq!(Trace::assemble(vec![]), None);
        let mut spans = circle.to_vec();
        spans.push(span(1, 0, 0, 9));
        let trace = Trace::assemble(spans).unwrap();
        assert_eq!((ids(&trace), trace.left_out()), (vec![1], 3));
    }

    #[test]
    fn children_are_clipped_into_what_their_parent_was_clipped_to() {
        let trace =
            Trace::assemble(vec![span(1, 0, 10, 100), span(2, 1, 5, 150), span(3, 2, 7, 160)]).unwrap();
        assert_eq!((times(&trace, 2), times(&trace, 3)), ((10, 100), (10, 100)));
    }

    #[test]
    fn a_child_outside_its_parent_keeps_no_time() {
        let spans = vec![span(1, 0, 10, 30), span(2, 1, 1, 5), span(3, 1, 40, 50), span(4, 3, 41, 45)];
        let trace = Trace::assemble(spans).unwrap();
        for id in [2, 3, 4] {
            let (start, end) = times(&trace, id);
            assert_eq!(start, end, "span {id}");
        }
    }

    #[test]
    fn a_chain_as_long_as_the_window_is_no_recursion() {
        let spans = (1..=50_000).map(|id| span(id, id - 1, id, 200_000 - id)).collect();
        assert_eq!(Trace::assemble(spans).unwrap().nodes().len(), 50_000);
    }
}
