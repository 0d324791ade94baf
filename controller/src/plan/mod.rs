//! Guard rails: what the policies propose becomes a plan that is safe to apply, with a reason for every change.
//!
//! Pure: state, proposals, configuration and the time in; changes out. Must not know nodes, clocks or files.

mod guards;
mod history;

use ballast_api::{ContainerName, ContainerState, Cores, Limit, LimitChange, Limits, UnixNanos};
use serde::{Deserialize, Serialize};

pub use guards::{GuardConfig, Rail};
pub use history::History;

/// What a policy would like for one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// For whom.
    pub container: ContainerName,
    /// The CPU limit wanted, in cores, as the policy computed it: may be anything, even not a number.
    pub cpu_cores: f64,
    /// Who proposes it.
    pub by: String,
}

/// What the planner is told of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The time of the decision.
    pub now: UnixNanos,
    /// What the node says of its containers.
    pub containers: &'a [ContainerState],
    /// The node's cores.
    pub capacity: Cores,
    /// Whether some objective is violated now.
    pub violated: bool,
}

/// One change that passed the rails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// For whom.
    pub container: ContainerName,
    /// The limit in force, in cores (the capacity when unlimited).
    pub before_cores: f64,
    /// The limit to set, in cores.
    pub after_cores: f64,
    /// Who wanted it, and each rail that altered what was wanted, as sentences.
    pub reasons: Vec<String>,
}

/// A proposal that came to nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// For whom it was.
    pub container: ContainerName,
    /// Why nothing changes, as a sentence.
    pub reason: String,
}

/// The planner's answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Decision {
    /// What to change.
    pub changes: Vec<Change>,
    /// What was not done.
    pub refusals: Vec<Refusal>,
    /// Containers that are at their bound while the objective is violated: more replicas would help, more limit cannot.
    pub scale_out: Vec<ContainerName>,
}

impl Decision {
    /// The same as the node takes it.
    #[must_use]
    pub fn limit_changes(&self) -> Vec<LimitChange> {
        let change_of = |change: &Change| LimitChange {
            container: change.container.clone(),
            limits: Limits::of_cpu(Limit::At(Cores::saturating(change.after_cores))),
        };
        self.changes.iter().map(change_of).collect()
    }
}

/// Turns proposals into a decision and remembers in `history` what must be remembered (growth, shrinks that hurt).
///
/// At most one change for each container: of several proposals the first counts.
pub fn decide(
    situation: Situation<'_>,
    proposals: &[Proposal],
    config: &GuardConfig,
    history: &mut History,
) -> Decision {
    history.note_outcome(situation.now, situation.violated, config);
    let mut decision = Decision::default();
    for (index, proposal) in proposals.iter().enumerate() {
        if proposals[..index].iter().any(|earlier| earlier.container == proposal.container) {
            continue;
        }
        match guards::check(situation, proposal, config, history) {
            Ok((change, at_bound)) => {
                if at_bound && situation.violated {
                    decision.scale_out.push(change.container.clone());
                }
                if (change.after_cores - change.before_cores).abs() > config.smallest_change_cores {
                    history.note_change(situation.now, &change);
                    decision.changes.push(change);
                }
            }
            Err(refusal) => decision.refusals.push(refusal),
        }
    }
    decision.changes.extend(history.give_back(situation, config));
    decision
}

#[cfg(test)]
mod tests;
