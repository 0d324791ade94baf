//! How a dose goes: each second, and in total.
//!
//! Pure. Must not know who gives it.

use std::time::Duration;

use ballast_api::UnixNanos;

use super::messages::Reading;
use crate::report::{Ending, Injection, Report};

/// The shortest last interval that counts among the seconds of a report.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// A dose that has begun.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) injection: Injection,
    pub(super) start: Reading,
    last: Reading,
    second_began: Reading,
    each_second: Vec<f64>,
    /// Why a guard has stopped it.
    pub(super) guard: Option<String>,
}

impl Course {
    pub(super) fn new(injection: Injection, start: Reading) -> Self {
        Self { injection, start, last: start, second_began: start, each_second: Vec::new(), guard: None }
    }

    /// Takes note of how far it is; with nothing new, the last reading stays.
    pub(super) fn note(&mut self, reading: Option<Reading>) {
        self.last = reading.unwrap_or(self.last);
        self.count_second(Duration::from_secs(1));
    }

    fn count_second(&mut self, at_least: Duration) {
        if self.last.monotonic.saturating_sub(self.second_began.monotonic) >= at_least {
            self.each_second.push(self.last.dose_since(self.second_began));
            self.second_began = self.last;
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.last.monotonic.saturating_sub(self.start.monotonic)
    }

    /// The last full second's dose; in the first second, the dose so far.
    pub(super) fn lately(&self) -> f64 {
        self.each_second.last().copied().unwrap_or_else(|| self.last.dose_since(self.start))
    }

    /// It ended now, or at this reading. The dose is that until the last reading; the time, until it ended.
    pub(super) fn end(mut self, reading: Option<Reading>, ended: Duration, ending: Ending) -> Report {
        self.note(reading);
        self.count_second(HALF_A_SECOND);
        let lasted = ended.saturating_sub(self.start.monotonic);
        Report {
            ended_unix_nanos: UnixNanos(self.injection.started_unix_nanos).plus(lasted).0,
            duration_seconds: lasted.as_secs_f64(),
            achieved: self.last.dose_since(self.start),
            achieved_each_second: self.each_second,
            ending,
            guard: self.guard,
            injection: self.injection,
        }
    }
}
