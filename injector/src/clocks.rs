//! The kernel's clocks: monotonic time, and CPU time of a thread or of a process.
//!
//! Must not know what is timed. The time of day is not here: it is `ballast_api::Clock`'s.

use std::time::Duration;

use nix::{
    errno::Errno,
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_getcpuclockid, clock_gettime, clock_nanosleep},
    unistd::Pid,
};

#[expect(
    clippy::expect_used,
    reason = "these clocks exist on every Linux, and the only other error is a bad pointer"
)]
fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).expect("a clock that every Linux has").into()
}

/// Time since some fixed moment, the same for all processes of the machine; never set back.
#[must_use]
pub fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// CPU time that the calling thread has used.
#[must_use]
pub fn thread_cpu() -> Duration {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time that all threads of this process have used.
#[must_use]
pub fn process_cpu() -> Duration {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time that another process has used; `None` when it is gone.
#[must_use]
pub fn cpu_of(pid: Pid) -> Option<Duration> {
    let clock = clock_getcpuclockid(pid).ok()?;
    Some(clock_gettime(clock).ok()?.into())
}

/// Looks so often for a moment at which nobody took the processor away between clock and value.
const LOOKS: usize = 5;
/// So near are clock and value when nobody did.
const AT_ONCE: Duration = Duration::from_micros(100);

/// A value that changes with time, and the moment at which it was so, by [`monotonic`]. On a busy machine a look may be
/// interrupted for tens of milliseconds; then it is taken again, and the shortest counts.
pub fn at_once<T>(mut value: impl FnMut() -> T) -> (Duration, T) {
    let mut look = || {
        let (before, value, after) = (monotonic(), value(), monotonic());
        (after - before, before + (after - before) / 2, value)
    };
    let mut best = look();
    for _ in 1..LOOKS {
        if best.0 <= AT_ONCE {
            break;
        }
        let again = look();
        if again.0 < best.0 {
            best = again;
        }
    }
    (best.1, best.2)
}

/// Sleeps until [`monotonic`] says `moment`.
pub fn sleep_until(moment: Duration) {
    let moment = TimeSpec::from(moment);
    // A signal handler may cut the sleep short; an absolute time makes sleeping on simple.
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &moment)
        == Err(Errno::EINTR)
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_was_interrupted_is_taken_again() {
        let mut looks = 0;
        let (moment, value) = at_once(|| {
            looks += 1;
            let now = monotonic();
            if looks < 3 {
                sleep_until(now + Duration::from_millis(20));
            }
            now
        });
        assert!(looks >= 3, "{looks}");
        assert!(moment.abs_diff(value) < Duration::from_millis(10), "{moment:?} {value:?}");
    }

    #[test]
    fn what_always_takes_long_is_looked_at_a_few_times_only() {
        let mut looks = 0;
        let (moment, ()) = at_once(|| {
            looks += 1;
            sleep_until(monotonic() + Duration::from_millis(1));
        });
        assert_eq!(looks, LOOKS);
        assert!(moment <= monotonic());
    }
}
