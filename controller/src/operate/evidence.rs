//! What the node and the collector say of containers, as the localizer takes it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ballast_api::{ContainerId, ContainerState, Cores, Limit, NodeName, UnixNanos};

use crate::{collect::ContainerRates, localize::ContainerMetrics, store::MetricStore};

/// Metrics older than this are no evidence.
const FRESH_SECONDS: f64 = 4.0;

/// The CPU limit in force, in cores: the capacity where there is none.
#[must_use]
pub fn limit_cores(state: &ContainerState, capacity: Cores) -> f64 {
    state.limits.cpu.unwrap_or(Limit::Max).or(capacity).get()
}

/// What a node says itself of one of its containers.
#[must_use]
pub fn node_metrics(state: &ContainerState, capacity: Cores) -> ContainerMetrics {
    let usage = state.usage.and_then(|usage| usage.cpu);
    ContainerMetrics {
        cpu_utilisation: usage.map(|used| used.get() / limit_cores(state, capacity)),
        throttled_share: state.throttling.map(|throttling| throttling.throttled_share),
    }
}

/// What the collector stored of each container, or, where that is missing or old, what the node says itself.
pub async fn stored_metrics(
    node: &NodeName,
    containers: &[ContainerState],
    capacity: Cores,
    store: &dyn MetricStore,
    now: UnixNanos,
) -> BTreeMap<Arc<str>, ContainerMetrics> {
    let mut metrics = BTreeMap::new();
    for state in containers {
        let id = ContainerId { node: node.clone(), name: state.name.clone() };
        // A store that cannot be read is reported by the collector; here the node's own word is as good.
        let stored = store.latest(&id).await.ok().flatten().map(|stored| stored.rates);
        let is_fresh = |age: Duration| age.as_secs_f64() < FRESH_SECONDS;
        let fresh = stored.filter(|rates| rates.taken_at.age_at(now).is_some_and(is_fresh));
        let of_container = match fresh {
            Some(rates) => collected_metrics(&rates, limit_cores(state, capacity)),
            None => node_metrics(state, capacity),
        };
        metrics.insert(Arc::from(state.name.as_str()), of_container);
    }
    metrics
}

fn collected_metrics(rates: &ContainerRates, limit_cores: f64) -> ContainerMetrics {
    ContainerMetrics {
        cpu_utilisation: rates.cpu_usage.map(|used| used.get() / limit_cores),
        throttled_share: rates.throttled_share,
    }
}
