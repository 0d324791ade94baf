//! Nanoseconds since the begin of a load, and an alarm at one of them.
//!
//! Must not know what happens then.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::clocks;

/// The time since a begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticker {
    begin: Duration,
}

impl Ticker {
    /// Begins now.
    pub(super) fn start() -> Self {
        Self { begin: clocks::monotonic() }
    }

    /// Nanoseconds since the begin.
    pub(super) fn nanos(&self) -> u64 {
        u64::try_from((clocks::monotonic() - self.begin).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A descriptor that can be read from some moment on. Unlike a timeout of `epoll_wait`, it is exact to less than a
/// millisecond, and not put off by the slack that the kernel grants other sleeps.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    set_to: u64,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self { timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, set_to: 0 })
    }

    /// Rings at `nanos`, and at no other moment.
    pub(super) fn set(&mut self, nanos: u64, ticker: &Ticker) -> io::Result<()> {
        if nanos != self.set_to {
            let moment = ticker.begin + Duration::from_nanos(nanos);
            self.timer.set(Expiration::OneShot(moment.into()), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.set_to = nanos;
        }
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
