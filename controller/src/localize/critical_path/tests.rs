//! The path against a brute-force oracle, and the cases that published algorithms get wrong.

use ballast_api::trace::{Span, SpanKind};
use proptest::prelude::*;

use super::*;
use crate::traces::trace::tests::span;

/// The path as (span id, start, end), from the end backwards.
fn path(spans: Vec<Span>) -> Vec<(u64, u64, u64)> {
    let trace = Trace::assemble(spans).unwrap();
    let id = |section: &Section| trace.nodes()[section.node].span.id.0;
    critical_path(&trace).iter().map(|section| (id(section), section.start.0, section.end.0)).collect()
}

fn of_kind(kind: SpanKind, span: Span) -> Span {
    Span { kind, ..span }
}

#[test]
fn children_in_sequence_leave_the_gaps_to_their_parent() {
    let spans = vec![span(1, 0, 0, 100), span(2, 1, 20, 40), span(3, 1, 50, 60)];
    assert_eq!(path(spans), [(1, 60, 100), (3, 50, 60), (1, 40, 50), (2, 20, 40), (1, 0, 20)]);
}

/// FIRM's Algorithm 1 lists what happens before after what happens later, and the other way round below a parallel call.
#[test]
fn firm_fault_one_the_order_is_that_of_time() {
    let spans = vec![
        span(1, 0, 0, 100),
        span(2, 1, 10, 40),
        span(3, 1, 50, 90),
        span(4, 3, 55, 70),
        span(5, 3, 70, 85),
    ];
    let path = path(spans);
    assert!(path.windows(2).all(|pair| pair[1].2 == pair[0].1), "{path:?}");
    assert_eq!(path.iter().map(|section| section.0).collect::<Vec<_>>(), [1, 3, 5, 4, 3, 1, 2, 1]);
}

/// FIRM's Algorithm 1 takes a sibling that overlaps the one that ends last as if it ran before it.
#[test]
fn firm_fault_two_overlapping_siblings_are_not_counted_twice() {
    let path = path(vec![span(1, 0, 0, 100), span(2, 1, 10, 60), span(3, 1, 40, 90)]);
    assert_eq!(path, [(1, 90, 100), (3, 40, 90), (1, 0, 40)]);
    assert_eq!(path.iter().map(|(_, start, end)| end - start).sum::<u64>(), 100);
}

#[test]
fn a_consumer_of_a_producer_is_in_the_background_with_all_below() {
    let message = |producer, consumer| {
        path(vec![
            of_kind(producer, span(1, 0, 0, 30)),
            of_kind(consumer, span(2, 1, 10, 20)),
            span(3, 2, 12, 14),
        ])
    };
    assert_eq!(message(SpanKind::Producer, SpanKind::Consumer), [(1, 0, 30)]);
    // Either kind alone is waited for.
    for (parent, child) in [
        (SpanKind::Producer, SpanKind::Server),
        (SpanKind::Client, SpanKind::Consumer),
        (SpanKind::Internal, SpanKind::Internal),
    ] {
        assert_eq!(message(parent, child), [(1, 20, 30), (2, 14, 20), (3, 12, 14), (2, 10, 12), (1, 0, 10)]);
    }
}

/// OTLP says FOLLOWS_FROM by a link and the same parent: such a child is like any other, and is waited for when the
/// parent ends after it.
#[test]
fn follows_from_alone_is_no_background() {
    assert_eq!(path(vec![span(1, 0, 0, 30), span(2, 1, 10, 20)]), [(1, 20, 30), (2, 10, 20), (1, 0, 10)]);
}

#[test]
fn children_that_outlive_their_parent_are_clipped_not_dropped() {
    let spans = vec![span(1, 0, 1, 30), span(2, 1, 15, 35), span(3, 2, 20, 40)];
    assert_eq!(path(spans), [(3, 20, 30), (2, 15, 20), (1, 1, 15)]);
}

#[test]
fn a_child_that_began_before_its_parent_is_clipped() {
    let spans = vec![span(1, 0, 1, 30), span(2, 1, 15, 35), span(3, 2, 10, 25)];
    assert_eq!(path(spans), [(2, 25, 30), (3, 15, 25), (1, 1, 15)]);
    assert_eq!(path(vec![span(1, 0, 10, 30), span(2, 1, 5, 35)]), [(2, 10, 30)]);
}

#[test]
fn children_outside_their_parent_are_not_on_the_path() {
    let spans = vec![span(1, 0, 10, 30), span(2, 1, 1, 5), span(3, 1, 40, 80), span(4, 3, 50, 60)];
    assert_eq!(path(spans), [(1, 10, 30)]);
}

#[test]
fn of_two_that_end_together_the_first_to_begin_is_on_the_path() {
    let spans = |first, second| vec![span(1, 0, 0, 50), span(first, 1, 10, 40), span(second, 1, 20, 40)];
    assert_eq!(path(spans(2, 3)), [(1, 40, 50), (2, 10, 40), (1, 0, 10)]);
    assert_eq!(path(spans(3, 2)), [(1, 40, 50), (3, 10, 40), (1, 0, 10)]);
}

