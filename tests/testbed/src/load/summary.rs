//! What came of the requests: counts and latency histograms, and how they are told.
//!
//! Must not know how requests are sent.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with success.
    Completed,
    /// Answered with an error, or the connection failed.
    Failed,
    /// Not answered in time.
    TimedOut,
    /// Not sent: too many were under way.
    NotSent,
}

/// One request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// Which request type, by its number.
    pub request: usize,
    /// What came of it.
    pub outcome: Outcome,
    /// From the intended time of sending until the end.
    pub latency: Duration,
    /// From the intended time of sending until it was sent.
    pub send_delay: Duration,
}

/// Latencies in microseconds up to a minute, three digits exact.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    const MAX_US: u64 = 60_000_000;

    /// # Errors
    /// Never with these bounds; the histogram's own check is passed on.
    fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, Self::MAX_US, 3)?))
    }

    fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.clamp(1, Self::MAX_US));
    }

    /// In milliseconds; absent when nothing was recorded.
    fn percentiles(&self) -> Option<Percentiles> {
        #[expect(clippy::cast_precision_loss, reason = "at most a minute")]
        let ms = |micros: u64| micros as f64 / 1e3;
        (!self.0.is_empty()).then(|| Percentiles {
            p50: ms(self.0.value_at_quantile(0.5)),
            p95: ms(self.0.value_at_quantile(0.95)),
            p99: ms(self.0.value_at_quantile(0.99)),
            max: ms(self.0.max()),
        })
    }
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95th.
    pub p95: f64,
    /// 99th.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Counts and latencies of one request type.
#[derive(Debug, Clone)]
struct PerType {
    name: String,
    completed: u64,
    failed: u64,
    latencies: Latencies,
}

/// Collects what came of requests.
#[derive(Debug)]
pub struct Recorder {
    types: Vec<PerType>,
    not_sent: u64,
    timed_out: u64,
    send_delays: Latencies,
    since_last_look: Latencies,
}

impl Recorder {
    /// Nothing yet, for request types of these names.
    ///
    /// # Errors
    /// Never in practice: when a histogram cannot be made.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> anyhow::Result<Self> {
        let empty = Latencies::new()?;
        let types = names.map(|name| PerType {
            name: name.to_owned(),
            completed: 0,
            failed: 0,
            latencies: empty.clone(),
        });
        Ok(Self {
            types: types.collect(),
            not_sent: 0,
            timed_out: 0,
            send_delays: empty.clone(),
            since_last_look: empty,
        })
    }

    /// Adds one. Latencies are those of the answered and of the timed out: a refused connection is over in no time and
    /// would make the rest look better.
    pub fn record(&mut self, finished: &Finished) {
        let Some(per_type) = self.types.get_mut(finished.request) else { return };
        match finished.outcome {
            Outcome::Completed => per_type.completed += 1,
            Outcome::Failed | Outcome::TimedOut | Outcome::NotSent => per_type.failed += 1,
        }
        if finished.outcome == Outcome::NotSent {
            self.not_sent += 1;
            return;
        }
        self.send_delays.record(finished.send_delay);
        if finished.outcome == Outcome::TimedOut {
            self.timed_out += 1;
        }
        if finished.outcome != Outcome::Failed {
            per_type.latencies.record(finished.latency);
            self.since_last_look.record(finished.latency);
        }
    }

    /// Requests completed and failed until now, and the latencies since this was asked last.
    pub fn look(&mut self) -> (u64, u64, Option<Percentiles>) {
        let percentiles = self.since_last_look.percentiles();
        self.since_last_look.0.reset();
        let sum = |count: fn(&PerType) -> u64| self.types.iter().map(count).sum();
        (sum(|per_type| per_type.completed), sum(|per_type| per_type.failed), percentiles)
    }

    /// All of it, after sending for `elapsed`.
    #[must_use]
    pub fn summary(&self, elapsed: Duration) -> Summary {
        let completed: u64 = self.types.iter().map(|per_type| per_type.completed).sum();
        let failed: u64 = self.types.iter().map(|per_type| per_type.failed).sum();
        let sent = completed + failed - self.not_sent;
        let per_type = self.types.iter().map(|per_type| {
            let summary = TypeSummary {
                completed: per_type.completed,
                failed: per_type.failed,
                latency_ms: per_type.latencies.percentiles(),
            };
            (per_type.name.clone(), summary)
        });
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
        let rate_achieved = if elapsed.is_zero() { 0.0 } else { sent as f64 / elapsed.as_secs_f64() };
        Summary {
            sent,
            completed,
            failed,
            timed_out: self.timed_out,
            not_sent: self.not_sent,
            rate_achieved,
            send_delay_ms: self.send_delays.percentiles(),
            per_type: per_type.collect(),
        }
    }
}

