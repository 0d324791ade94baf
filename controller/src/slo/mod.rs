//! Objectives: which latency each request type must keep, and whether it does.
//!
//! Must not know who is to blame, nor what is done.

mod binomial;

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::traces::{Trace, percentile};

/// Late requests under which no objective counts as violated: one or two stragglers are no incident.
const MIN_LATE: usize = 3;

/// How improbable so many late requests must be, if the objective held, before it counts as violated.
const SIGNIFICANCE: f64 = 0.05;

/// A latency that a percentile of the requests of one type must keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// The request type: the root operation of its traces.
    pub request: String,
    /// In (0, 100].
    pub percentile: f64,
    /// More than zero.
    pub target: Duration,
}

/// What is wrong with an objective.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// The percentile is out of range.
    #[error("objective of {request:?}: the percentile must be in (0, 100], not {percentile}")]
    Percentile {
        /// Whose.
        request: String,
        /// The value refused.
        percentile: f64,
    },
    /// The target is zero.
    #[error("objective of {request:?}: the target latency must be more than zero")]
    Target {
        /// Whose.
        request: String,
    },
    /// A request type has two objectives.
    #[error("{request:?} has more than one objective")]
    Twice {
        /// Whose.
        request: String,
    },
}

/// How one objective fares in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessment {
    /// The request type.
    pub request: String,
    /// Requests seen.
    pub count: usize,
    /// Requests over the target, or failed: an error sent early keeps nobody's objective.
    pub late: usize,
    /// The latency at the objective's percentile (nearest rank); absent without requests.
    pub latency: Option<Duration>,
    /// The objective's target.
    pub target: Duration,
    /// Whether there are more late requests than an objective that is kept would allow: at least [`MIN_LATE`], and so
    /// many that chance would give them in fewer than 5 of 100 windows (one-sided binomial test).
    ///
    /// The percentile alone would not do: of 60 requests the 99th percentile is the slowest, and one straggler would
    /// start an alarm.
    pub violated: bool,
}

impl Assessment {
    /// Share of the requests that were late; absent without requests.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
    pub fn late_share(&self) -> Option<f64> {
        (self.count > 0).then(|| self.late as f64 / self.count as f64)
    }

    /// SM: target / current latency, at most 1, and 1 without traffic.
    #[must_use]
    pub fn slo_margin(&self) -> f64 {
        match self.latency {
            Some(latency) if latency > self.target => self.target.as_secs_f64() / latency.as_secs_f64(),
            _ => 1.0,
        }
    }
}

/// Assesses objectives on the traces of a window.
#[derive(Debug, Clone)]
pub struct Detector {
    objectives: Vec<Objective>,
}

impl Detector {
    /// A detector of these objectives, at most one for each request type.
    ///
    /// # Errors
    /// One for each objective that makes no sense.
    pub fn new(objectives: Vec<Objective>) -> Result<Self, Vec<ObjectiveError>> {
        let problems: Vec<ObjectiveError> = objectives
            .iter()
            .enumerate()
            .filter_map(|(index, objective)| objective.problem(&objectives[..index]))
            .collect();
        if problems.is_empty() { Ok(Self { objectives }) } else { Err(problems) }
    }

    /// What is asked.
    #[must_use]
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }

    /// How each objective fares, in their order.
    #[must_use]
    pub fn assess(&self, traces: &[Arc<Trace>]) -> Vec<Assessment> {
        self.objectives.iter().map(|objective| objective.assess(traces)).collect()
    }
}

impl Objective {
    fn problem(&self, before: &[Self]) -> Option<ObjectiveError> {
        let request = self.request.clone();
        if !(self.percentile > 0.0 && self.percentile <= 100.0) {
            return Some(ObjectiveError::Percentile { request, percentile: self.percentile });
        }
        if self.target.is_zero() {
            return Some(ObjectiveError::Target { request });
        }
        before.iter().any(|other| other.request == request).then_some(ObjectiveError::Twice { request })
    }

