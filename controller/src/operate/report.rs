//! What one step saw, thought and did: the record that goes into the audit log.

use ballast_api::{ContainerName, PlanOutcome, UnixNanos};
use serde::Serialize;

use crate::{
    environment::Observation,
    localize::Verdict,
    plan::{Change, Decision},
    slo::Assessment,
};

/// Whether decisions become deeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Acting {
    /// Watch and say what would be done.
    Observe,
    /// Do it.
    Act,
}

/// What the policy and its rival think of one container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Opinion {
    /// Which container.
    pub container: ContainerName,
    /// What they were shown.
    pub observation: Observation,
    /// The CPU limit that the policy proposes, in cores.
    pub policy_cores: Option<f64>,
    /// The CPU limit that the heuristic would set, in cores.
    pub heuristic_cores: Option<f64>,
}

/// One step. Replays: evidence, verdicts, opinions, plan, outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// When.
    pub at: UnixNanos,
    /// Whether the decision was to be carried out.
    pub acting: Acting,
    /// How each objective stands.
    pub objectives: Vec<Assessment>,
    /// Whether some objective is violated.
    pub violated: bool,
    /// Every container on the critical paths, the most suspicious first; empty while nothing is violated.
    pub verdicts: Vec<Verdict>,
    /// The container held to be at fault.
    pub culprit: Option<ContainerName>,
    /// What was proposed, and what the rival would have.
    pub opinions: Vec<Opinion>,
    /// What passed the rails.
    pub decision: Decision,
    /// What the node did; absent when there was nothing to do, or it was not to act.
    pub outcome: Option<PlanOutcome>,
    /// Why the step could not be finished, as a sentence.
    pub trouble: Option<String>,
}

impl StepReport {
    /// A step in which nothing was done yet.
    #[must_use]
    pub fn new(at: UnixNanos, acting: Acting) -> Self {
        Self {
            at,
            acting,
            objectives: Vec::new(),
            violated: false,
            verdicts: Vec::new(),
            culprit: None,
            opinions: Vec::new(),
            decision: Decision::default(),
            outcome: None,
            trouble: None,
        }
    }

    /// The changes that are in force now.
    pub fn applied_changes(&self) -> impl Iterator<Item = &Change> {
        self.outcome.iter().flat_map(|_| &self.decision.changes)
    }
}
