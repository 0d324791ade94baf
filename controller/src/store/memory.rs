//! The default store: the recent past of every container, in this process, within fixed bounds.
//!
//! Must not know about disks or networks.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ballast_api::{ContainerId, UnixNanos};
use tracing::info;

use super::{MetricStore, SAMPLES_PER_CONTAINER, StoreError, StoredRates};

/// What a memory store keeps at most.
///
/// A sample takes 320 bytes and the names in it (tested); the names of services are short, and cannot exceed 800 bytes.
/// The default, asked once a second, so holds about 60 * 1024 samples: some 24 MB with names of 20 bytes, for a full
/// thousand of containers. Whatever sources send, it is never more than `containers * samples_per_container` samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBounds {
    /// Samples older than the container's newest by more than this are forgotten.
    pub keep: Duration,
    /// The oldest beyond this many are forgotten, for each container.
    pub samples_per_container: usize,
    /// The container that was silent for longest is forgotten when one more appears.
    pub containers: usize,
}

impl Default for MemoryBounds {
    /// The window of counters: 60 s.
    fn default() -> Self {
        Self { keep: Duration::from_secs(60), samples_per_container: SAMPLES_PER_CONTAINER, containers: 1024 }
    }
}

/// A bounded store in memory. Appending and reading never wait.
#[derive(Debug)]
pub struct MemoryStore {
    bounds: MemoryBounds,
    histories: Mutex<BTreeMap<ContainerId, VecDeque<StoredRates>>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(bounds: MemoryBounds) -> Self {
        Self { bounds, histories: Mutex::default() }
    }

    /// Every change leaves the map whole, so that a panic elsewhere has not broken it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, VecDeque<StoredRates>>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, history: &mut VecDeque<StoredRates>, sample: &StoredRates) {
        let taken_at = sample.rates.taken_at;
        if let Some(newest) = history.back().map(|newest| newest.rates.taken_at) {
            if newest == taken_at {
                return;
            }
            if newest > taken_at {
                // The source's clock was set back: to refuse what is new until it has caught up would blind the
                // controller, and to mix both would make a past that never was.
                info!(container = %sample.rates.container, "clock was set back: history begins anew");
                history.clear();
            }
        }
        history.push_back(sample.clone());
        let oldest_kept = taken_at.minus(self.bounds.keep);
        while history.len() > self.bounds.samples_per_container.max(1)
            || history.front().is_some_and(|oldest| oldest.rates.taken_at < oldest_kept)
        {
            history.pop_front();
        }
    }
}

/// Forgets the container whose newest sample is the oldest.
fn forget_most_silent(histories: &mut BTreeMap<ContainerId, VecDeque<StoredRates>>) {
    let newest = |history: &VecDeque<StoredRates>| history.back().map(|newest| newest.rates.taken_at);
    let silent = histories.iter().min_by_key(|(_, history)| newest(history)).map(|(id, _)| id.clone());
    if let Some(silent) = silent {
        histories.remove(&silent);
    }
}

#[async_trait]
impl MetricStore for MemoryStore {
    async fn append(&self, sample: &StoredRates) -> Result<(), StoreError> {
        let mut histories = self.lock();
        let container = &sample.rates.container;
        if !histories.contains_key(container) && histories.len() >= self.bounds.containers.max(1) {
            forget_most_silent(&mut histories);
        }
        self.add(histories.entry(container.clone()).or_default(), sample);
        Ok(())
    }

    async fn window(
        &self,
        container: &ContainerId,
        since: UnixNanos,
    ) -> Result<Vec<StoredRates>, StoreError> {
        let histories = self.lock();
        let Some(history) = histories.get(container) else { return Ok(Vec::new()) };
        let first = history.partition_point(|sample| sample.rates.taken_at < since);
        Ok(history.range(first..).cloned().collect())
    }

    async fn latest(&self, container: &ContainerId) -> Result<Option<StoredRates>, StoreError> {
        Ok(self.lock().get(container).and_then(|history| history.back().cloned()))
    }

    async fn containers(&self) -> Result<Vec<ContainerId>, StoreError> {
        Ok(self.lock().keys().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::conformance::{self, sample},
        *,
    };

    fn store(keep_s: u64, samples_per_container: usize, containers: usize) -> MemoryStore {
        MemoryStore::new(MemoryBounds {
            keep: Duration::from_secs(keep_s),
            samples_per_container,
            containers,
        })
    }

    async fn seconds_of(store: &MemoryStore, container: &str) -> Vec<u64> {
        conformance::seconds_of(store, container, 0).await
    }

    #[tokio::test]
    async fn keeps_what_every_store_keeps() {
        conformance::check(&store(1_000_000, SAMPLES_PER_CONTAINER, 10), async || ()).await;
    }

    #[tokio::test]
    async fn the_window_ends_where_configured() {
        let store = store(60, 1440, 10);
        for second in 0..100 {
            store.append(&sample("n1/geo", second)).await.unwrap();
        }
        assert_eq!(seconds_of(&store, "n1/geo").await, (39..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_most_silent_container_makes_room() {
        let store = store(60, 1440, 2);
        for (container, second) in [("n1/a", 1), ("n1/b", 2), ("n1/a", 3), ("n1/c", 4)] {
            store.append(&sample(container, second)).await.unwrap();
        }
        let left: Vec<_> = store.containers().await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(left, ["n1/a", "n1/c"]);
    }

    #[tokio::test]
    async fn a_clock_set_back_begins_a_new_history() {
        let store = store(60, 1440, 2);
        for second in [100, 101, 50, 51] {
            store.append(&sample("n1/a", second)).await.unwrap();
        }
        assert_eq!(seconds_of(&store, "n1/a").await, [50, 51]);
    }

    #[test]
    fn a_sample_is_as_large_as_documented() {
        assert!(size_of::<StoredRates>() <= 320, "{}", size_of::<StoredRates>());
    }

    proptest! {
        #[test]
        fn whatever_comes_the_bounds_hold(appends in prop::collection::vec((0..6_u8, 0..200_u64), 0..300)) {
            let store = store(30, 7, 3);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for (container, second) in appends {
                    store.append(&sample(&format!("n1/c{container}"), second)).await.unwrap();
                    let histories = store.lock();
                    prop_assert!(histories.len() <= 3);
                    for history in histories.values() {
                        prop_assert!(!history.is_empty() && history.len() <= 7);
                        let times: Vec<_> = history.iter().map(|kept| kept.rates.taken_at).collect();
                        prop_assert!(times.is_sorted());
                        prop_assert!(times[times.len() - 1].since(times[0]) <= Duration::from_secs(30));
                    }
                }
                Ok(())
            })?;
        }
    }
}
