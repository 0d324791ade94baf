//! What the users saw: latencies measured from the intended send time, scored before, during and after. Pure.

use std::{collections::BTreeMap, time::Duration};

use ballast_api::UnixNanos;
use serde::{Deserialize, Serialize};

use crate::{slo::Objective, traces::percentile};

/// One request that the load generator sent, finished or given up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct FinishedRequest {
    /// When it was meant to be sent.
    #[serde(rename = "intended_unix_nanos")]
    pub intended: UnixNanos,
    /// From then until its answer (or until it was given up).
    pub latency_ms: f64,
    /// Its type.
    pub request: String,
    /// Whether it was answered well.
    pub ok: bool,
}

/// A span of time, its end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Begin.
    pub from: UnixNanos,
    /// End.
    pub to: UnixNanos,
}

impl Interval {
    fn contains(self, at: UnixNanos) -> bool {
        self.from <= at && at < self.to
    }
}

/// What users saw in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Seen {
    /// Requests meant to be sent in it.
    pub requests: usize,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Share of requests over their objective's target; a failed request is over it.
    pub share_over: f64,
}

/// Fewer requests than this say nothing about a 99th percentile.
const ENOUGH_REQUESTS: usize = 20;

/// Steps in which the moment of recovery is told.
const RECOVERY_STEP: Duration = Duration::from_secs(1);

/// The shortest stretch at the end of an injection that must keep the objective for a recovery to count.
pub(super) const SETTLED: Duration = Duration::from_secs(10);

/// Requests and what was promised of them.
#[derive(Debug)]
pub struct Score<'a> {
    requests: &'a [FinishedRequest],
    targets_ms: BTreeMap<&'a str, f64>,
}

impl<'a> Score<'a> {
    /// Scores `requests` by `objectives`; a request type without an objective counts in no figure.
    #[must_use]
    pub fn new(requests: &'a [FinishedRequest], objectives: &'a [Objective]) -> Self {
        let targets_ms = objectives
            .iter()
            .map(|objective| (objective.request.as_str(), objective.target.as_secs_f64() * 1e3))
            .collect();
        Self { requests, targets_ms }
    }

    /// What the users of one request type saw.
    #[must_use]
    pub fn seen(&self, request: &str, interval: Interval) -> Seen {
        let target = self.targets_ms.get(request).copied().unwrap_or(f64::INFINITY);
        let of_type = |sent: &&FinishedRequest| sent.request == request && interval.contains(sent.intended);
        let sent: Vec<&FinishedRequest> = self.requests.iter().filter(of_type).collect();
        let mut latencies: Vec<f64> = sent.iter().map(|sent| sent.latency_ms).collect();
        latencies.sort_by(f64::total_cmp);
        let over = sent.iter().filter(|sent| !sent.ok || sent.latency_ms > target).count();
        Seen {
            requests: sent.len(),
            p50_ms: percentile(&latencies, 50.0).unwrap_or(0.0),
            p99_ms: percentile(&latencies, 99.0).unwrap_or(0.0),
            share_over: share(over, sent.len()),
        }
    }

    /// Share of all requests with an objective that were over it.
    #[must_use]
    pub fn share_over(&self, interval: Interval) -> f64 {
        let (mut over, mut all) = (0, 0);
        for sent in self.requests.iter().filter(|sent| interval.contains(sent.intended)) {
            if let Some(target) = self.targets_ms.get(sent.request.as_str()) {
                all += 1;
                over += usize::from(!sent.ok || sent.latency_ms > *target);
            }
        }
        share(over, all)
    }

    /// How many requests were finished of those that were meant to be sent in this interval.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "requests of one demo")]
    pub fn finished(&self, interval: Interval) -> f64 {
        self.requests.iter().filter(|sent| interval.contains(sent.intended)).count() as f64
    }