#[test]
fn of_two_equal_ones_the_smaller_id_is_on_the_path_in_whichever_order_they_came() {
    let mut spans = vec![span(1, 0, 0, 50), span(7, 1, 10, 40), span(3, 1, 10, 40)];
    let forward = path(spans.clone());
    spans.reverse();
    assert_eq!(forward, path(spans));
    assert_eq!(forward[1].0, 3);
}

#[test]
fn a_child_that_ends_where_the_next_begins_is_waited_for() {
    let spans = vec![span(1, 0, 0, 50), span(2, 1, 10, 20), span(3, 1, 20, 50)];
    assert_eq!(path(spans), [(3, 20, 50), (2, 10, 20), (1, 0, 10)]);
}

#[test]
fn a_span_without_duration_is_passed_by() {
    assert_eq!(path(vec![span(1, 0, 0, 50), span(2, 1, 50, 50), span(3, 1, 20, 20)]), [(1, 0, 50)]);
    assert_eq!(path(vec![span(1, 0, 9, 9)]), []);
}

#[test]
fn a_chain_of_any_depth_needs_no_recursion() {
    let spans = (1..=50_000).map(|id| span(id, id - 1, id, 200_000 - id)).collect();
    let total: u64 = path(spans).iter().map(|(_, start, end)| end - start).sum();
    assert_eq!(total, 200_000 - 2);
}

/// Spans 1..=n of which each is the child of an earlier one, at any times and of any kinds.
fn random_tree() -> impl Strategy<Value = Vec<Span>> {
    const KINDS: [SpanKind; 5] =
        [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    let one = (any::<prop::sample::Index>(), 0u64..60, 0u64..30, prop::sample::select(&KINDS));
    prop::collection::vec(one, 1..25).prop_map(|spans| {
        let numbered = (1usize..).zip(spans);
        numbered
            .map(|(id, (parent, start, length, kind))| {
                let parent = if id == 1 { 0 } else { 1 + parent.index(id - 1) };
                of_kind(kind, span(id as u64, parent as u64, start, start + length))
            })
            .collect()
    })
}

/// The owner of each instant of the root, by brute force: steps back one nanosecond at a time, and enters a child
/// whenever it stands at that child's end.
fn owners_by_stepping(trace: &Trace) -> Vec<u64> {
    let nodes = trace.nodes();
    let background = |child: usize| {
        let parent = nodes[child].parent.unwrap();
        (nodes[parent].span.kind, nodes[child].span.kind) == (SpanKind::Producer, SpanKind::Consumer)
    };
    let mut owners = Vec::new();
    let mut inside = vec![0];
    let mut now = nodes[0].end.0;
    while now > nodes[0].start.0 {
        while let Some(current) = inside.last().copied().filter(|current| nodes[*current].start.0 == now) {
            assert_ne!(current, 0);
            inside.pop();
        }
        let entered = |inside: &[usize]| {
            (1..nodes.len())
                .filter(|child| nodes[*child].parent == inside.last().copied())
                .filter(|child| {
                    nodes[*child].end.0 == now && nodes[*child].start.0 < now && !background(*child)
                })
                .min_by_key(|child| (nodes[*child].start, nodes[*child].span.id))
        };
        while let Some(child) = entered(&inside) {
            inside.push(child);
        }
        owners.push(nodes[*inside.last().unwrap()].span.id.0);
        now -= 1;
    }
    owners
}

proptest! {
    #[test]
    fn exclusive_times_sum_to_the_duration_of_the_root(spans in random_tree()) {
        let trace = Trace::assemble(spans).unwrap();
        let path = critical_path(&trace);
        prop_assert_eq!(path.iter().map(Section::nanos).sum::<u64>(), trace.duration_nanos());
        let mut cursor = trace.root().end;
        for section in path {
            prop_assert_eq!(section.end, cursor);
            prop_assert!(section.start < section.end);
            cursor = section.start;
        }
    }

    #[test]
    fn agrees_with_stepping_back_instant_by_instant(spans in random_tree()) {
        let trace = Trace::assemble(spans).unwrap();
        let owners: Vec<u64> = critical_path(&trace)
            .iter()
            .flat_map(|section| {
                let owner = trace.nodes()[section.node].span.id.0;
                (section.start.0..section.end.0).map(move |_| owner)
            })
            .collect();
        prop_assert_eq!(owners, owners_by_stepping(&trace));
    }

    #[test]
    fn the_order_in_which_spans_came_does_not_matter(spans in random_tree().prop_shuffle()) {
        let forward = path(spans.clone());
        prop_assert_eq!(forward, path(spans.into_iter().rev().collect()));
    }
}
