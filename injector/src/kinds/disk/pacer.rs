//! When each request is due, so that requests come at an even rate however long each takes.
//!
//! Pure: it is told the time. Must not know what a request is, nor who makes it.

use std::time::Duration;

/// How much requests may lag behind. What a slow or throttled disk lost beyond that is never made up for, so that a limit
/// raised in the midst is not met by a burst.
const BACKLOG_SECONDS: f64 = 0.1;

/// How long after the end of the whole a request may be expected to be over: less than what a report may be off.
const OVERRUN_SECONDS: f64 = 0.015;

/// What of the longest request is still expected of the next, at most; and after how long half of it.
const MEMORY: f64 = 0.9;
const HALF_LIFE_SECONDS: f64 = 0.1;

/// How long to rest where a request would not be over in time, before asking whether that is so still.
const REST: Duration = Duration::from_millis(10);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// Make a request when it is due, and say how long it [took](Pacer::took).
    Request(Turn),
    /// Ask again when so much time has passed since the start.
    RestUntil(Duration),
    /// No request is to begin any more.
    Over,
}

/// A request to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    /// From 0 on, without gaps.
    pub(super) number: u64,
    /// Since the start; in the past for one that is late.
    pub(super) due: Duration,
}

/// The closed loop of all threads together: whoever is free takes the next turn.
#[derive(Debug, Clone)]
pub(super) struct Pacer {
    interval_seconds: f64,
    next_due_seconds: f64,
    taken: u64,
    /// How long a request takes, rather too long than too short; and since when.
    expected_seconds: f64,
    expected_at_seconds: f64,
}

impl Pacer {
    /// So many requests a second, more than none.
    pub(super) fn new(per_second: f64) -> Self {
        let interval_seconds = per_second.recip();
        // Half an interval at both ends: the number of requests is the nearest to the dose.
        Self {
            interval_seconds,
            next_due_seconds: 0.5 * interval_seconds,
            taken: 0,
            expected_seconds: 0.0,
            expected_at_seconds: 0.0,
        }
    }

    /// What a thread is to do that is free at `elapsed` since the start. It makes no request that would not be over in time:
    /// who is stuck in a throttled disk cannot be ended.
    pub(super) fn step(&mut self, elapsed: Duration, duration: Duration) -> Step {
        let (now, end) = (elapsed.as_secs_f64(), duration.as_secs_f64());
        let due = self.next_due_seconds.max(now - BACKLOG_SECONDS);
        let begins = due.max(now);
        if begins >= end {
            return Step::Over;
        }
        if begins + self.expected(begins) > end + OVERRUN_SECONDS {
            return Step::RestUntil(elapsed + REST);
        }
        self.next_due_seconds = due + self.interval_seconds;
        let number = self.taken;
        self.taken += 1;
        Step::Request(Turn { number, due: Duration::try_from_secs_f64(due).unwrap_or_default() })
    }

    /// A request took so long, and was over at `elapsed`.
    pub(super) fn took(&mut self, elapsed: Duration, time: Duration) {
        let now = elapsed.as_secs_f64();
        self.expected_seconds = time.as_secs_f64().max(MEMORY * self.expected(now));
        self.expected_at_seconds = now;
    }

    /// What long requests of the past make expect decays, so that one stall does not end a dose that it is long before the
    /// end of.
    fn expected(&self, now_seconds: f64) -> f64 {
        let past = (now_seconds - self.expected_at_seconds).max(0.0);
        self.expected_seconds * (-past / HALF_LIFE_SECONDS).exp2()
    }
}