/// What came of all requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Requests that left.
    pub sent: u64,
    /// Answered with success.
    pub completed: u64,
    /// Everything else, those not sent included.
    pub failed: u64,
    /// Failed because no answer came in time.
    pub timed_out: u64,
    /// Failed because too many were under way.
    pub not_sent: u64,
    /// Sent, per second.
    pub rate_achieved: f64,
    /// How late requests left: large values mean that this program or its machine was too slow.
    pub send_delay_ms: Option<Percentiles>,
    /// By request type.
    pub per_type: BTreeMap<String, TypeSummary>,
}

/// What came of one request type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TypeSummary {
    /// Answered with success.
    pub completed: u64,
    /// Everything else.
    pub failed: u64,
    /// From the intended time of sending; the answered and the timed out. Absent when there were none.
    pub latency_ms: Option<Percentiles>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "sent {} ({:.1}/s), completed {}, failed {} (timed out {}, not sent {})",
            self.sent, self.rate_achieved, self.completed, self.failed, self.timed_out, self.not_sent
        )?;
        writeln!(
            f,
            "{:<24} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9}",
            "latency in ms", "completed", "failed", "p50", "p95", "p99", "max"
        )?;
        for (name, per_type) in &self.per_type {
            write!(f, "{name:<24} {:>9} {:>7}", per_type.completed, per_type.failed)?;
            write_percentiles(f, per_type.latency_ms)?;
        }
        write!(f, "{:<24} {:>9} {:>7}", "send delay", "", "")?;
        write_percentiles(f, self.send_delay_ms)
    }
}

fn write_percentiles(f: &mut fmt::Formatter<'_>, percentiles: Option<Percentiles>) -> fmt::Result {
    match percentiles {
        Some(Percentiles { p50, p95, p99, max }) => {
            writeln!(f, " {p50:>9.1} {p95:>9.1} {p99:>9.1} {max:>9.1}")
        }
        None => writeln!(f, " {:>9} {:>9} {:>9} {:>9}", "-", "-", "-", "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(outcome: Outcome, latency_ms: u64) -> Finished {
        let latency = Duration::from_millis(latency_ms);
        Finished { request: 0, outcome, latency, send_delay: Duration::from_micros(500) }
    }

    #[test]
    fn percentiles_are_those_of_the_answered_and_the_timed_out() {
        let mut recorder = Recorder::new(["GET /a", "GET /b"].into_iter()).unwrap();
        (1..=98).for_each(|ms| recorder.record(&finished(Outcome::Completed, ms)));
        recorder.record(&finished(Outcome::TimedOut, 10_000));
        recorder.record(&finished(Outcome::TimedOut, 10_000));
        (0..50).for_each(|_| recorder.record(&finished(Outcome::Failed, 0)));
        (0..7).for_each(|_| recorder.record(&finished(Outcome::NotSent, 0)));
        let summary = recorder.summary(Duration::from_secs(10));
        assert_eq!((summary.sent, summary.completed, summary.failed), (150, 98, 59));
        assert_eq!((summary.timed_out, summary.not_sent), (2, 7));
        assert!((summary.rate_achieved - 15.0).abs() < 1e-9);
        let latency = summary.per_type["GET /a"].latency_ms.unwrap();
        assert!((latency.p50 - 50.0).abs() < 0.1 && (latency.p95 - 95.0).abs() < 0.1, "{latency:?}");
        assert!((latency.p99 / 10_000.0 - 1.0).abs() < 2e-3, "{latency:?}");
        assert!((summary.send_delay_ms.unwrap().max - 0.5).abs() < 1e-3);
    }

    #[test]
    fn nothing_measured_is_absent_and_not_zero() {
        let summary = Recorder::new(["GET /a"].into_iter()).unwrap().summary(Duration::ZERO);
        assert_eq!(summary.send_delay_ms, None);
        let json = serde_json::to_value(&summary).unwrap();
        assert!(json["per_type"]["GET /a"]["latency_ms"].is_null());
        assert!(summary.to_string().contains("GET /a"));
    }

    #[test]
    fn a_look_shows_the_latencies_since_the_last() {
        let mut recorder = Recorder::new(["GET /a"].into_iter()).unwrap();
        recorder.record(&finished(Outcome::Completed, 5));
        assert!((recorder.look().2.unwrap().max - 5.0).abs() < 0.1);
        recorder.record(&finished(Outcome::Completed, 3));
        let (completed, failed, percentiles) = recorder.look();
        assert_eq!((completed, failed), (2, 0));
        assert!((percentiles.unwrap().max - 3.0).abs() < 0.1);
        assert!(recorder.look().2.is_none());
    }
}
