//! Where rates are kept: in this process, or in Redis for others to read.
//!
//! Must not know who measures or who reads. One interface, one set of tests for both.

pub mod memory;
pub mod redis;

#[cfg(test)]
mod conformance;

use async_trait::async_trait;
use ballast_api::{ContainerId, UnixNanos, counters::CounterSample};
use serde::{Deserialize, Serialize};

pub use self::{
    memory::{MemoryBounds, MemoryStore},
    redis::{RedisStore, SinkCounts, SinkTask},
};
use crate::collect::rates::ContainerRates;

/// How many samples of one container are kept at most, in memory and in Redis alike.
pub const SAMPLES_PER_CONTAINER: usize = 1440;

/// Rates of one container at one time, with the counters they end at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredRates {
    /// The rates.
    pub rates: ContainerRates,
    /// The later of the two samples; absent when the source answers rates only.
    pub counters: Option<CounterSample>,
}

/// A place that keeps the recent past of every container. A sample as old as the newest of its container is that one,
/// sent again: it changes nothing.
#[async_trait]
pub trait MetricStore: Send + Sync {
    /// Takes one sample. Never waits for another machine.
    ///
    /// # Errors
    /// When it could not even be taken for later.
    async fn append(&self, sample: &StoredRates) -> Result<(), StoreError>;

    /// Samples of `container` taken at `since` or later, oldest first; none for an unknown container.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn window(&self, container: &ContainerId, since: UnixNanos)
    -> Result<Vec<StoredRates>, StoreError>;

    /// The newest sample of `container`, however old.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn latest(&self, container: &ContainerId) -> Result<Option<StoredRates>, StoreError>;

    /// Every container that was ever stored and not forgotten, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn containers(&self) -> Result<Vec<ContainerId>, StoreError>;
}

/// What a store cannot do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address makes no sense; trying again will not help.
    #[error("Redis URL {url:?}: {detail}; it must look like redis://127.0.0.1:6379")]
    Url {
        /// As it was given, without the password.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// Nobody answers there, or not in time.
    #[error("no Redis answers at {address}: {cause}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The reason.
        #[source]
        cause: ::redis::RedisError,
    },
    /// Redis answers with an error.
    #[error("Redis at {address} refuses {operation}: {cause}")]
    Refused {
        /// Host and port.
        address: String,
        /// Command and key.
        operation: String,
        /// What it says.
        #[source]
        cause: ::redis::RedisError,
    },
    /// A key holds what Ballast has not written, or not in this version.
    #[error("{key} in Redis holds what Ballast cannot read: {detail}")]
    Foreign {
        /// Which key.
        key: String,
        /// What is odd.
        detail: String,
    },
    /// A sample has no JSON.
    #[error("a sample cannot be written as JSON")]
    Encoding(#[source] serde_json::Error),
}
