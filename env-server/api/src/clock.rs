//! The time of day, passed in: nobody else reads the clock, so tests and simulations can set it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// How far another machine's clock may be ahead. Clocks that are kept by NTP are some milliseconds apart, and a node
/// answers within some; with more, what is that much too old would pass for fresh.
pub const CLOCKS_APART: Duration = Duration::from_secs(1);

/// Nanoseconds since 1970-01-01 UTC, as OpenTelemetry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The time from `earlier` until this one; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long ago this was at `now`, where another machine's clock may have said either; zero when it is a little ahead.
    /// Absent when it is ahead by more than [`CLOCKS_APART`]: one of the clocks was set, so nobody knows how old it is.
    #[must_use]
    pub fn age_at(self, now: Self) -> Option<Duration> {
        (self.since(now) <= CLOCKS_APART).then(|| now.since(self))
    }

    /// This time, later by `by`; stops at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This time, earlier by `by`; stops at 1970.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Seconds since 1970, with the fraction that an `f64` can hold (about a microsecond).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "documented above")]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// Who tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixNanos;

    /// The time since some fixed moment, for what passes between two moments: it goes on evenly whoever sets the time of
    /// day. Where nobody does, both are the same clock.
    fn monotonic(&self) -> Duration {
        self.now().since(UnixNanos::default())
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    fn now(&self) -> UnixNanos {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos::default().plus(since_epoch)
    }

    fn monotonic(&self) -> Duration {
        // Every Linux has this clock.
        clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dated_ahead_has_no_age() {
        let now = UnixNanos(100_000_000_000);
        let seconds = Duration::from_secs;
        assert_eq!(now.minus(seconds(7)).age_at(now), Some(seconds(7)));
        assert_eq!(now.plus(CLOCKS_APART).age_at(now), Some(Duration::ZERO), "clocks are a little apart");
        assert_eq!(now.plus(CLOCKS_APART).plus(Duration::from_nanos(1)).age_at(now), None);
        assert_eq!(UnixNanos(u64::MAX).age_at(UnixNanos(0)), None);
    }

    #[test]
    fn the_machines_monotonic_clock_goes_on() {
        let before = SystemClock.monotonic();
        assert!(before > Duration::ZERO && SystemClock.monotonic() >= before);
    }
}
