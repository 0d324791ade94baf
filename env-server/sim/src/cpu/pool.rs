//! Tasks of equal weight that share one rate (processor sharing).
//!
//! Virtual time ("service that every task has had") makes a change of rate cost nothing: a task is done when virtual time
//! reaches the tag it was given. Must not know quotas, nor who else runs.

use std::{cmp::Ordering, collections::BinaryHeap};

use super::Task;
use crate::time::float;

/// A task is done when less than this is left, in nanoseconds: the rounding of sums.
const DONE_NS: f64 = 1e-3;

#[derive(Debug, Default)]
pub(super) struct Pool {
    tasks: BinaryHeap<Entry>,
    /// CPU time that each task has had since the pool last was empty.
    served_ns: f64,
    started: u64,
}

/// A task and the virtual time at which it is done; the earliest is the greatest, for the heap.
#[derive(Debug)]
struct Entry {
    tag_ns: f64,
    order: u64,
    task: Task,
}

impl Pool {
    pub(super) fn start(&mut self, task: Task, work_ns: f64) {
        if self.tasks.is_empty() {
            // Small numbers keep the sums exact to a fraction of a nanosecond.
            self.served_ns = 0.0;
        }
        self.started += 1;
        self.tasks.push(Entry { tag_ns: self.served_ns + work_ns, order: self.started, task });
    }

    pub(super) fn cancel(&mut self, gone: impl Fn(Task) -> bool) {
        self.tasks.retain(|entry| !gone(entry.task));
    }

    /// Gives every task so much CPU time, and answers the sum.
    pub(super) fn serve(&mut self, each_ns: f64) -> f64 {
        self.served_ns += each_ns;
        each_ns * self.runnable()
    }

    /// Hands over the tasks that are done.
    pub(super) fn take_finished(&mut self, mut each: impl FnMut(Task)) {
        while self.tasks.peek().is_some_and(|entry| entry.tag_ns <= self.served_ns + DONE_NS) {
            if let Some(entry) = self.tasks.pop() {
                each(entry.task);
            }
        }
    }

    /// CPU time that every task gets before the first is done; infinite without tasks.
    pub(super) fn first_done_ns(&self) -> f64 {
        self.tasks.peek().map_or(f64::INFINITY, |first| first.tag_ns - self.served_ns)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// How many tasks there are.
    pub(super) fn runnable(&self) -> f64 {
        float(self.tasks.len() as u64)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.tag_ns.total_cmp(&self.tag_ns).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
