//! The critical path of a trace: the one span that the request waited for, at every instant.
//!
//! Walks back from the end of the root. The child that ends last at or before the cursor is on the path (of two that end
//! together, the one that began first); the gap after it is the parent's own time; the cursor moves to that child's
//! start, and the child is walked likewise. Pure, and O(n log n) in the spans of the trace: each span's children are
//! sorted once. Must not know what the path is used for.

use std::cmp::Reverse;

use ballast_api::{clock::UnixNanos, trace::SpanKind};

use crate::traces::Trace;

/// A stretch of time during which the request waited for one span's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The span: its index in [`Trace::nodes`].
    pub node: usize,
    /// Begin.
    pub start: UnixNanos,
    /// End, after `start`.
    pub end: UnixNanos,
}

impl Section {
    /// How long it is, in nanoseconds.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        self.end.0 - self.start.0
    }
}

/// The sections of the critical path, from the end of the root backwards: they follow each other without gap or overlap,
/// so their lengths sum to the root's duration.
#[must_use]
pub fn critical_path(trace: &Trace) -> Vec<Section> {
    let mut sections = Vec::with_capacity(2 * trace.nodes().len());
    // A stack of our own: a trace may be deeper than the program's.
    let mut walks = vec![Walk::of(trace, 0)];
    while let Some(walk) = walks.last_mut() {
        match walk.next_child(trace) {
            Some(child) => {
                let Interval { start, end } = interval(trace, child);
                walk.own_time_since(end, &mut sections);
                walk.cursor = start;
                walks.push(Walk::of(trace, child));
            }
            None => {
                let start = interval(trace, walk.node).start;
                walk.own_time_since(start, &mut sections);
                walks.pop();
            }
        }
    }
    sections
}

struct Interval {
    start: UnixNanos,
    end: UnixNanos,
}

fn interval(trace: &Trace, node: usize) -> Interval {
    let node = &trace.nodes()[node];
    Interval { start: node.start, end: node.end }
}

/// One span being walked backwards.
struct Walk {
    node: usize,
    /// What lies after it is done.
    cursor: UnixNanos,
    /// The children that may be on the path, the last to end first.
    children: std::vec::IntoIter<usize>,
}

impl Walk {
    fn of(trace: &Trace, index: usize) -> Self {
        let nodes = trace.nodes();
        let parent = &nodes[index];
        let mut children: Vec<usize> =
            parent.children.iter().copied().filter(|child| may_block(trace, index, *child)).collect();
        children.sort_unstable_by_key(|child| {
            let child = &nodes[*child];
            (Reverse(child.end), child.start, child.span.id)
        });
        Self { node: index, cursor: parent.end, children: children.into_iter() }
    }

    /// The child that ends last at or before the cursor. The cursor only moves back, so a child passed by once is passed
    /// by for good.
    fn next_child(&mut self, trace: &Trace) -> Option<usize> {
        let cursor = self.cursor;
        self.children.find(|child| trace.nodes()[*child].end <= cursor)
    }

    fn own_time_since(&self, start: UnixNanos, sections: &mut Vec<Section>) {
        if start < self.cursor {
            sections.push(Section { node: self.node, start, end: self.cursor });
        }
    }
}

/// Whether the parent can have waited for the child. It has not for a message's receiver, which works on its own (a
/// reference FOLLOWS_FROM alone says no such thing); nor for a span of which nothing lies within the parent.
fn may_block(trace: &Trace, parent: usize, child: usize) -> bool {
    let (parent, child) = (&trace.nodes()[parent], &trace.nodes()[child]);
    let in_background = parent.span.kind == SpanKind::Producer && child.span.kind == SpanKind::Consumer;
    child.start < child.end && !in_background
}

#[cfg(test)]
mod tests;