/// Whether the request of this number reads, where `share` of all do: as even as whole requests can be.
#[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 requests")]
pub(super) fn reads(number: u64, share: f64) -> bool {
    let until = |number: u64| (number as f64 * share).floor();
    until(number + 1) > until(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DURATION: Duration = Duration::from_secs(4);

    /// When requests were made and over, on a disk of which `service` answers how long one takes that begins then.
    fn run(
        per_second: f64,
        threads: usize,
        service: impl Fn(Duration) -> Duration,
    ) -> Vec<(Duration, Duration)> {
        let mut pacer = Pacer::new(per_second);
        let (mut free, mut under_way) = (vec![Duration::ZERO; threads], vec![None; threads]);
        let mut requests = Vec::new();
        while let Some(thread) = (0..free.len()).min_by_key(|&thread| free[thread]) {
            let now = free[thread];
            // What it was at until now is told now, not when it began.
            if let Some(took) = under_way[thread].take() {
                pacer.took(now, took);
            }
            match pacer.step(now, DURATION) {
                Step::Request(turn) => {
                    let begins = turn.due.max(now);
                    let takes = service(begins);
                    requests.push((begins, begins + takes));
                    (free[thread], under_way[thread]) = (begins + takes, Some(takes));
                }
                Step::RestUntil(until) => free[thread] = until,
                Step::Over => {
                    free.swap_remove(thread);
                    under_way.swap_remove(thread);
                }
            }
        }
        requests
    }

    fn between(requests: &[(Duration, Duration)], from: Duration, to: Duration) -> usize {
        requests.iter().filter(|(begun, _)| (from..to).contains(begun)).count()
    }

    #[test]
    fn requests_come_evenly() {
        let requests = run(100.0, 4, |_| Duration::from_millis(5));
        assert_eq!(requests.len(), 400);
        for tenth in 0..40 {
            let from = Duration::from_millis(100 * tenth);
            assert_eq!(between(&requests, from, from + Duration::from_millis(100)), 10, "{from:?}");
        }
    }

    #[test]
    fn a_rate_below_one_request_is_rounded() {
        assert_eq!(run(0.3, 4, |_| Duration::ZERO).len(), 1);
        assert_eq!(run(0.1, 4, |_| Duration::ZERO).len(), 0);
    }

    #[test]
    fn a_stall_is_not_followed_by_a_burst() {
        // All threads are stuck for two of the four seconds; then the disk is fast.
        let stall = Duration::from_secs(1)..Duration::from_secs(3);
        let requests = run(100.0, 4, |begins| {
            if stall.contains(&begins) { stall.end - begins } else { Duration::from_millis(1) }
        });
        let burst = between(&requests, stall.end, stall.end + Duration::from_millis(100));
        assert!(burst <= 21, "{burst}: ten are due, and ten were allowed to lag behind");
        let whole = between(&requests, stall.end, DURATION);
        assert!((75..=111).contains(&whole), "{whole} in the last second");
    }

    #[test]
    fn what_would_be_stuck_at_the_end_is_not_begun() {
        // A limit lets 20 requests a second through: four threads wait 200 ms each.
        let requests = run(1000.0, 4, |_| Duration::from_millis(200));
        let last = requests.iter().map(|(_, over)| *over).max().unwrap();
        assert!(last <= DURATION + Duration::from_millis(15), "{last:?}");
        assert!(requests.len() >= 76, "{}", requests.len());
    }

    #[test]
    fn reads_are_spread_evenly() {
        let count = |share, upto: u64| (0..upto).filter(|number| reads(*number, share)).count();
        for upto in [10, 100, 1000] {
            assert_eq!(count(0.3, upto), usize::try_from(upto).unwrap() * 3 / 10);
        }
        assert_eq!((count(0.0, 1000), count(1.0, 1000)), (0, 1000));
    }

    proptest! {
        #[test]
        fn the_rate_is_exact_where_the_disk_can(
            per_second in 10.0..2000.0_f64,
            threads in 1..16_usize,
            // Of the time that a thread has for a request.
            loads in prop::collection::vec(0.0..0.7_f64, 40),
        ) {
            let budget = (threads as f64 / per_second).min(0.1);
            let service = |begins: Duration| {
                let at = begins.as_millis() / 10;
                Duration::from_secs_f64(budget * loads[at as usize % loads.len()])
            };
            let requests = run(per_second, threads, service);
            let late = 0.085 * per_second + 1.0;
            let missing = per_second * DURATION.as_secs_f64() - requests.len() as f64;
            prop_assert!(missing > -1.0 && missing <= late, "{missing} missing");
        }

        #[test]
        fn there_are_never_more_requests_than_the_rate_and_the_backlog(
            per_second in 1.0..500.0_f64,
            services_ms in prop::collection::vec(0..800_u64, 30),
        ) {
            let service = |begins: Duration| {
                Duration::from_millis(services_ms[(begins.as_millis() / 7) as usize % services_ms.len()])
            };
            let requests = run(per_second, 4, service);
            for (begun, _) in &requests {
                let second = between(&requests, *begun, *begun + Duration::from_secs(1));
                prop_assert!(second as f64 <= 1.1 * per_second + 2.0, "{second} in a second from {begun:?}");
            }
        }
    }
}
