//! Asks every source once an interval, makes rates of counters, and writes them to the stores.
//!
//! Must not know what a source or a store is made of. Judges no age: data carry the time they were taken, and who uses
//! them decides how old is too old.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ballast_api::{ContainerId, counters::CounterSample};
use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, trace, warn};

use super::{
    outage::Outage,
    rates::{NoRates, rates},
    source::{Observed, Source, SourceError},
};
use crate::store::{MetricStore, StoredRates};

/// How often sources are asked unless it is said otherwise: as often as the controller steps.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// Nothing samples faster, and an interval of zero would ask without pause.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Fills the stores from the sources until it is told to stop.
pub struct Collector {
    sources: Vec<Box<dyn Source>>,
    stores: Vec<Arc<dyn MetricStore>>,
    interval: Duration,
}

impl Collector {
    /// Asks each of `sources` every `interval` (at least 10 ms) and writes to all of `stores`.
    #[must_use]
    pub fn new(sources: Vec<Box<dyn Source>>, stores: Vec<Arc<dyn MetricStore>>, interval: Duration) -> Self {
        Self { sources, stores, interval: interval.max(SHORTEST_INTERVAL) }
    }

    /// Runs until `shutdown`. Each source keeps its own pace: a slow one delays no other.
    pub async fn run(self, shutdown: CancellationToken) {
        let follow = |source| Follower::new(source, self.stores.clone()).run(self.interval, shutdown.clone());
        join_all(self.sources.into_iter().map(follow)).await;
    }
}

/// A change of a source that is worth a line in the log.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Answers { containers: usize },
    Down { reason: String },
    Back { missed_polls: u64, containers: usize },
}

impl Notice {
    fn log(&self, source: &str) {
        match self {
            Self::Answers { containers } => info!(source, containers, "source answers"),
            Self::Down { reason } => warn!(source, reason, "source is down"),
            Self::Back { missed_polls, containers } => {
                info!(source, missed_polls, containers, "source is back");
            }
        }
    }
}

/// One source and what was last heard of it.
struct Follower {
    source: Box<dyn Source>,
    stores: Vec<Arc<dyn MetricStore>>,
    before: HashMap<ContainerId, CounterSample>,
    heard: bool,
    source_outage: Outage,
    store_outage: Outage,
}

impl Follower {
    fn new(source: Box<dyn Source>, stores: Vec<Arc<dyn MetricStore>>) -> Self {
        Self {
            source,
            stores,
            before: HashMap::new(),
            heard: false,
            source_outage: Outage::default(),
            store_outage: Outage::default(),
        }
    }

    async fn run(mut self, interval: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let poll_for_ever = async {
            loop {
                ticks.tick().await;
                let polled = self.source.poll().await;
                self.take(polled).await;
            }
        };
        // Dropped between two awaits: a store never sees a part of a sample.
        shutdown.run_until_cancelled(poll_for_ever).await;
    }

    async fn take(&mut self, polled: Result<Observed, SourceError>) {
        if let Some(notice) = self.notice(&polled) {
            notice.log(&self.source.describe());
        }
        if let Ok(observed) = polled {
            for told in self.rates_of(observed) {
                self.store(&told).await;
            }
        }
    }

    /// What this answer has to tell people; nothing, when it is like the one before.
    fn notice(&mut self, polled: &Result<Observed, SourceError>) -> Option<Notice> {
        match polled {
            Err(error) => self.source_outage.failed().then(|| Notice::Down { reason: error.to_string() }),
            Ok(observed) => {
                let containers = observed.containers();
                let first = !std::mem::replace(&mut self.heard, true);
                match self.source_outage.succeeded() {
                    Some(missed_polls) => Some(Notice::Back { missed_polls, containers }),
                    None => first.then_some(Notice::Answers { containers }),
                }
            }
        }
    }

    fn rates_of(&mut self, observed: Observed) -> Vec<StoredRates> {
        let samples = match observed {
            Observed::Rates(rates) => {
                return rates.into_iter().map(|rates| StoredRates { rates, counters: None }).collect();
            }
            Observed::Counters(samples) => samples,
        };
        // A container that is not on this page is gone; should it come back, it begins anew.
        let mut before = std::mem::take(&mut self.before);
        let mut told = Vec::with_capacity(samples.len());
        for sample in samples {
            let newest = match before.remove(&sample.container) {
                None => sample,
                Some(old) => match rates(&old, &sample) {
                    Ok(rates) => {
                        told.push(StoredRates { rates, counters: Some(sample.clone()) });
                        sample
                    }
                    Err(NoRates::SameSample) => old,
                    Err(reason) => {
                        trace!(container = %sample.container, %reason, "no rates");
                        sample
                    }
                },
            };
            self.before.insert(newest.container.clone(), newest);
        }
        told
    }