    fn assess(&self, traces: &[Arc<Trace>]) -> Assessment {
        let mine = || traces.iter().filter(|trace| **trace.request() == *self.request);
        let mut latencies: Vec<u64> = mine().map(|trace| trace.duration_nanos()).collect();
        latencies.sort_unstable();
        let is_late = |trace: &&Arc<Trace>| {
            trace.root().span.failed || u128::from(trace.duration_nanos()) > self.target.as_nanos()
        };
        let late = mine().filter(is_late).count();
        let allowed_share = 1.0 - self.percentile / 100.0;
        let chance = binomial::at_least(late, latencies.len(), allowed_share);
        Assessment {
            request: self.request.clone(),
            count: latencies.len(),
            late,
            latency: percentile(&latencies, self.percentile).map(Duration::from_nanos),
            target: self.target,
            violated: late >= MIN_LATE && chance < SIGNIFICANCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::trace::tests::span;

    fn traces(request: &str, milliseconds: impl IntoIterator<Item = u64>) -> Vec<Arc<Trace>> {
        let of = |milliseconds: u64| {
            let mut root = span(1, 0, 0, milliseconds * 1_000_000);
            root.operation = request.into();
            Arc::new(Trace::assemble(vec![root]).unwrap())
        };
        milliseconds.into_iter().map(of).collect()
    }

    fn objective(request: &str, percentile: f64) -> Objective {
        Objective { request: request.to_owned(), percentile, target: Duration::from_millis(100) }
    }

    fn assess(percentile: f64, milliseconds: impl IntoIterator<Item = u64>) -> Assessment {
        let detector = Detector::new(vec![objective("GET /", percentile)]).unwrap();
        detector.assess(&traces("GET /", milliseconds)).remove(0)
    }

    #[test]
    fn counts_only_its_own_request_type() {
        let detector = Detector::new(vec![objective("a", 50.0), objective("b", 50.0)]).unwrap();
        let mut all = traces("a", [50, 70, 150]);
        all.extend(traces("c", [900]));
        let [a, b] = &detector.assess(&all)[..] else { panic!("two assessments expected") };
        assert_eq!((a.count, a.late, a.latency), (3, 1, Some(Duration::from_millis(70))));
        assert_eq!((b.count, b.late_share(), b.latency, b.violated), (0, None, None, false));
    }

    #[test]
    fn a_straggler_or_two_are_no_violation() {
        for late in 0..=2 {
            let found = assess(99.0, std::iter::repeat_n(500, late).chain(vec![20; 60]));
            assert!(!found.violated, "{late}");
        }
        // Of 60 requests, 3 late ones would be there by chance in 2 of 100 windows.
        assert!(assess(99.0, [500, 500, 500].into_iter().chain(vec![20; 57])).violated);
        // Of 300 requests, an objective that is kept allows 3.
        assert!(!assess(99.0, [500, 500, 500].into_iter().chain(vec![20; 297])).violated);
    }

    #[test]
    fn few_requests_suffice_when_all_are_late() {
        assert!(!assess(99.0, [500; 2]).violated);
        assert!(assess(99.0, [500; 3]).violated);
        // Half of them may be late here: three of three happens by chance.
        assert!(!assess(50.0, [500; 3]).violated);
        assert!(assess(50.0, [500; 5]).violated);
        assert!(assess(100.0, [500, 500, 500, 20, 20, 20, 20]).violated);
    }

    #[test]
    fn exactly_the_target_is_in_time_and_a_failure_is_late() {
        assert_eq!(assess(99.0, [100, 101]).late, 1);
        let mut root = span(1, 0, 0, 1);
        (root.operation, root.failed) = ("GET /".into(), true);
        let failed = Arc::new(Trace::assemble(vec![root]).unwrap());
        let detector = Detector::new(vec![objective("GET /", 99.0)]).unwrap();
        assert_eq!(detector.assess(&[failed])[0].late, 1);
    }

    #[test]
    fn the_margin_is_one_while_the_target_is_kept() {
        assert_eq!(assess(99.0, []).slo_margin(), 1.0);
        assert_eq!(assess(99.0, [100]).slo_margin(), 1.0);
        assert_eq!(assess(99.0, [400]).slo_margin(), 0.25);
    }

    #[test]
    fn all_objectives_that_make_no_sense_are_told() {
        let zero = Objective { target: Duration::ZERO, ..objective("b", 99.0) };
        let problems = Detector::new(vec![
            objective("a", 0.0),
            zero,
            objective("c", 99.0),
            objective("c", 99.0),
            objective("d", f64::NAN),
        ])
        .unwrap_err();
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(problems.len(), 4, "{told}");
        for part in ["(0, 100], not 0", "more than zero", "\"c\" has more than one", "not NaN"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
