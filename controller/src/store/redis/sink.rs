//! The task that writes to Redis: in batches, again after an outage, and never in anybody's way.
//!
//! Must not know who appends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ballast_api::{ContainerId, NodeName, UnixNanos};
use redis::{Pipeline, RedisError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    super::{SAMPLES_PER_CONTAINER, StoreError},
    buffer::{Batch, Buffer, Entry},
    keys,
    link::Link,
};
use crate::collect::outage::Outage;

/// Entries for one round trip.
const BATCH: usize = 256;

/// The first pause after a failure; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long the last entries may take when everything ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a node that no longer reports is remembered.
const NODE_EXPIRES_S: u64 = 24 * 60 * 60;

/// Audit records kept, about: a day of one step a second. The file is the record; the stream is for those who watch.
const AUDIT_ENTRIES: usize = 86_400;

/// Writes what is appended to a [`RedisStore`](super::RedisStore). Nothing is written unless it runs.
#[must_use = "nothing is written to Redis unless this runs"]
pub struct SinkTask {
    link: Link,
    buffer: Arc<Buffer>,
}

impl SinkTask {
    pub(super) fn new(link: Link, buffer: Arc<Buffer>) -> Self {
        Self { link, buffer }
    }

    /// Runs until `shutdown`, then gives what still waits one second to be written.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.write_for_ever()).await;
        let rest = async { while self.buffer.counts().buffered > 0 && self.write_batch().await.is_ok() {} };
        // Whether it took too long or failed, the count below tells what was not written.
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
        let lost = self.buffer.counts().buffered;
        if lost > 0 {
            warn!(address = self.link.address(), lost, "Redis did not take the last entries");
        }
    }

    async fn write_for_ever(&self) {
        let (mut outage, mut pause) = (Outage::default(), FIRST_PAUSE);
        loop {
            self.buffer.filled().await;
            match self.write_batch().await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.tell_up(outage.succeeded());
                }
                Err(error) => {
                    self.buffer.count(|counts| counts.connected = false);
                    if outage.failed() {
                        warn!(address = self.link.address(), %error, "Redis is down: entries wait in a buffer");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn tell_up(&self, failed_attempts: Option<u64>) {
        self.buffer.count(|counts| counts.connected = true);
        if let Some(failed_attempts) = failed_attempts {
            let counts = self.buffer.counts();
            info!(
                address = self.link.address(),
                failed_attempts,
                waiting = counts.buffered,
                dropped_since_start = counts.dropped,
                "Redis is back"
            );
        }
    }

    /// One round trip. When it fails, or is dropped on the way, what is not confirmed goes back into the buffer.
    async fn write_batch(&self) -> Result<(), StoreError> {
        let mut batch = self.buffer.take(BATCH);
        let replies = self.link.send(&self.pipeline(&batch)).await?;
        let mut fates: Vec<Fate> = replies.into_iter().map(|reply| Fate::of(reply.err())).collect();
        self.settle(&mut batch, &fates);
        match fates.iter().position(|fate| matches!(fate, Fate::Failed(_))).map(|at| fates.swap_remove(at)) {
            Some(Fate::Failed(cause)) => Err(self.link.refused("writing", cause)),
            _ => Ok(()),
        }
    }

    /// The entries come first, so that a reply and its entry have the same position.
    fn pipeline(&self, batch: &Batch<'_>) -> Pipeline {
        let mut pipeline = Pipeline::new();
        let mut containers: BTreeSet<&ContainerId> = BTreeSet::new();
        let mut nodes: BTreeMap<&NodeName, UnixNanos> = BTreeMap::new();
        for entry in batch.iter() {
            match entry {
                Entry::Sample { container, taken_at, json } => {
                    containers.insert(container);
                    let newest = nodes.entry(&container.node).or_default();
                    *newest = (*newest).max(*taken_at);
                    let stream = pipeline.cmd("XADD").arg(keys::stats(container));
                    stream.arg("MAXLEN").arg(SAMPLES_PER_CONTAINER).arg(keys::stream_id(*taken_at));
                    stream.arg(keys::SAMPLE_FIELD).arg(json);
                }
                Entry::Audit { json } => {
                    let stream =
                        pipeline.cmd("XADD").arg(keys::AUDIT).arg("MAXLEN").arg("~").arg(AUDIT_ENTRIES);
                    stream.arg("*").arg(keys::RECORD_FIELD).arg(json);
                }
            }
        }
        // Told with every batch: a Redis that came back empty knows them again.
        for container in containers {
            pipeline.cmd("SADD").arg(keys::CONTAINERS).arg(container.to_string());
        }
        let dropped = self.buffer.counts().dropped;
        for (node, newest) in nodes {
            let key = keys::node(node);
            let hash = pipeline.cmd("HSET").arg(&key);
            hash.arg("last_sample_unix_nanos").arg(newest.0).arg("entries_dropped").arg(dropped);
            pipeline.cmd("EXPIRE").arg(&key).arg(NODE_EXPIRES_S);
        }
        pipeline
    }

    fn settle(&self, batch: &mut Batch<'_>, fates: &[Fate]) {
        self.buffer.count(|counts| {
            for fate in &fates[..batch.len().min(fates.len())] {
                match fate {
                    Fate::Written => counts.written += 1,
                    Fate::NotNewer => counts.not_newer += 1,
                    Fate::Refused => counts.refused += 1,
                    Fate::Failed(_) => {}
                }
            }
        });
        batch.keep(|position| matches!(fates.get(position), None | Some(Fate::Failed(_))));
    }
}

/// What Redis did with one command.
enum Fate {
    Written,
    /// The stream has this id or a greater one.
    NotNewer,
    /// The key holds another type; that will not change by itself.
    Refused,
    /// Loading, read-only, out of memory, not permitted: it may pass.
    Failed(RedisError),
}

impl Fate {
    fn of(error: Option<RedisError>) -> Self {
        let Some(error) = error else { return Self::Written };
        let detail = error.detail().unwrap_or_default();
        if detail.contains("equal or smaller than the target stream top item")
            || detail.contains("greater than 0-0")
        {
            Self::NotNewer
        } else if error.code() == Some("WRONGTYPE") {
            Self::Refused
        } else {
            Self::Failed(error)
        }
    }
}
