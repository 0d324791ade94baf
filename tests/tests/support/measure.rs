//! What is achieved of what was lent, by the kernel's counters.

use std::time::Duration;

use ballast_kernel::{CgroupPath, CpuControl, DiskCounters, DiskTraffic};
use tokio::time::{Instant, sleep};

use super::hierarchy;

/// How far from its quota a container may be, in cores.
const CORES_OFF: f64 = 0.02;
/// How far from another limit it may be, as a share.
const RATE_OFF: f64 = 0.05;

/// The machine may give less for a while when it is loaded, never more: the best of several intervals counts, and none may
/// be over.
pub(crate) async fn achieves(what: &str, lent: f64, off: f64, interval: Duration, counter: impl Fn() -> f64) {
    let mut rates = Vec::new();
    for _ in 0..6 {
        let (before, began) = (counter(), Instant::now());
        sleep(interval).await;
        let rate = (counter() - before) / began.elapsed().as_secs_f64();
        rates.push(rate);
        assert!(rate <= lent + off, "{what}: {rates:?} is more than was lent, {lent}");
        if rate >= lent - off {
            eprintln!("{what}: lent {lent}, achieved {rates:?} ({:+.2} %)", (rate / lent - 1.0) * 100.0);
            return;
        }
    }
    panic!("{what}: {rates:?} is less than was lent, {lent}");
}

/// Rates that are held within a share of what was lent.
pub(crate) async fn achieves_rate(what: &str, lent: f64, interval: Duration, counter: impl Fn() -> f64) {
    achieves(what, lent, lent * RATE_OFF, interval, counter).await;
}

pub(crate) async fn achieves_cores(path: &CgroupPath, lent: f64) {
    let control = CpuControl::new(&hierarchy(), path);
    let used = || control.counters().unwrap().usage.as_secs_f64();
    achieves("CPU, cores", lent, CORES_OFF, Duration::from_secs(4), used).await;
}

/// Both at once, as both are lent.
pub(crate) async fn achieves_disk(path: &CgroupPath, read: f64, write: f64) {
    // The kernel lets the first requests through and makes later ones wait.
    sleep(Duration::from_secs(1)).await;
    let moved = |of: fn(&DiskCounters) -> u64| {
        move || -> f64 {
            let counters = DiskTraffic::new(&hierarchy(), path).counters().unwrap();
            #[expect(clippy::cast_precision_loss, reason = "megabytes of a test")]
            counters.values().map(|counters| of(counters) as f64).sum()
        }
    };
    let interval = Duration::from_secs(6);
    tokio::join!(
        achieves_rate("disk read, bytes/s", read, interval, moved(|counters| counters.bytes.read)),
        achieves_rate("disk write, bytes/s", write, interval, moved(|counters| counters.bytes.write)),
    );
}
