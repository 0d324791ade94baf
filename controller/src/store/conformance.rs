//! What every store must do alike. Tests only.

use ballast_api::{Cores, Limit, UnixNanos, counters::CounterSample};

use super::{MetricStore, SAMPLES_PER_CONTAINER, StoredRates};
use crate::collect::rates::ContainerRates;

/// A sample of `container` taken at that second.
pub(super) fn sample(container: &str, second: u64) -> StoredRates {
    let (container, taken_at) = (container.parse().unwrap(), UnixNanos(second * 1_000_000_000));
    let counters = CounterSample {
        container,
        taken_at,
        cpu_usage_seconds: Some(1.5),
        cfs_periods: Some(10.0),
        cfs_throttled_periods: None,
        cfs_throttled_seconds: Some(0.25),
        cpu_limit_cores: Some(0.5),
        memory_working_set_bytes: None,
    };
    let rates = ContainerRates {
        container: counters.container.clone(),
        cpu_usage: Some(Cores::new(0.25).unwrap()),
        throttled_share: None,
        throttled_seconds_per_second: Some(0.125),
        cpu_limit: Some(Limit::Max),
        interval: Some(std::time::Duration::from_millis(1500)),
        taken_at,
    };
    StoredRates { rates, counters: Some(counters) }
}

/// The seconds at which the samples since `since_s` were taken.
pub(super) async fn seconds_of(store: &dyn MetricStore, container: &str, since_s: u64) -> Vec<u64> {
    let since = UnixNanos(since_s * 1_000_000_000);
    let window = store.window(&container.parse().unwrap(), since).await.unwrap();
    window.iter().map(|kept| kept.rates.taken_at.0 / 1_000_000_000).collect()
}

/// Checks an empty store; `settle` waits until what was appended can be read.
pub(super) async fn check(store: &dyn MetricStore, settle: impl AsyncFn()) {
    let geo = "n1/geo".parse().unwrap();
    assert_eq!(store.containers().await.unwrap(), []);
    assert_eq!(store.latest(&geo).await.unwrap(), None);
    assert_eq!(store.window(&geo, UnixNanos(0)).await.unwrap(), []);

    for second in [1, 2, 2, 3] {
        store.append(&sample("n1/geo", second)).await.unwrap();
    }
    store.append(&sample("n2/geo", 9)).await.unwrap();
    settle().await;
    assert_eq!(store.latest(&geo).await.unwrap(), Some(sample("n1/geo", 3)));
    assert_eq!(seconds_of(store, "n1/geo", 0).await, [1, 2, 3]);
    assert_eq!(seconds_of(store, "n1/geo", 2).await, [2, 3]);
    assert!(seconds_of(store, "n1/geo", 4).await.is_empty());
    assert_eq!(seconds_of(store, "n2/geo", 0).await, [9]);
    let known: Vec<_> = store.containers().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(known, ["n1/geo", "n2/geo"]);

    let many = SAMPLES_PER_CONTAINER as u64 + 5;
    for second in 4..=3 + many {
        store.append(&sample("n1/geo", second)).await.unwrap();
    }
    settle().await;
    assert_eq!(seconds_of(store, "n1/geo", 0).await, (9..=3 + many).collect::<Vec<_>>());
}
