//! What became of the requests: counts, and histograms of times.
//!
//! Pure. Bounded by the number of seconds: an hour and a time-out. Must not know sockets. All times are nanoseconds since
//! the begin.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that a histogram tells apart: two hours, since a load lasts one.
const LONGEST_NANOS: u64 = 7_200_000_000_000;

const SECOND: u64 = 1_000_000_000;

/// A request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// When it was to be sent.
    pub intended: u64,
    /// When its first byte was.
    pub sent: u64,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be opened for it.
    Connect,
    /// The answer did not come in time.
    Timeout,
    /// The connection was closed or reset before the end of the answer.
    Closed,
    /// What came was no answer.
    Malformed,
    /// Never sent: the queue was full.
    Dropped,
    /// Never sent: it was in the queue at the end.
    Unsent,
    /// The load was ended before its answer came.
    Unfinished,
}

/// Requests without an answer, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// No connection could be opened.
    pub connect: u64,
    /// The answer did not come in time.
    pub timeout: u64,
    /// The connection ended before the answer did.
    pub closed: u64,
    /// What came was no answer.
    pub malformed: u64,
    /// Never sent: the queue was full.
    pub dropped: u64,
    /// Never sent: in the queue at the end.
    pub unsent: u64,
    /// Sent, and the load was ended before the answer came.
    pub unfinished: u64,
}

impl Errors {
    fn of(&mut self, failure: Failure) -> &mut u64 {
        match failure {
            Failure::Connect => &mut self.connect,
            Failure::Timeout => &mut self.timeout,
            Failure::Closed => &mut self.closed,
            Failure::Malformed => &mut self.malformed,
            Failure::Dropped => &mut self.dropped,
            Failure::Unsent => &mut self.unsent,
            Failure::Unfinished => &mut self.unfinished,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { connect, timeout, closed, malformed, dropped, unsent, unfinished } = self;
        connect + timeout + closed + malformed + dropped + unsent + unfinished
    }
}

/// Answers by class of status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Statuses {
    /// 200 to 299.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// 300 to 399: redirects are not followed.
    #[serde(rename = "3xx")]
    pub redirect: u64,
    /// 400 to 499.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// 500 to 599.
    #[serde(rename = "5xx")]
    pub server_error: u64,
    /// 600 and more, which HTTP does not know.
    pub other: u64,
}

/// One second of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Were to be sent in it.
    pub requested: u64,
    /// Were sent in it.
    pub sent: u64,
    /// Were answered in it.
    pub answered: u64,
    /// Failed in it.
    pub failed: u64,
}

/// Counts and times of a load.
#[derive(Debug)]
pub struct Tally {
    /// When the load is to end: what is answered later does not count for the rate.
    end: u64,
    /// Were to be sent.
    pub requested: u64,
    /// Were sent.
    pub sent: u64,
    /// Were answered.
    pub answered: u64,
    /// Were answered before the load's end.
    pub answered_in_time: u64,
    /// Answers by class.
    pub statuses: Statuses,
    /// The others by reason.
    pub errors: Errors,
    /// From the intended time to the end of the answer.
    pub latency: Histogram<u64>,
    /// From the first byte sent to the end of the answer.
    pub service: Histogram<u64>,
    /// From the intended time to the first byte sent.
    pub send_error: Histogram<u64>,
    /// Latencies since [`Self::forget_recent`].
    pub recent: Histogram<u64>,
    /// Each second, by when it happened.
    pub seconds: Vec<Second>,
}

#[expect(clippy::expect_used, reason = "these bounds and digits are in the range that the crate accepts")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NANOS, 3).expect("valid bounds")
}

impl Tally {
    /// Nothing yet, of a load that ends at `end`.
    #[must_use]
    pub fn new(end: u64) -> Self {
        Self {
            end,
            requested: 0,
            sent: 0,
            answered: 0,
            answered_in_time: 0,
            statuses: Statuses::default(),
            errors: Errors::default(),
            latency: histogram(),
            service: histogram(),
            send_error: histogram(),
            recent: histogram(),
            seconds: Vec::new(),
        }
    }

    fn second(&mut self, now: u64) -> &mut Second {
        let index = usize::try_from(now.min(LONGEST_NANOS) / SECOND).unwrap_or(0);
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    /// A request is due.
    pub fn request(&mut self, intended: u64) {
        self.requested += 1;
        self.second(intended).requested += 1;
    }

    /// Its first byte is sent.
    pub fn send(&mut self, flight: Flight) {
        self.sent += 1;
        self.second(flight.sent).sent += 1;
        self.send_error.saturating_record(flight.sent.saturating_sub(flight.intended));
    }

    /// It was answered.
    pub fn answer(&mut self, flight: Flight, status: u16, now: u64) {
        self.answered += 1;
        self.answered_in_time += u64::from(now <= self.end);
        self.second(now).answered += 1;
        *match status / 100 {
            2 => &mut self.statuses.success,
            3 => &mut self.statuses.redirect,
            4 => &mut self.statuses.client_error,
            5 => &mut self.statuses.server_error,
            _ => &mut self.statuses.other,
        } += 1;
        let latency = now.saturating_sub(flight.intended);
        self.latency.saturating_record(latency);
        self.recent.saturating_record(latency);
        self.service.saturating_record(now.saturating_sub(flight.sent));
    }

    /// It will have no answer.
    pub fn fail(&mut self, failure: Failure, now: u64) {
        *self.errors.of(failure) += 1;
        self.second(now).failed += 1;
    }

    /// Begins anew with [`Self::recent`].
    pub fn forget_recent(&mut self) {
        self.recent.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_the_intended_moment_and_events_in_their_second() {
        let mut tally = Tally::new(2 * SECOND);
        tally.request(SECOND / 2);
        let flight = Flight { intended: SECOND / 2, sent: SECOND };
        tally.send(flight);
        tally.answer(flight, 204, 2 * SECOND + 1);
        let near = |histogram: &Histogram<u64>, nanos: u64| {
            (histogram.max() as f64 / nanos as f64 - 1.0).abs() < 0.001
        };
        assert!(near(&tally.latency, 3 * SECOND / 2) && near(&tally.service, SECOND));
        assert!(near(&tally.send_error, SECOND / 2));
        let one = |requested, sent, answered| Second { requested, sent, answered, failed: 0 };
        assert_eq!(tally.seconds, [one(1, 0, 0), one(0, 1, 0), one(0, 0, 1)]);
        assert_eq!((tally.answered, tally.answered_in_time, tally.statuses.success), (1, 0, 1));
    }

    #[test]
    fn every_failure_is_counted_by_its_reason() {
        use Failure as F;
        let mut tally = Tally::new(SECOND);
        let all = [F::Connect, F::Timeout, F::Closed, F::Malformed, F::Dropped, F::Unsent, F::Unfinished];
        for (times, failure) in all.into_iter().enumerate() {
            (0..=times).for_each(|_| tally.fail(failure, 0));
        }
        assert_eq!(serde_json::to_value(tally.errors).unwrap()["dropped"], 5);
        assert_eq!((tally.errors.total(), tally.seconds[0].failed), (28, 28));
    }
}
