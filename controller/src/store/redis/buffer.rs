//! What waits to be written: bounded in bytes, the oldest is dropped first, and every loss is counted.
//!
//! Must not know Redis.

use std::{
    collections::VecDeque,
    mem,
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ballast_api::{ContainerId, UnixNanos};
use serde::Serialize;
use tokio::sync::Notify;
use tracing::warn;

/// One thing to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A sample of a container.
    Sample { container: ContainerId, taken_at: UnixNanos, json: String },
    /// A line of the audit log.
    Audit { json: String },
}

impl Entry {
    /// With what the queue itself needs for it.
    fn bytes(&self) -> usize {
        let (Self::Sample { json, .. } | Self::Audit { json }) = self;
        size_of::<Self>() + json.len()
    }
}

/// What became of everything that was to be written, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SinkCounts {
    /// Whether the last attempt to write succeeded; false before the first.
    pub connected: bool,
    /// Entries that wait.
    pub buffered: usize,
    /// Their size, in bytes.
    pub buffered_bytes: usize,
    /// Entries confirmed by Redis.
    pub written: u64,
    /// Entries lost because the buffer was full.
    pub dropped: u64,
    /// Samples that Redis had already, or that were older than its newest of that container (a clock set back).
    pub not_newer: u64,
    /// Entries that Redis will never take, because their key holds something else.
    pub refused: u64,
}

/// A queue that forgets its oldest entries rather than grow.
pub(super) struct Buffer {
    capacity_bytes: usize,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    counts: SinkCounts,
    overflowing: bool,
}

impl Buffer {
    pub(super) fn new(capacity_bytes: usize) -> Self {
        Self { capacity_bytes, queue: Mutex::default(), filled: Notify::new() }
    }

    /// Takes one entry, at the price of the oldest. Never waits.
    pub(super) fn push(&self, entry: Entry) {
        let mut queue = self.lock();
        queue.bytes += entry.bytes();
        queue.entries.push_back(entry);
        self.drop_overflow(&mut queue);
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until there is something to take.
    pub(super) async fn filled(&self) {
        // A notification without a waiter is kept, so none is missed between the look and the wait.
        while self.lock().entries.is_empty() {
            self.filled.notified().await;
        }
    }

    /// The oldest entries, at most `most`.
    pub(super) fn take(&self, most: usize) -> Batch<'_> {
        let mut queue = self.lock();
        let count = queue.entries.len().min(most);
        let entries: Vec<_> = queue.entries.drain(..count).collect();
        queue.bytes -= entries.iter().map(Entry::bytes).sum::<usize>();
        Batch { buffer: self, entries }
    }

    pub(super) fn counts(&self) -> SinkCounts {
        let queue = self.lock();
        SinkCounts { buffered: queue.entries.len(), buffered_bytes: queue.bytes, ..queue.counts }
    }

    /// Changes the counts.
    pub(super) fn count(&self, change: impl FnOnce(&mut SinkCounts)) {
        change(&mut self.lock().counts);
    }

    fn put_back(&self, entries: Vec<Entry>) {
        let mut queue = self.lock();
        for entry in entries.into_iter().rev() {
            queue.bytes += entry.bytes();
            queue.entries.push_front(entry);
        }
        self.drop_overflow(&mut queue);
        drop(queue);
        self.filled.notify_one();
    }

    fn drop_overflow(&self, queue: &mut Queue) {
        let mut overflows = false;
        while queue.bytes > self.capacity_bytes
            && let Some(oldest) = queue.entries.pop_front()
        {
            queue.bytes -= oldest.bytes();
            queue.counts.dropped += 1;
            overflows = true;
        }
        if overflows && !mem::replace(&mut queue.overflowing, true) {
            warn!(
                capacity_bytes = self.capacity_bytes,
                "buffer for Redis is full: the oldest entries are dropped"
            );
        }
        if queue.bytes < self.capacity_bytes / 2 {
            queue.overflowing = false;
        }
    }

    /// Every change leaves the queue whole, so that a panic elsewhere has not broken it.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries on their way. Those that are still in it when it is dropped go back to where they came from.
pub(super) struct Batch<'a> {
    buffer: &'a Buffer,
    entries: Vec<Entry>,
}

impl Batch<'_> {
    /// Keeps only entries that must be tried again, by their position.
    pub(super) fn keep(&mut self, mut must_retry: impl FnMut(usize) -> bool) {
        let mut position = 0;
        self.entries.retain(|_| {
            position += 1;
            must_retry(position - 1)
        });
    }
}

impl Deref for Batch<'_> {
    type Target = [Entry];
    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            self.buffer.put_back(mem::take(&mut self.entries));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::Audit { json: text.to_owned() }
    }

    fn texts(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|(Entry::Audit { json } | Entry::Sample { json, .. })| json.as_str()).collect()
    }

    /// Room for `count` entries of one byte.
    fn room_for(count: usize) -> Buffer {
        Buffer::new(entry("x").bytes() * count)
    }

    #[test]
    fn the_oldest_are_dropped_and_counted() {
        let buffer = room_for(2);
        for text in ["a", "b", "c", "d"] {
            buffer.push(entry(text));
        }
        assert_eq!(buffer.counts().dropped, 2);
        let mut batch = buffer.take(9);
        assert_eq!(texts(&batch), ["c", "d"]);
        batch.keep(|_| false);
        drop(batch);
        assert_eq!((buffer.counts().buffered, buffer.counts().buffered_bytes), (0, 0));
    }

    #[test]
    fn an_unfinished_batch_goes_back_to_the_front() {
        let buffer = room_for(9);
        for text in ["a", "b", "c", "d"] {
            buffer.push(entry(text));
        }
        let mut batch = buffer.take(3);
        batch.keep(|position| position > 0);
        drop(batch);
        assert_eq!(texts(&buffer.take(9)), ["b", "c", "d"]);
    }

    #[test]
    fn what_came_meanwhile_is_worth_more_than_an_old_batch() {
        let buffer = room_for(2);
        buffer.push(entry("a"));
        let batch = buffer.take(9);
        buffer.push(entry("b"));
        buffer.push(entry("c"));
        drop(batch);
        assert_eq!(texts(&buffer.take(9)), ["b", "c"]);
    }

    #[test]
    fn an_entry_larger_than_all_room_is_lost_alone() {
        let buffer = room_for(1);
        buffer.push(entry(&"x".repeat(1000)));
        buffer.push(entry("a"));
        assert_eq!((buffer.counts().dropped, texts(&buffer.take(9))), (1, vec!["a"]));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_uncounted_and_the_bound_holds(
            steps in prop::collection::vec((0..30_usize, 0..4_usize, any::<bool>()), 0..200),
        ) {
            let buffer = room_for(10);
            let (mut pushed, mut done) = (0, 0);
            for (length, taken, finished) in steps {
                buffer.push(entry(&"x".repeat(length)));
                pushed += 1;
                let mut batch = buffer.take(taken);
                if finished {
                    done += batch.len() as u64;
                    batch.keep(|_| false);
                }
                drop(batch);
                let counts = buffer.counts();
                prop_assert!(counts.buffered_bytes <= buffer.capacity_bytes);
                prop_assert_eq!(counts.buffered as u64 + counts.dropped + done, pushed);
            }
            let left = buffer.take(usize::MAX);
            prop_assert_eq!(buffer.counts().buffered_bytes, 0);
            drop(left);
        }
    }
}
