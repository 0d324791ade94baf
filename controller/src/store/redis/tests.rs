//! Against a real Redis.

use std::time::{Duration, Instant};

use ballast_api::SystemClock;
use redis::FromRedisValue;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    super::conformance::{self, sample, seconds_of},
    testing::OwnRedis,
    *,
};
use crate::audit::AuditLog;

/// A store whose task runs, until `stop`.
struct Running {
    store: RedisStore,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(url: &str, capacity_bytes: usize) -> Self {
        let (store, task) = RedisStore::with_buffer(url, capacity_bytes).unwrap();
        let shutdown = CancellationToken::new();
        Self { store, task: tokio::spawn(task.run(shutdown.clone())), shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// Waits until `reached`, for at most 20 s.
async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not reached: {what}");
}

/// Waits until everything appended has met its fate. A batch in flight is in no count, so the sum tells.
async fn settled(store: &RedisStore, appended: u64) {
    until("all entries settled", || {
        let SinkCounts { written, dropped, not_newer, refused, .. } = store.counts();
        written + dropped + not_newer + refused == appended
    })
    .await;
}

async fn ask<T: FromRedisValue>(store: &RedisStore, words: &[&str]) -> T {
    let mut command = cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(word);
    });
    store.read(&command, words[0]).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the caller of the tests may name a Redis")]
fn named_redis() -> Option<String> {
    std::env::var("BALLAST_TEST_REDIS").ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_every_store_keeps() {
    let test = "keeps_what_every_store_keeps";
    let own = match named_redis() {
        Some(_) => None,
        None => match OwnRedis::start(test).await {
            None => return,
            own => own,
        },
    };
    let url = own.as_ref().map_or_else(|| named_redis().unwrap_or_default(), OwnRedis::url);
    let running = Running::start(&url, BUFFER_BYTES);
    let store = &running.store;
    if ask::<u64>(store, &["DBSIZE"]).await > 0 {
        eprintln!("SKIPPED {test}: the database that BALLAST_TEST_REDIS names is not empty");
        return running.stop().await;
    }
    let idle = async || {
        until("buffer empty", || store.counts().buffered == 0).await;
        // The batch in flight is confirmed before the next one is taken.
        let counts = store.counts();
        store.append(&sample("n9/marker", counts.written + 1)).await.unwrap();
        until("marker written", || store.counts().written > counts.written).await;
        until("buffer empty", || store.counts().buffered == 0).await;
        ask::<u64>(store, &["SREM", "ballast:containers", "n9/marker"]).await;
    };
    conformance::check(store, idle).await;
    assert_eq!(ask::<usize>(store, &["XLEN", "ballast:stats:n1:geo"]).await, 1440);
    let expires: i64 = ask(store, &["TTL", "ballast:node:n1"]).await;
    assert!((86_300..=86_400).contains(&expires), "{expires}");
    store.append_audit("{\"x\":1}".to_owned());
    until("audit written", || store.counts().buffered == 0).await;
    let reader = running.store.clone();
    running.stop().await;
    let audit: Vec<(String, Vec<String>)> = ask(&reader, &["XRANGE", "ballast:audit", "-", "+"]).await;
    assert_eq!(audit[0].1, ["record", "{\"x\":1}"]);
    let mut written: Vec<String> = ask(&reader, &["KEYS", "*"]).await;
    written.sort();
    assert_eq!(
        written,
        [
            "ballast:audit",
            "ballast:containers",
            "ballast:node:n1",
            "ballast:node:n2",
            "ballast:node:n9",
            "ballast:stats:n1:geo",
            "ballast:stats:n2:geo",
            "ballast:stats:n9:marker"
        ]
    );
    let delete: Vec<&str> = ["DEL"].into_iter().chain(written.iter().map(String::as_str)).collect();
    ask::<u64>(&reader, &delete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_holds_nobody_up_and_is_caught_up_with() {
    let Some(mut redis) = OwnRedis::start("a_killed_redis_holds_nobody_up_and_is_caught_up_with").await
    else {
        return;
    };
    let running = Running::start(&redis.url(), BUFFER_BYTES);
    let store = &running.store;
    for second in 1..=100 {
        store.append(&sample("n1/geo", second)).await.unwrap();
    }
    settled(store, 100).await;
    assert!(store.counts().connected);

    redis.kill();
    let slowest = append_slowest(store, 101..=300).await;
    assert!(slowest < Duration::from_millis(200), "an append took {slowest:?}");
    until("the loss noticed", || !store.counts().connected).await;
    assert!(matches!(store.containers().await, Err(StoreError::Unreachable { .. })));

    redis.restart().await;
    settled(store, 300).await;
    let counts = store.counts();
    assert_eq!((counts.written, counts.dropped, counts.connected), (300, 0, true));
    // It came back empty, without the first hundred; of what came while it was away nothing is missing.
    assert_eq!(seconds_of(store, "n1/geo", 0).await, (101..=300).collect::<Vec<_>>());
    assert_eq!(store.containers().await.unwrap().len(), 1);
    running.stop().await;
}

/// Appends those seconds; how long the slowest append took.
#[expect(clippy::disallowed_methods, reason = "measures how long the caller was held up")]
async fn append_slowest(store: &RedisStore, seconds: std::ops::RangeInclusive<u64>) -> Duration {
    let mut slowest = Duration::ZERO;
    for second in seconds {
        let begin = Instant::now();
        store.append(&sample("n1/geo", second)).await.unwrap();
        slowest = slowest.max(begin.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_dropped_oldest_first_and_counted() {
    let Some(mut redis) = OwnRedis::start("what_does_not_fit_is_dropped_oldest_first_and_counted").await
    else {
        return;
    };
    redis.kill();
    let running = Running::start(&redis.url(), 20_000);
    let store = &running.store;
    for second in 1..=500 {
        store.append(&sample("n1/geo", second)).await.unwrap();
    }
    redis.restart().await;
    settled(store, 500).await;
    let counts = store.counts();
    assert!(counts.dropped > 400 && counts.written > 0, "{counts:?}");
    assert_eq!(seconds_of(store, "n1/geo", 0).await, (counts.dropped + 1..=500).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_costs_time_but_no_sample_and_none_twice() {
    let Some(redis) = OwnRedis::start("a_frozen_redis_costs_time_but_no_sample_and_none_twice").await else {
        return;
    };
    let running = Running::start(&redis.url(), BUFFER_BYTES);
    let store = &running.store;
    store.append(&sample("n1/geo", 1)).await.unwrap();
    settled(store, 1).await;
    redis.signal("STOP");
    for second in 2..=50 {
        store.append(&sample("n1/geo", second)).await.unwrap();
    }
    until("the freeze noticed", || !store.counts().connected).await;
    assert!(matches!(store.containers().await, Err(StoreError::Unreachable { .. })));
    redis.signal("CONT");
    settled(store, 50).await;
    // What was sent before the freeze was noticed is executed late, so some come twice and are refused the second time.
    assert_eq!(seconds_of(store, "n1/geo", 0).await, (1..=50).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_somebody_else_costs_its_own_entries_only() {
    let Some(redis) = OwnRedis::start("a_key_of_somebody_else_costs_its_own_entries_only").await else {
        return;
    };
    let running = Running::start(&redis.url(), BUFFER_BYTES);
    let store = &running.store;
    ask::<String>(store, &["SET", "ballast:stats:n1:bad", "x"]).await;
    for container in ["n1/bad", "n1/good"] {
        store.append(&sample(container, 1)).await.unwrap();
    }
    settled(store, 2).await;
    assert_eq!((store.counts().written, store.counts().refused), (1, 1));
    assert!(matches!(store.latest(&"n1/bad".parse().unwrap()).await, Err(StoreError::Refused { .. })));
    ask::<String>(store, &["XADD", "ballast:stats:n1:odd", "1-1", "other", "x"]).await;
    assert!(matches!(store.latest(&"n1/odd".parse().unwrap()).await, Err(StoreError::Foreign { .. })));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_waited_for() {
    let Some(redis) = OwnRedis::start("a_full_redis_is_waited_for").await else { return };
    let running = Running::start(&redis.url(), BUFFER_BYTES);
    let store = &running.store;
    ask::<String>(store, &["CONFIG", "SET", "maxmemory", "1"]).await;
    store.append(&sample("n1/geo", 1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((store.counts().written, store.counts().connected), (0, false));
    ask::<String>(store, &["CONFIG", "SET", "maxmemory", "0"]).await;
    settled(store, 1).await;
    assert_eq!(store.counts().written, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_entries_are_written_at_the_end() {
    let Some(redis) = OwnRedis::start("the_last_entries_are_written_at_the_end").await else { return };
    let (store, task) = RedisStore::connect_checked(&redis.url()).await.unwrap();
    for second in 1..=1000 {
        store.append(&sample("n1/geo", second)).await.unwrap();
    }
    let ended = CancellationToken::new();
    ended.cancel();
    task.run(ended).await;
    assert_eq!(store.counts().written, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_stream_has_the_lines_of_the_file() {
    let Some(redis) = OwnRedis::start("the_audit_stream_has_the_lines_of_the_file").await else { return };
    let running = Running::start(&redis.url(), BUFFER_BYTES);
    let store = &running.store;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open(&path, Arc::new(SystemClock), Some(store.clone())).unwrap();
    for step in 0..3 {
        log.append("step", &step).unwrap();
    }
    settled(store, 3).await;
    let entries: Vec<(String, Vec<String>)> = ask(store, &["XRANGE", "ballast:audit", "-", "+"]).await;
    let lines: Vec<&str> = entries.iter().map(|(_, fields)| fields[1].as_str()).collect();
    assert_eq!(lines, std::fs::read_to_string(&path).unwrap().lines().collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn at_the_start_a_wrong_address_and_an_absent_redis_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let absent = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    assert!(RedisStore::lazy(&absent).is_ok());
    let error = RedisStore::connect_checked(&absent).await.err().unwrap();
    assert!(
        matches!(error, StoreError::Unreachable { .. }) && error.to_string().contains("refused"),
        "{error}"
    );
    let error = RedisStore::connect_checked("redis//x").await.err().unwrap();
    assert!(matches!(error, StoreError::Url { .. }), "{error}");
    let Some(redis) = OwnRedis::start("at_the_start_a_wrong_password_is_told").await else { return };
    for wrong in [format!("{}/99", redis.url()), redis.url().replace("redis://", "redis://me:wrong@")] {
        let error = RedisStore::connect_checked(&wrong).await.err().unwrap();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}
