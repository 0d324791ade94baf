//! What was asked of a workload, what was achieved, how it ended: the ground truth about it.
//!
//! Pure. Must not know how requests are sent.

use std::fmt;

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

/// Below this share of the due requests the report says that the rate was not reached.
const REACHED: f64 = 0.98;

/// The most rows that show how it went over time; a longer load has several seconds in each.
const MOST_ROWS: usize = 60;

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

impl Report {
    /// How it went over time, for loads of more than a second.
    fn write_course(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = &self.each_second;
        let each = seconds.len().div_ceil(MOST_ROWS);
        if seconds.len() < 2 {
            return Ok(());
        }
        write!(f, "\n  until       requested     sent answered   failed")?;
        for (row, together) in seconds.chunks(each).enumerate() {
            let sum = |column: fn(&Second) -> u64| together.iter().map(column).sum::<u64>();
            let until = row * each + together.len();
            let (requested, sent) = (sum(|second| second.requested), sum(|second| second.sent));
            let (answered, failed) = (sum(|second| second.answered), sum(|second| second.failed));
            write!(f, "\n    {until:>4} s    {requested:>9} {sent:>8} {answered:>8} {failed:>8}")?;
        }
        Ok(())
    }
}

/// Five columns in milliseconds.
struct Row<'a>(&'a str, Option<Percentiles>);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, times) = self;
        write!(f, "\n  {name:<12}")?;
        let Some(Percentiles { p50, p90, p99, p99_9, max }) = times else { return write!(f, " none") };
        for (column, seconds) in [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("max", max)] {
            write!(f, " {column} {:<9.3}", 1000.0 * seconds)?;
        }
        write!(f, " ms")
    }
}

/// Names and counts; those of zero are left out.
fn list(counts: &[(&str, u64)]) -> String {
    let shown = counts.iter().filter(|(_, count)| *count > 0);
    let shown: Vec<String> = shown.map(|(name, count)| format!("{count} {name}")).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

impl fmt::Display for Report {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workload { target, method, duration_requested_seconds, .. } = &self.workload;
        let guard = self.guard.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(f, "load on {method} {target}: {}{guard}", self.ending)?;
        writeln!(f, "  requested   {} requests, {:.1}/s", self.requested, self.requested_rate)?;
        writeln!(f, "  sent        {} requests, {:.1}/s", self.sent, self.sent_rate)?;
        write!(
            f,
            "  answered    {} requests, {:.1}/s within the duration",
            self.answered, self.answered_rate
        )?;
        if (self.sent as f64) < REACHED * self.requested as f64 {
            write!(
                f,
                "\n              fewer than requested: all connections were busy, or none could be opened"
            )?;
        }
        let Statuses { success, redirect, client_error, server_error, other } = self.statuses;
        let statuses = [
            ("2xx", success),
            ("3xx", redirect),
            ("4xx", client_error),
            ("5xx", server_error),
            ("others", other),
        ];
        write!(f, "\n  statuses    {}", list(&statuses))?;
        let Errors { connect, timeout, closed, malformed, dropped, unsent, unfinished } = self.errors;
        let errors = [
            ("not connected", connect),
            ("timed out", timeout),
            ("closed", closed),
            ("malformed", malformed),
            ("dropped (queue full)", dropped),
            ("unsent (queued at the end)", unsent),
            ("unfinished at the end", unfinished),
        ];
        write!(f, "\n  errors      {}", list(&errors))?;
        write!(f, "{}", Row("latency", self.latency_seconds))?;
        write!(f, "{}", Row("service time", self.service_seconds))?;
        write!(f, "{}", Row("send error", self.send_error_seconds))?;
        self.write_course(f)?;
        write!(f, "\n  duration    {:.3} s of {duration_requested_seconds:.3} s", self.duration_seconds)
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
