//! CPU contention made on purpose: burner threads inside a container, as `ballast-injector cpu` starts them.
//!
//! Each thread owes an equal part of the asked cores. In every cycle it is given the cycle's part to burn; unthrottled
//! it burns it and sleeps, so that the asked cores are used exactly. Held back, it falls behind, up to a bound, and never
//! sleeps: then it competes with the victim's tasks, with [`BURNER_WEIGHT`]. Must not know the victim.

use std::time::Duration;

use crate::time::{Nanos, ceil_u64, float, nanos};

/// The shortest cycle of burning and sleeping, as the injector's.
pub const BURNER_CYCLE: Duration = Duration::from_millis(10);

/// The least CPU time that the injector wakes up for: smaller doses have longer cycles.
pub const SMALLEST_BURN: Duration = Duration::from_micros(200);

/// How much a thread lags behind at most, as wall-clock time, as in the injector: one CFS period. Beyond it the debt is
/// forgotten, so that a limit raised in the midst is not met by a burst.
pub const BURNER_BACKLOG: Duration = Duration::from_millis(100);

/// A burner's weight against a task of the victim, when both want more than the quota allows. The injector runs its
/// threads in a cgroup of the largest weight inside the target. Measured on the real one (Linux 6.18, 2 cores, the
/// default of 4 threads, a limit of 0.2 core): they get 0.12 core against 32 busy threads, three fifths of the quota,
/// so that one of them weighs as much as 12 of those.
pub const BURNER_WEIGHT: f64 = 12.0;

/// The most threads of one injection.
pub const MAX_BURNER_THREADS: usize = 1024;

/// CPU contention for one container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// CPU demand of all threads together, in cores; more than 0 and at most one for each thread.
    pub cores: f64,
    /// Threads that burn; the injector's default is one for each processor, and at least 4.
    pub threads: usize,
    /// How long.
    pub duration: Duration,
}

impl Injection {
    /// The rule that it breaks.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { cores, threads, duration } = self;
        if !(1..=MAX_BURNER_THREADS).contains(threads) {
            Some(format!("threads must be in 1..={MAX_BURNER_THREADS}, not {threads}"))
        } else if !(*cores > 0.0 && *cores <= float(*threads as u64)) {
            Some(format!("{threads} threads can burn more than 0 and at most {threads} cores, not {cores}"))
        } else if duration.is_zero() {
            Some("its duration is zero".to_owned())
        } else {
            None
        }
    }
}

/// An injection under way.
#[derive(Debug)]
pub(crate) struct Burners {
    pub(crate) container: usize,
    pub(crate) end: Nanos,
    /// Cores asked of one thread.
    share: f64,
    cycle: Nanos,
    threads: Vec<Burner>,
}

#[derive(Debug, Clone, Copy)]
struct Burner {
    owed_ns: f64,
    burning: bool,
}

impl Burners {
    pub(crate) fn new(container: usize, injection: &Injection, now: Nanos) -> Self {
        let idle = Burner { owed_ns: 0.0, burning: false };
        let share = injection.cores / float(injection.threads as u64);
        Self {
            container,
            end: now.saturating_add(nanos(injection.duration)),
            share,
            cycle: nanos(BURNER_CYCLE).max(ceil_u64(float(nanos(SMALLEST_BURN)) / share)),
            threads: vec![idle; injection.threads],
        }
    }

    /// Begins a cycle: hands `start` each thread that wakes, with what it burns. Answers when the cycle ends.
    pub(crate) fn begin_cycle(&mut self, now: Nanos, mut start: impl FnMut(usize, f64)) -> Nanos {
        let cycle_end = now.saturating_add(self.cycle).min(self.end);
        let due_ns = self.share * float(cycle_end - now);
        let most_ns = self.share * float(nanos(BURNER_BACKLOG).saturating_add(self.cycle));
        for (index, thread) in self.threads.iter_mut().enumerate() {
            thread.owed_ns = (thread.owed_ns + due_ns).min(most_ns);
            if !thread.burning {
                start(index, thread.take());
            }
        }
        cycle_end
    }

    /// A thread has burnt what it took; answers what it burns next, or nothing when it sleeps.
    pub(crate) fn next_burn(&mut self, thread: usize) -> Option<f64> {
        let thread = self.threads.get_mut(thread)?;
        thread.burning = false;
        (thread.owed_ns > 0.0).then(|| thread.take())
    }
}

impl Burner {
    fn take(&mut self) -> f64 {
        self.burning = true;
        std::mem::take(&mut self.owed_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cores: f64, threads: usize, millis: u64) -> Injection {
        Injection { cores, threads, duration: Duration::from_millis(millis) }
    }

    #[test]
    fn impossible_injections_are_named() {
        for bad in
            [of(0.0, 1, 1), of(-1.0, 1, 1), of(f64::NAN, 1, 1), of(1.5, 1, 1), of(0.5, 0, 1), of(0.5, 1, 0)]
        {
            assert!(bad.problem().is_some(), "{bad:?}");
        }
        assert!(of(2.0, 2, 1).problem().is_none());
    }

    #[test]
    fn the_last_cycle_is_as_short_as_the_injection_wants() {
        let mut burners = Burners::new(0, &of(0.5, 1, 15), 0);
        let mut burnt = Vec::new();
        let end = burners.begin_cycle(0, |_, ns| burnt.push(ns));
        assert_eq!(burners.next_burn(0), None);
        let end = burners.begin_cycle(end, |_, ns| burnt.push(ns));
        assert_eq!((end, burnt), (15_000_000, vec![5e6, 2.5e6]));
    }

    #[test]
    fn small_doses_have_long_cycles() {
        let mut burners = Burners::new(0, &of(0.01, 1, 1000), 0);
        assert_eq!(burners.begin_cycle(0, |_, ns| assert_eq!(ns, 200_000.0)), 20_000_000);
    }

    #[test]
    fn who_is_held_back_owes_no_more_than_the_bound() {
        let mut burners = Burners::new(0, &of(0.5, 1, 10_000), 0);
        let mut now = 0;
        let mut started = 0;
        for _ in 0..100 {
            now = burners.begin_cycle(now, |_, _| started += 1);
        }
        assert_eq!(started, 1);
        assert_eq!(burners.next_burn(0), Some(55e6));
        assert_eq!(burners.next_burn(0), None);
    }
}
