//! What was asked of a workload, what was achieved, how it ended: the ground truth about it.
//!
//! Pure. Must not know how requests are sent.

mod summary;

use ballast_api::UnixNanos;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    KIND,
    cli::Plan,
    engine::Outcome,
    schedule::Gaps,
    shape::Shape,
    tally::{Errors, Second, Statuses},
    target::Target,
};
use crate::report::Ending;

/// One workload, known before its first request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// What kind of injection: `load`.
    pub kind: &'static str,
    /// Unique on this machine.
    pub id: String,
    /// As its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where an injection is: `url`.
    pub place: &'static str,
    /// The URL.
    pub target: String,
    /// What is counted: `requests`.
    pub unit: &'static str,
    /// Where it led.
    pub address: String,
    /// GET and so on.
    pub method: String,
    /// The rate over time.
    #[serde(flatten)]
    pub shape: Shape,
    /// How requests are spaced.
    pub gaps: Gaps,
    /// Of spaces and bursts.
    pub seed: u64,
    /// The most.
    pub connections: u32,
    /// The most requests that wait for one.
    pub queue: usize,
    /// Of a request.
    pub timeout_seconds: f64,
    /// As asked.
    pub duration_requested_seconds: f64,
    /// When time 0 of the schedule was.
    pub started_unix_nanos: u64,
}

impl Workload {
    /// What is about to begin.
    #[must_use]
    pub fn new(label: Option<String>, plan: &Plan, target: &Target, now: UnixNanos) -> Self {
        Self {
            kind: KIND,
            label,
            place: "url",
            unit: "requests",
            id: format!("{}-{}", std::process::id(), now.0 / 1_000_000),
            target: target.url.clone(),
            address: target.address.to_string(),
            method: target.method.clone(),
            shape: plan.shape.clone(),
            gaps: plan.gaps,
            seed: plan.seed,
            connections: plan.limits.connections,
            queue: plan.limits.queue,
            timeout_seconds: plan.limits.timeout.as_secs_f64(),
            duration_requested_seconds: plan.limits.duration.as_secs_f64(),
            started_unix_nanos: now.0,
        }
    }
}

/// Times in seconds, exact to three digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of all were at most this.
    pub p50: f64,
    /// Nine of ten were at most this.
    pub p90: f64,
    /// 99 of 100 were at most this.
    pub p99: f64,
    /// 999 of 1000 were at most this.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    /// Absent when nothing was recorded.
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| seconds(histogram.value_at_quantile(quantile).min(histogram.max()));
        let max = seconds(histogram.max());
        let some = Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max };
        (!histogram.is_empty()).then_some(some)
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are exact")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// One workload that is over. Every request is answered or among the errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was asked.
    #[serde(flatten)]
    pub workload: Workload,
    /// When the last request could be sent.
    pub ended_unix_nanos: u64,
    /// From time 0 of the schedule until then.
    pub duration_seconds: f64,
    /// Requests that were due.
    pub requested: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// The same, by the name that it has for every kind of injection.
    pub achieved: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Due, per second.
    pub requested_rate: f64,
    /// Sent, per second.
    pub sent_rate: f64,
    /// Answered within the duration, per second.
    pub answered_rate: f64,
    /// Answers by class of status.
    pub statuses: Statuses,
    /// Requests without an answer, by reason.
    pub errors: Errors,
    /// From the moment at which an answered request was due to the end of its answer.
    pub latency_seconds: Option<Percentiles>,
    /// From the first byte of an answered request to the end of its answer.
    pub service_seconds: Option<Percentiles>,
    /// From the moment at which a sent request was due to its first byte.
    pub send_error_seconds: Option<Percentiles>,
    /// Each second of the duration, and those in which answers were waited for.
    pub each_second: Vec<Second>,
    /// Why it ended.
    pub ending: Ending,
    /// What the guard saw that stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
}

impl Report {
    /// Sums up.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
    pub fn new(workload: Workload, outcome: &Outcome, guard: Option<String>) -> Self {
        let Outcome { tally, sending, ending } = outcome;
        let lasted = sending.as_secs_f64();
        let per_second = |count: u64| if lasted > 0.0 { count as f64 / lasted } else { 0.0 };
        let nanos = u64::try_from(sending.as_nanos()).unwrap_or(u64::MAX);
        Self {
            ended_unix_nanos: workload.started_unix_nanos.saturating_add(nanos),
            workload,
            duration_seconds: lasted,
            requested: tally.requested,
            sent: tally.sent,
            achieved: tally.sent,
            answered: tally.answered,
            requested_rate: per_second(tally.requested),
            sent_rate: per_second(tally.sent),
            answered_rate: per_second(tally.answered_in_time),
            statuses: tally.statuses,
            errors: tally.errors,
            latency_seconds: Percentiles::of(&tally.latency),
            service_seconds: Percentiles::of(&tally.service),
            send_error_seconds: Percentiles::of(&tally.send_error),
            each_second: tally.seconds.clone(),
            ending: *ending,
            guard,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::tally::{Failure, Flight, Tally},
        *,
    };

    const SECOND: u64 = 1_000_000_000;

    fn workload() -> Workload {
        Workload {
            kind: "load",
            id: "1-1".to_owned(),
            label: None,
            place: "url",
            unit: "requests",
            target: "http://localhost/".to_owned(),
            address: "127.0.0.1:80".to_owned(),
            method: "GET".to_owned(),
            shape: Shape::Constant { rate: 2.0 },
            gaps: Gaps::Uniform,
            seed: 1,
            connections: 1,
            queue: 1,
            timeout_seconds: 10.0,
            duration_requested_seconds: 120.0,
            started_unix_nanos: 5,
        }
    }

    fn report(tally: Tally, ending: Ending) -> Report {
        Report::new(workload(), &Outcome { tally, sending: Duration::from_secs(120), ending }, None)
    }

    #[test]
    fn rates_are_of_the_duration_and_late_answers_do_not_count() {
        let mut tally = Tally::new(120 * SECOND);
        for second in 0..120 {
            tally.request(second * SECOND);
            tally.request(second * SECOND);
            tally.fail(Failure::Dropped, second * SECOND);
            let flight = Flight { intended: second * SECOND, sent: second * SECOND };
            tally.send(flight);
            tally.answer(flight, 200, (second + 1) * SECOND + SECOND / 2);
        }
        let report = report(tally, Ending::Completed);
        assert_eq!((report.requested_rate, report.sent_rate), (2.0, 1.0));
        assert_eq!((report.answered, report.answered_rate), (120, 119.0 / 120.0));
        assert_eq!(report.ended_unix_nanos, 120 * SECOND + 5);
        let text = report.to_string();
        for told in
            ["fewer than requested", "errors      120 dropped", "p50 1500", "      3 s            6        3"]
        {
            assert!(text.contains(told), "{told:?} is not in {text}");
        }
        // 121 seconds in rows of three.
        assert_eq!(text.lines().filter(|line| line.starts_with("    ")).count(), 41 + 1, "{text}");
    }

    #[test]
    fn a_load_without_answers_has_no_times() {
        let report = report(Tally::new(SECOND), Ending::Interrupted);
        assert_eq!((report.latency_seconds, report.answered_rate), (None, 0.0));
        let text = report.to_string();
        assert!(text.contains("latency      none") && text.contains("interrupted"), "{text}");
    }
}
