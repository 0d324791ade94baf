//! When a thread must burn and when it must rest, so that its CPU time keeps to a share of the wall-clock time.
//!
//! Pure: it is told both clocks. Must not know what burning is.

use std::time::Duration;

/// The shortest cycle of burning and resting: fine enough that a CFS period of 100 ms sees an even load.
const SHORTEST_CYCLE: Duration = Duration::from_millis(10);

/// The least CPU time worth waking up for: well above what a wake-up itself costs (a few microseconds), so that small
/// doses are exact too.
const SMALLEST_BURN: Duration = Duration::from_micros(200);

/// How much a thread may lag behind, as wall-clock time: one CFS period. What it lost beyond that (throttled, or on a
/// busy machine) it never makes up for, so that a limit raised in the midst is not met by a burst.
const BACKLOG: Duration = Duration::from_millis(100);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// Use a little CPU time, then ask again.
    Burn,
    /// Nothing until so much time has passed since the start.
    RestUntil(Duration),
}

/// The closed loop of one thread. In each cycle it owes what keeps it on its share until the cycle's end.
#[derive(Debug, Clone)]
pub(super) struct DutyCycle {
    share: f64,
    duration: Duration,
    cycle: Duration,
    forgiven_seconds: f64,
}

impl DutyCycle {
    /// A loop that uses `share` of one core, in (0, 1], for `duration`.
    #[must_use]
    pub(super) fn new(share: f64, duration: Duration) -> Self {
        let enough = SMALLEST_BURN.as_secs_f64() / share;
        // A cycle longer than the whole is as good as the whole.
        let cycle = Duration::try_from_secs_f64(enough).unwrap_or(duration).min(duration).max(SHORTEST_CYCLE);
        Self { share, duration, cycle, forgiven_seconds: 0.0 }
    }

    /// What to do at `elapsed` since the start, having used `cpu` since then.
    pub(super) fn step(&mut self, elapsed: Duration, cpu: Duration) -> Step {
        // The last cycle is cut off, so that the whole dose is exact whatever the duration.
        let cycle_end = self.end_of_cycle(elapsed).min(self.duration);
        let owed = self.share * cycle_end.as_secs_f64() - cpu.as_secs_f64() - self.forgiven_seconds;
        let most_owed = self.share * (BACKLOG + self.cycle).as_secs_f64();
        self.forgiven_seconds += (owed - most_owed).max(0.0);
        if owed > 0.0 { Step::Burn } else { Step::RestUntil(cycle_end) }
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

    /// A machine for one thread: burning takes CPU time, and the scheduler may take the CPU away or wake it up late.
    struct Machine {
        wall: Duration,
        cpu: Duration,
    }

    impl Machine {
        /// Runs the loop until `duration`. `lost` answers how long the scheduler keeps the thread waiting at each step.
        fn run(share: f64, duration: Duration, mut lost: impl FnMut() -> Duration) -> Self {
            let mut machine = Self { wall: Duration::ZERO, cpu: Duration::ZERO };
            let mut cycle = DutyCycle::new(share, duration);
            while machine.wall < duration {
                match cycle.step(machine.wall, machine.cpu) {
                    Step::Burn => {
                        machine.wall += CHUNK;
                        machine.cpu += CHUNK;
                    }
                    Step::RestUntil(until) => machine.wall = machine.wall.max(until),
                }
                machine.wall += lost();
            }
            machine
        }

        fn achieved(&self, duration: Duration) -> f64 {
            self.cpu.as_secs_f64() / duration.as_secs_f64()
        }
    }

    const CHUNK: Duration = Duration::from_micros(25);
    const DURATION: Duration = Duration::from_secs(5);

    #[test]
    fn a_tiny_dose_is_exact() {
        let achieved = Machine::run(0.000_5, DURATION, || Duration::ZERO).achieved(DURATION);
        assert!((achieved / 0.000_5 - 1.0).abs() < 0.05, "{achieved}");
    }

    #[test]
    fn a_full_dose_never_rests() {
        let mut cycle = DutyCycle::new(1.0, DURATION);
        for elapsed in (0..4999).map(Duration::from_millis) {
            assert_eq!(cycle.step(elapsed, elapsed), Step::Burn);
        }
    }

    #[test]
    fn what_was_lost_beyond_one_period_is_not_made_up_for() {
        let (share, mut stalled) = (0.5, false);
        // Nothing for three of the five seconds, then all the CPU it wants.
        let machine = Machine::run(share, DURATION, || {
            if std::mem::replace(&mut stalled, true) { Duration::ZERO } else { Duration::from_secs(3) }
        });
        let most = share * (2.0 + BACKLOG.as_secs_f64() + 2.0 * SHORTEST_CYCLE.as_secs_f64());
        assert!(machine.cpu.as_secs_f64() < most + 0.001, "{:?} is more than {most}", machine.cpu);
        assert!(machine.cpu.as_secs_f64() > share * 2.0, "{:?}", machine.cpu);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_dose_is_exact_whatever_the_scheduler_does(
            share in 0.005..0.8_f64,
            duration_ms in 1_000..4_000_u64,
            // On average a quarter of the CPU that the loop leaves free goes to others, in lumps of up to 20 ms.
            lumps in prop::collection::vec(0..20_u64, 50),
        ) {
            let duration = Duration::from_millis(duration_ms);
            let (mut lumps, mut until_next, mut debt) = (lumps.into_iter().cycle(), 0.0, Duration::ZERO);
            let machine = Machine::run(share, duration, || {
                until_next -= CHUNK.as_secs_f64();
                if until_next > 0.0 {
                    return Duration::ZERO;
                }
                debt = Duration::from_millis(lumps.next().unwrap_or_default());
                // Each lump is followed by enough undisturbed CPU time to catch up.
                until_next = 1.5 * debt.as_secs_f64() * share / (1.0 - share) + CHUNK.as_secs_f64();
                debt
            });
            // The end may fall into a lump: at most that much of the share, and a cycle's, is missing.
            let missing = share * (0.020 + SHORTEST_CYCLE.as_secs_f64()) / duration.as_secs_f64();
            let error = machine.achieved(duration) - share;
            prop_assert!(error < 0.001 && error > -missing - 0.001, "{error} at {share}");
        }
    }
}
