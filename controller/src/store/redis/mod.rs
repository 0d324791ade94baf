//! Redis as a store for others to read, now and after this process is gone.
//!
//! Writing goes through a bounded buffer and a task of its own ([`SinkTask`]), so that nothing that controls ever waits
//! for Redis. Must not know what the samples are used for.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `ballast:containers` | set | `node/name` of every container |
//! | `ballast:stats:{node}:{container}` | stream, 1440 entries | field `sample`: a [`StoredRates`] as JSON; the id is the time it was taken |
//! | `ballast:node:{node}` | hash, expires after a day | `last_sample_unix_nanos`, `entries_dropped` |
//! | `ballast:audit` | stream, about 86,400 entries | field `record`: a line of the audit log |

mod buffer;
mod keys;
mod link;
mod sink;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use ballast_api::{ContainerId, UnixNanos};
use redis::{Cmd, FromRedisValue, Pipeline, cmd};

pub use self::{buffer::SinkCounts, sink::SinkTask};
use self::{
    buffer::{Buffer, Entry},
    link::Link,
};
use super::{MetricStore, StoreError, StoredRates};

/// How much waits in this process while Redis is away, in bytes of JSON: about ten minutes of a hundred containers.
const BUFFER_BYTES: usize = 32 << 20;

/// A Redis, for writing through the buffer and for reading directly. Clones share both.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    buffer: Arc<Buffer>,
}

impl RedisStore {
    /// The Redis at `url` (`redis://[user:password@]host[:port][/database]`), and the task that must run for anything
    /// to be written. Nothing is sent yet: whether Redis is there shows later, in the log and in [`Self::counts`].
    ///
    /// # Errors
    /// [`StoreError::Url`] when the address makes no sense.
    pub fn lazy(url: &str) -> Result<(Self, SinkTask), StoreError> {
        Self::with_buffer(url, BUFFER_BYTES)
    }

    /// As [`Self::lazy`], for who cannot do without Redis: asks it for a sign of life first.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::Unreachable`] when nobody answers within 2 s, [`StoreError::Refused`] when
    /// Redis wants another password or has no such database.
    pub async fn connect_checked(url: &str) -> Result<(Self, SinkTask), StoreError> {
        let (store, task) = Self::lazy(url)?;
        store.read::<String>(&cmd("PING"), "PING").await?;
        Ok((store, task))
    }

    fn with_buffer(url: &str, capacity_bytes: usize) -> Result<(Self, SinkTask), StoreError> {
        let buffer = Arc::new(Buffer::new(capacity_bytes));
        // Two connections: a long catch-up keeps no reader waiting.
        let task = SinkTask::new(Link::new(url)?, buffer.clone());
        Ok((Self { link: Arc::new(Link::new(url)?), buffer }, task))
    }

    /// What became of everything appended so far.
    #[must_use]
    pub fn counts(&self) -> SinkCounts {
        self.buffer.counts()
    }

    /// Takes one line of the audit log for `ballast:audit`. Never waits. Written at least once: a line whose
    /// confirmation was lost is sent again, and readers tell by its sequence number.
    pub fn append_audit(&self, json: String) {
        self.buffer.push(Entry::Audit { json });
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        self.link.address()
    }

    async fn read<T: FromRedisValue>(&self, command: &Cmd, operation: &str) -> Result<T, StoreError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.clone());
        let reply = self.link.send(&pipeline).await?.into_iter().next();
        let value = match reply {
            Some(Ok(value)) => value,
            Some(Err(cause)) => return Err(self.link.refused(operation, cause)),
            None => return Err(foreign(operation, "it answers nothing")),
        };
        redis::from_redis_value(value).map_err(|error| foreign(operation, &error.to_string()))
    }

    async fn samples(&self, command: &Cmd, key: &str) -> Result<Vec<StoredRates>, StoreError> {
        let entries: Vec<(String, Vec<(String, String)>)> = self.read(command, key).await?;
        let decode = |(id, fields): (String, Vec<(String, String)>)| {
            let json = fields.into_iter().find(|(field, _)| field == keys::SAMPLE_FIELD);
            let json = json.ok_or_else(|| foreign(key, &format!("entry {id} has no sample")))?.1;
            serde_json::from_str(&json).map_err(|error| foreign(key, &format!("entry {id}: {error}")))
        };
        entries.into_iter().map(decode).collect()
    }
}

fn foreign(key: &str, detail: &str) -> StoreError {
    StoreError::Foreign { key: key.to_owned(), detail: detail.to_owned() }
}

#[async_trait]
impl MetricStore for RedisStore {
    async fn append(&self, sample: &StoredRates) -> Result<(), StoreError> {
        let json = serde_json::to_string(sample).map_err(StoreError::Encoding)?;
        let rates = &sample.rates;
        self.buffer.push(Entry::Sample {
            container: rates.container.clone(),
            taken_at: rates.taken_at,
            json,
        });
        Ok(())
    }

    async fn window(
        &self,
        container: &ContainerId,
        since: UnixNanos,
    ) -> Result<Vec<StoredRates>, StoreError> {
        let key = keys::stats(container);
        self.samples(cmd("XRANGE").arg(&key).arg(keys::stream_id(since)).arg("+"), &key).await
    }

    async fn latest(&self, container: &ContainerId) -> Result<Option<StoredRates>, StoreError> {
        let key = keys::stats(container);
        let newest = cmd("XREVRANGE").arg(&key).arg("+").arg("-").arg("COUNT").arg(1).take();
        Ok(self.samples(&newest, &key).await?.pop())
    }

    async fn containers(&self) -> Result<Vec<ContainerId>, StoreError> {
        let members: Vec<String> = self.read(cmd("SMEMBERS").arg(keys::CONTAINERS), keys::CONTAINERS).await?;
        let parse = |member: String| member.parse().map_err(|e| foreign(keys::CONTAINERS, &format!("{e}")));
        let mut containers: Vec<ContainerId> = members.into_iter().map(parse).collect::<Result<_, _>>()?;
        containers.sort();
        Ok(containers)
    }
}