    /// The request type whose p99 was furthest over its target, and by which factor.
    #[must_use]
    pub fn worst(&self, interval: Interval) -> Option<(&'a str, f64)> {
        self.targets_ms
            .iter()
            .map(|(request, target)| (*request, self.seen(request, interval), target))
            .filter(|(_, seen, _)| seen.requests >= ENOUGH_REQUESTS)
            .map(|(request, seen, target)| (request, seen.p99_ms / target))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// Whether some objective was missed: the p99 of a type with enough requests was over its target.
    #[must_use]
    pub fn violated(&self, interval: Interval) -> bool {
        self.worst(interval).is_some_and(|(_, factor)| factor > 1.0)
    }

    /// The first moment, in whole seconds after the begin of `injection`, from which every objective was kept: for
    /// [`SETTLED`], and until the injection's end. Absent when that leaves less than [`SETTLED`].
    #[must_use]
    pub fn recovered_at(&self, injection: Interval) -> Option<UnixNanos> {
        let latest = injection.to.minus(SETTLED);
        let moments = std::iter::successors(Some(injection.from), |at| Some(at.plus(RECOVERY_STEP)));
        let kept = |from: UnixNanos, to: UnixNanos| !self.violated(Interval { from, to });
        moments
            .take_while(|from| *from <= latest)
            // Over a long rest a percentile forgives what is late at its begin: so each of the two is asked for.
            .find(|from| kept(*from, from.plus(SETTLED)) && kept(*from, injection.to))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of one demo")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixNanos {
        UnixNanos(seconds * 1_000_000_000)
    }

    fn objectives() -> Vec<Objective> {
        vec![Objective { request: "GET /".to_owned(), percentile: 99.0, target: Duration::from_millis(100) }]
    }

    /// Slow ones from 10 s until `recovery`.
    fn requests(recovery: u64) -> Vec<FinishedRequest> {
        requests_slow_in(|second| (10..recovery).contains(&second))
    }

    /// Thirty requests a second.
    fn requests_slow_in(slow: impl Fn(u64) -> bool) -> Vec<FinishedRequest> {
        let one = |second: u64, n: u64| FinishedRequest {
            intended: UnixNanos(at(second).0 + n * 30_000_000),
            latency_ms: if slow(second) { 500.0 } else { 20.0 },
            request: "GET /".to_owned(),
            ok: true,
        };
        (0..40)
            .flat_map(|second| (0..30).map(move |n| (second, n)))
            .map(|(second, n)| one(second, n))
            .collect()
    }

    const INJECTION: Interval = Interval { from: UnixNanos(10_000_000_000), to: UnixNanos(40_000_000_000) };

    #[test]
    fn recovery_is_the_moment_from_which_the_objective_is_kept() {
        let (requests, objectives) = (requests(16), objectives());
        let score = Score::new(&requests, &objectives);
        assert!(score.violated(INJECTION));
        assert_eq!(score.recovered_at(INJECTION), Some(at(16)));
        assert!((score.share_over(INJECTION) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_late_second_is_no_recovery_however_long_the_rest_is() {
        let (mut requests, objectives) = (requests(10), objectives());
        // Late ones in the first second: under 1 % of half a minute, but not of the ten seconds that must be settled.
        requests
            .iter_mut()
            .filter(|sent| sent.intended >= at(10))
            .take(6)
            .for_each(|sent| sent.latency_ms = 500.0);
        let score = Score::new(&requests, &objectives);
        assert!(!score.violated(INJECTION));
        assert_eq!(score.recovered_at(INJECTION), Some(at(11)));
    }

    #[test]
    fn a_relapse_undoes_the_recovery() {
        let (requests, objectives) = (requests_slow_in(|second| second < 16 || second == 35), objectives());
        assert_eq!(Score::new(&requests, &objectives).recovered_at(INJECTION), None);
    }

    #[test]
    fn a_calm_that_is_too_short_is_no_recovery() {
        let (requests, objectives) = (requests_slow_in(|second| second % 10 == 0), objectives());
        assert_eq!(Score::new(&requests, &objectives).recovered_at(INJECTION), None);
    }

    #[test]
    fn a_recovery_just_before_the_end_does_not_count() {
        let (requests, objectives) = (requests(35), objectives());
        assert_eq!(Score::new(&requests, &objectives).recovered_at(INJECTION), None);
    }

    #[test]
    fn a_failed_request_is_over_its_objective() {
        let (mut requests, objectives) = (requests(0), objectives());
        requests.iter_mut().for_each(|request| request.ok = false);
        assert_eq!(Score::new(&requests, &objectives).share_over(INJECTION), 1.0);
    }
}
