//! Container metrics for the controller: from cAdvisor (or the node) into memory, and a copy into Redis.

use std::sync::Arc;

use ballast_api::{NodeAgent, NodeName, SystemClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::settings::{MEMORY, MetricsConfig};
use crate::{
    collect::{
        CadvisorSource, Collector, Naming, NodeSource, SourceError, choose_source,
        collector::DEFAULT_INTERVAL,
    },
    store::{MemoryBounds, MemoryStore, MetricStore, RedisStore, StoreError},
};

/// Where metrics can be read while the collector runs.
pub struct Metrics {
    /// What the controller reads: in memory, whatever becomes of Redis.
    pub store: Arc<dyn MetricStore>,
    /// The copy for others.
    pub redis: Option<RedisStore>,
    /// Writes that copy; ends a moment after `shutdown`, when the last entries are written.
    pub redis_writer: Option<JoinHandle<()>>,
}

/// Why metrics cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The store's address is wrong, or nobody answers there.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// cAdvisor's address is wrong.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Starts collecting in the background, until `shutdown`.
///
/// # Errors
/// When an address makes no sense, or the Redis does not answer now; once it did, losing it stops nothing.
pub async fn start_metrics(
    config: &MetricsConfig,
    node: Arc<dyn NodeAgent>,
    name: NodeName,
    shutdown: CancellationToken,
) -> Result<Metrics, MetricsError> {
    let memory: Arc<dyn MetricStore> = Arc::new(MemoryStore::new(MemoryBounds::default()));
    let mut stores = vec![Arc::clone(&memory)];
    let (redis, redis_writer) = open_redis(&config.store, shutdown.clone()).await?.unzip();
    stores.extend(redis.iter().map(|redis| Arc::new(redis.clone()) as Arc<dyn MetricStore>));
    let cadvisor = match &config.cadvisor {
        Some(url) => {
            let naming = Naming::children_of(&config.cgroup_parents);
            Some(CadvisorSource::new(url, name.clone(), naming, Arc::new(SystemClock))?)
        }
        None => None,
    };
    let source = choose_source(cadvisor, NodeSource::new(node, name)).await;
    tokio::spawn(Collector::new(vec![source], stores, DEFAULT_INTERVAL).run(shutdown));
    Ok(Metrics { store: memory, redis, redis_writer })
}

/// The Redis at `url` and what writes to it in the background until a moment after `shutdown`; none for [`MEMORY`].
///
/// # Errors
/// When the address makes no sense or nobody answers there.
pub async fn open_redis(
    url: &str,
    shutdown: CancellationToken,
) -> Result<Option<(RedisStore, JoinHandle<()>)>, StoreError> {
    if url == MEMORY {
        return Ok(None);
    }
    let (redis, sink) = RedisStore::connect_checked(url).await?;
    Ok(Some((redis, tokio::spawn(sink.run(shutdown)))))
}
