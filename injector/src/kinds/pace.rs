//! When threads that share one stream must move a chunk and when they must rest, so that all together keep to a rate.
//!
//! Pure: it is told the time. Must not know what is moved.

use std::time::Duration;

/// How often what is due is moved: fine enough that a service sees an even load.
const SHORTEST_CYCLE: Duration = Duration::from_millis(10);

/// How much the stream may lag behind, as time. What it lost beyond that (on a busy machine, or because there is no more
/// to be had) is never made up for, so that no burst follows.
const BACKLOG: Duration = Duration::from_millis(100);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// Move one chunk, then ask again. It counts as moved from now on.
    Move,
    /// Nothing until so much time has passed since the start.
    RestUntil(Duration),
}

/// The closed loop of one stream. One for all threads: so a thread that finds its processor busy takes less, and another
/// takes more.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    bytes_per_second: f64,
    chunk_bytes: f64,
    duration: Duration,
    cycle: Duration,
    moved: f64,
    forgiven: f64,
}

impl Pace {
    /// Chunks of so many bytes at this rate, more than 0, for `duration`.
    pub(super) fn new(bytes_per_second: f64, chunk_bytes: f64, duration: Duration) -> Self {
        let for_one = Duration::try_from_secs_f64(chunk_bytes / bytes_per_second).unwrap_or(duration);
        let cycle = for_one.min(duration).max(SHORTEST_CYCLE);
        Self { bytes_per_second, chunk_bytes, duration, cycle, moved: 0.0, forgiven: 0.0 }
    }

    /// What a thread is to do at `elapsed` since the start.
    pub(super) fn step(&mut self, elapsed: Duration) -> Step {
        // The last cycle is cut off, so that the whole is exact whatever the duration.
        let cycle_end = self.end_of_cycle(elapsed).min(self.duration);
        let owed = self.bytes_per_second * cycle_end.as_secs_f64() - self.moved - self.forgiven;
        let most_owed = self.bytes_per_second * (BACKLOG + self.cycle).as_secs_f64();
        self.forgiven += (owed - most_owed).max(0.0);
        // Half a chunk too much as often as half a chunk too little.
        if owed > 0.5 * self.chunk_bytes {
            self.moved += self.chunk_bytes;
            Step::Move
        } else {
            Step::RestUntil(cycle_end)
        }
    }

    /// Always after `elapsed`: in whole nanoseconds, because a rounded boundary could be the present.
    fn end_of_cycle(&self, elapsed: Duration) -> Duration {
        let into_cycle = elapsed.as_nanos() % self.cycle.as_nanos();
        elapsed + self.cycle - Duration::from_nanos(u64::try_from(into_cycle).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNK: f64 = 262_144.0;
    const DURATION: Duration = Duration::from_secs(3);

    /// Threads of a machine, each with the time that it needs for a chunk and the moment when it is free again.
    struct Machine {
        chunk_times: Vec<Duration>,
        free_at: Vec<Duration>,
        moved: f64,
    }

    impl Machine {
        fn new(bytes_per_second_of_each: &[f64]) -> Self {
            let chunk_times =
                bytes_per_second_of_each.iter().map(|speed| Duration::from_secs_f64(CHUNK / speed)).collect();
            Self { chunk_times, free_at: vec![Duration::ZERO; bytes_per_second_of_each.len()], moved: 0.0 }
        }

        /// Runs the loop; `lost` answers how long the scheduler keeps the thread of this number waiting at a moment.
        fn run(mut self, rate: f64, lost: impl Fn(usize, Duration) -> Duration) -> f64 {
            let mut pace = Pace::new(rate, CHUNK, DURATION);
            while let Some((thread, now)) = self.next() {
                match pace.step(now) {
                    Step::Move => {
                        self.free_at[thread] = now + self.chunk_times[thread] + lost(thread, now);
                        self.moved += CHUNK;
                    }
                    Step::RestUntil(until) => self.free_at[thread] = until.max(now + Duration::from_nanos(1)),
                }
            }
            self.moved / DURATION.as_secs_f64()
        }

        fn next(&self) -> Option<(usize, Duration)> {
            let all = self.free_at.iter().copied().enumerate();
            all.filter(|(_, free_at)| *free_at < DURATION).min_by_key(|(_, free_at)| *free_at)
        }
    }

    #[test]
    fn a_fast_thread_makes_up_for_a_slow_one() {
        let achieved = Machine::new(&[8e9, 0.1e9]).run(4e9, |_, _| Duration::ZERO);
        assert!((achieved / 4e9 - 1.0).abs() < 0.01, "{achieved}");
    }

    #[test]
    fn what_the_machine_cannot_give_is_not_given() {
        let achieved = Machine::new(&[2e9, 1e9]).run(4e9, |_, _| Duration::ZERO);
        assert!((achieved / 3e9 - 1.0).abs() < 0.01, "{achieved}");
    }

    #[test]
    fn what_was_lost_beyond_the_backlog_is_not_made_up_for() {
        // All stands still for one of three seconds; then there is ten times what is asked.
        let stop = |_, now: Duration| {
            if now < Duration::from_millis(1) { Duration::from_secs(1) } else { Duration::ZERO }
        };
        let achieved = Machine::new(&[10e9]).run(1e9, stop);
        let most = (2.0 + (BACKLOG + 2 * SHORTEST_CYCLE).as_secs_f64()) / 3.0 * 1e9;
        assert!(achieved > 2e9 / 3.0 && achieved < most, "{achieved}");
    }

    #[test]
    fn a_rate_of_less_than_a_chunk_in_a_cycle_is_kept_too() {
        let achieved = Machine::new(&[8e9, 8e9]).run(1e6, |_, _| Duration::ZERO);
        assert!((achieved / 1e6 - 1.0).abs() < 0.1, "{achieved}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_rate_is_exact_whatever_the_scheduler_does(
            rate in 1e7..6e9_f64,
            threads in 1..6_usize,
            // Each tenth of a second one thread is kept waiting for so long.
            lumps in prop::collection::vec(0..20_u64, 30),
        ) {
            let machine = Machine::new(&vec![12e9 / threads as f64; threads]);
            let waited = std::cell::RefCell::new(lumps);
            let achieved = machine.run(rate, |_, now| {
                let mut waited = waited.borrow_mut();
                let lump = waited.get_mut((now.as_millis() / 100) as usize).map(std::mem::take);
                Duration::from_millis(lump.unwrap_or_default())
            });
            prop_assert!((achieved / rate - 1.0).abs() < 0.02, "{achieved} of {rate}");
        }
    }
}
