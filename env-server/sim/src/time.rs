//! Simulated time: whole nanoseconds since the simulation began, and the few conversions from and to numbers.
//!
//! Must not know what happens in it.

use std::time::Duration;

/// Nanoseconds since the simulation began.
pub(crate) type Nanos = u64;

/// A time that never comes.
pub(crate) const NEVER: Nanos = Nanos::MAX;

/// A duration in nanoseconds; 584 years at most.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

/// The whole number at or above: zero for negative and undefined numbers, the largest there is for larger ones.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, as documented")]
pub(crate) fn ceil_u64(number: f64) -> u64 {
    number.ceil() as u64
}

/// The whole number at or below, saturating likewise.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, as documented")]
pub(crate) fn floor_u64(number: f64) -> u64 {
    number as u64
}

/// A count or a number of nanoseconds as a number: exact up to 2^53 (104 days).
#[expect(clippy::cast_precision_loss, reason = "documented above")]
pub(crate) fn float(whole: u64) -> f64 {
    whole as f64
}

/// Nanoseconds in seconds.
pub(crate) fn seconds(nanos: f64) -> f64 {
    nanos / 1e9
}
