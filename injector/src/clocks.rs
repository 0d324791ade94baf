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

/// Sleeps until [`monotonic`] says `moment`.
pub fn sleep_until(moment: Duration) {
    let moment = TimeSpec::from(moment);
    // A signal handler may cut the sleep short; an absolute time makes sleeping on simple.
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &moment)
        == Err(Errno::EINTR)
    {}
}