    async fn store(&mut self, told: &StoredRates) {
        for store in &self.stores {
            if let Err(error) = store.append(told).await {
                if self.store_outage.failed() {
                    warn!(%error, "rates cannot be stored");
                }
            } else if let Some(lost) = self.store_outage.succeeded() {
                info!(lost, "rates are stored again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use async_trait::async_trait;
    use ballast_api::{Cores, NodeError, UnixNanos};

    use super::*;
    use crate::{
        collect::rates::ContainerRates,
        store::{MemoryBounds, MemoryStore},
    };

    /// Answers these one after the other, and then tells that it is through.
    struct Script {
        answers: VecDeque<Result<Observed, SourceError>>,
        through: CancellationToken,
    }

    #[async_trait]
    impl Source for Script {
        fn describe(&self) -> String {
            "script".to_owned()
        }
        async fn poll(&mut self) -> Result<Observed, SourceError> {
            match self.answers.pop_front() {
                Some(answer) => answer,
                None => {
                    self.through.cancel();
                    std::future::pending().await
                }
            }
        }
    }

    fn sample(at: u64, cpu: f64) -> CounterSample {
        CounterSample {
            container: "n1/geo".parse().unwrap(),
            taken_at: UnixNanos(at * 1_000_000_000),
            cpu_usage_seconds: Some(cpu),
            cfs_periods: None,
            cfs_throttled_periods: None,
            cfs_throttled_seconds: None,
            cpu_limit_cores: None,
            memory_working_set_bytes: None,
        }
    }

    fn counters(at: u64, cpu: f64) -> Result<Observed, SourceError> {
        Ok(Observed::Counters(vec![sample(at, cpu)]))
    }

    fn down() -> Result<Observed, SourceError> {
        Err(NodeError::Internal { detail: "down".to_owned() }.into())
    }

    /// Runs the collector over the answers; what the store holds then, as (second taken, cores).
    async fn collected(
        answers: impl IntoIterator<Item = Result<Observed, SourceError>>,
    ) -> Vec<(u64, Option<f64>)> {
        let through = CancellationToken::new();
        let script = Script { answers: answers.into_iter().collect(), through: through.clone() };
        let store = Arc::new(MemoryStore::new(MemoryBounds::default()));
        let stores: Vec<Arc<dyn MetricStore>> = vec![store.clone()];
        Collector::new(vec![Box::new(script)], stores, Duration::ZERO).run(through).await;
        let kept = store.window(&"n1/geo".parse().unwrap(), UnixNanos(0)).await.unwrap();
        kept.iter()
            .map(|kept| (kept.rates.taken_at.0 / 1_000_000_000, kept.rates.cpu_usage.map(Cores::get)))
            .collect()
    }

    #[tokio::test]
    async fn counters_become_rates_from_the_second_on() {
        let kept = collected([counters(1, 1.0), counters(2, 1.5), counters(4, 4.5)]).await;
        assert_eq!(kept, [(2, Some(0.5)), (4, Some(1.5))]);
    }

    #[tokio::test]
    async fn a_repeated_sample_makes_no_rate_and_loses_none() {
        let kept = collected([counters(1, 1.0), counters(1, 1.0), counters(1, 1.0), counters(3, 2.0)]).await;
        assert_eq!(kept, [(3, Some(0.5))]);
    }

    #[tokio::test]
    async fn after_a_restart_rates_begin_anew() {
        let kept = collected([counters(1, 9.0), counters(2, 0.5), counters(3, 0.75)]).await;
        assert_eq!(kept, [(3, Some(0.25))]);
    }

    #[tokio::test]
    async fn after_an_outage_the_rate_is_over_the_whole_time() {
        let kept = collected([counters(1, 1.0), down(), down(), counters(5, 3.0)]).await;
        assert_eq!(kept, [(5, Some(0.5))]);
    }

    #[tokio::test]
    async fn a_container_that_was_away_begins_anew() {
        let away = Ok(Observed::Counters(Vec::new()));
        let kept = collected([counters(1, 1.0), away, counters(3, 2.0), counters(4, 3.0)]).await;
        assert_eq!(kept, [(4, Some(1.0))]);
    }

    #[tokio::test]
    async fn rates_are_stored_as_they_come() {
        let rates = ContainerRates {
            container: "n1/geo".parse().unwrap(),
            cpu_usage: None,
            throttled_share: None,
            throttled_seconds_per_second: None,
            cpu_limit: None,
            interval: None,
            taken_at: UnixNanos(2_000_000_000),
        };
        let kept =
            collected([Ok(Observed::Rates(vec![rates.clone()])), Ok(Observed::Rates(vec![rates]))]).await;
        assert_eq!(kept, [(2, None)]);
    }

    #[tokio::test]
    async fn a_silent_source_holds_nobody_up_and_stops_when_told() {
        let shutdown = CancellationToken::new();
        let silent = Script { answers: VecDeque::new(), through: CancellationToken::new() };
        let through = CancellationToken::new();
        let lively =
            Script { answers: [counters(1, 1.0), counters(2, 2.0)].into(), through: through.clone() };
        let store: Arc<dyn MetricStore> = Arc::new(MemoryStore::new(MemoryBounds::default()));
        let sources: Vec<Box<dyn Source>> = vec![Box::new(silent), Box::new(lively)];
        let running = tokio::spawn(
            Collector::new(sources, vec![store.clone()], Duration::from_millis(10)).run(shutdown.clone()),
        );
        through.cancelled().await;
        assert!(store.latest(&"n1/geo".parse().unwrap()).await.unwrap().is_some());
        shutdown.cancel();
        running.await.unwrap();
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_ends() {
        let silent = Script { answers: VecDeque::new(), through: CancellationToken::new() };
        let mut follower = Follower::new(Box::new(silent), Vec::new());
        let down_notice = || Some(Notice::Down { reason: "the node cannot do this now: down".to_owned() });
        let told =
            [down(), down(), counters(1, 1.0), counters(1, 1.0), down(), down(), down(), counters(5, 3.0)]
                .map(|polled| follower.notice(&polled));
        let back = |missed_polls| Some(Notice::Back { missed_polls, containers: 1 });
        assert_eq!(told, [down_notice(), None, back(2), None, down_notice(), None, None, back(3)]);

        let silent = Script { answers: VecDeque::new(), through: CancellationToken::new() };
        let mut follower = Follower::new(Box::new(silent), Vec::new());
        let told = [counters(1, 1.0), counters(2, 1.0)].map(|polled| follower.notice(&polled));
        assert_eq!(told, [Some(Notice::Answers { containers: 1 }), None]);
    }
}
