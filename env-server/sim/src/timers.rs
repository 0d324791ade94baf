//! What happens at a known time: a heap of events, the earliest first, those of one time in the order they were made.
//!
//! Must not know what the events do.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::time::{NEVER, Nanos};

/// Something that happens later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A message arrives.
    Arrives(Message),
    /// A cycle of the injection with this key begins, or the injection ends.
    BurnerCycle(usize),
}

/// What travels between containers, about the call with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Message {
    /// To the callee.
    Request(usize),
    /// To the caller.
    Reply(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    made: u64,
}

impl Timers {
    pub(crate) fn at(&mut self, time: Nanos, event: Event) {
        self.made += 1;
        self.heap.push(Reverse((time, self.made, event)));
    }

    pub(crate) fn next(&self) -> Nanos {
        self.heap.peek().map_or(NEVER, |Reverse((time, ..))| *time)
    }

    /// The next event that is due at `now`.
    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<Event> {
        if self.next() > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, event))| event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_in_the_order_they_were_made() {
        let mut timers = Timers::default();
        for (time, key) in [(5, 1), (3, 2), (5, 0), (9, 3)] {
            timers.at(time, Event::BurnerCycle(key));
        }
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(5)).collect();
        assert_eq!(due, [2, 1, 0].map(Event::BurnerCycle));
        assert_eq!(timers.next(), 9);
    }
}
