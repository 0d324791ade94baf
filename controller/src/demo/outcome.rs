//! What came of a demo: the JSON document for machines, and whether it is a success.

use ballast_api::ContainerName;
use serde::Serialize;

use super::{score::Seen, stage::Mode};
use crate::plan::Change;

/// The document that `--json` writes. Shares are of requests, in [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Where it ran.
    pub mode: Mode,
    /// What it was drawn from.
    pub seed: u64,
    /// The container that was contended.
    pub injected: ContainerName,
    /// The container that the controller named most often while the objective was violated.
    pub named: Option<ContainerName>,
    /// Share of requests over their objective under contention, nobody acting.
    pub violated_without: f64,
    /// The same with the controller acting.
    pub violated_with: f64,
    /// From the first burn to the moment from which p99 kept the objective; absent when it never did.
    pub seconds_to_recovery: Option<f64>,
    /// 99th percentiles of the request type hit worst, with the controller.
    pub p99_ms: Phases<f64>,
    /// Whether the contention violated the objective in both runs.
    #[serde(skip)]
    pub violated: bool,
    /// Whether p99 came back under the objective, with the controller, under contention.
    pub recovered: bool,
    /// Whether it did without.
    pub recovered_without_controller: bool,
    /// What could not be removed afterwards.
    pub leftovers: Vec<String>,
}

impl Outcome {
    /// What the demo did not show, as sentences; empty when it is a success.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<String> {
        let named = self.named.as_ref().map_or("nobody", ContainerName::as_str);
        let checks = [
            (self.violated, "the contention did not violate the objective".to_owned()),
            (
                self.named.as_ref() == Some(&self.injected),
                format!("the controller named {named}, but {} was contended", self.injected),
            ),
            (self.recovered, "p99 did not come back under the objective with the controller".to_owned()),
            (!self.recovered_without_controller, "p99 came back without the controller as well".to_owned()),
            (self.leftovers.is_empty(), format!("left behind: {}", self.leftovers.join(", "))),
        ];
        checks.into_iter().filter(|(shown, _)| !shown).map(|(_, sentence)| sentence).collect()
    }
}

/// One figure for each part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Phases<T> {
    /// Under load, before the contention.
    pub before: T,
    /// Under contention, until recovery (or all of it, when there was none).
    pub during: T,
    /// The ten seconds from the recovery on (or the last ten under contention, when there was none).
    pub after: T,
}

/// One run of the script, as people read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Whether the controller acted.
    pub controlled: bool,
    /// What the users of the worst-hit request type saw.
    pub seen: Phases<Seen>,
    /// The same from the end of the phase after the recovery to the end of the contention, where there is such a time.
    pub rest: Option<Seen>,
    /// Share of all requests over their objective while contended.
    pub share_over: f64,
    /// From the first burn.
    pub seconds_to_recovery: Option<f64>,
    /// Whether the objective was violated in the first seconds of the contention.
    pub violated: bool,
    /// Whom the controller named, most often first, with how often.
    pub named: Vec<(ContainerName, usize)>,
    /// From the first burn to the first naming of the one named most.
    pub seconds_to_naming: Option<f64>,
    /// What it changed, in order.
    pub changes: Vec<Change>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success() -> Outcome {
        let geo = ContainerName::new("geo").unwrap();
        Outcome {
            mode: Mode::Simulated,
            seed: 1,
            injected: geo.clone(),
            named: Some(geo),
            violated_without: 0.9,
            violated_with: 0.2,
            seconds_to_recovery: Some(6.0),
            p99_ms: Phases { before: 40.0, during: 900.0, after: 50.0 },
            violated: true,
            recovered: true,
            recovered_without_controller: false,
            leftovers: vec![],
        }
    }

    #[test]
    fn each_promise_is_checked() {
        assert!(success().shortcomings().is_empty());
        let broken = [
            Outcome { violated: false, ..success() },
            Outcome { named: None, ..success() },
            Outcome { named: ContainerName::new("rate").ok(), ..success() },
            Outcome { recovered: false, ..success() },
            Outcome { recovered_without_controller: true, ..success() },
            Outcome { leftovers: vec!["cgroup x".to_owned()], ..success() },
        ];
        for outcome in broken {
            assert_eq!(outcome.shortcomings().len(), 1, "{outcome:?}");
        }
    }

    #[test]
    fn the_document_has_the_keys_that_machines_expect() {
        let json = serde_json::to_value(success()).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        let expected = [
            "injected",
            "leftovers",
            "mode",
            "named",
            "p99_ms",
            "recovered",
            "recovered_without_controller",
            "seconds_to_recovery",
            "seed",
            "violated_with",
            "violated_without",
        ];
        assert_eq!(keys, expected);
        assert_eq!(json["p99_ms"]["during"], 900.0);
    }
}
