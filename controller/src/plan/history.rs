//! What the planner must remember between steps: cool-downs, and shrinks that are not judged yet. Bounded by the
//! number of containers.

use std::{collections::BTreeMap, time::Duration};

use ballast_api::{ContainerName, UnixNanos};

use super::{Change, GuardConfig, Situation};

/// One entry for each container that was ever changed.
#[derive(Debug, Clone, Default)]
pub struct History {
    cool_down_until: BTreeMap<ContainerName, UnixNanos>,
    grown: Vec<ContainerName>,
    unjudged: BTreeMap<ContainerName, Shrink>,
    hurt: Vec<(ContainerName, f64)>,
}

/// A shrink whose effect is still awaited.
#[derive(Debug, Clone, Copy)]
struct Shrink {
    at: UnixNanos,
    limit_before: f64,
}

impl History {
    /// Judges the shrinks that are waiting: one that was followed by a violation hurt, and will be given back; one that
    /// was not, in good time, is forgotten. Starts the cool-down of what grew in the step before.
    pub(super) fn note_outcome(&mut self, now: UnixNanos, violated: bool, config: &GuardConfig) {
        for container in self.grown.drain(..) {
            self.cool_down_until.insert(container, now.plus(config.cool_down()));
        }
        self.cool_down_until.retain(|_, until| *until > now);
        self.unjudged.retain(|_, shrink| now.since(shrink.at) <= config.judge_shrink());
        if violated {
            for (container, shrink) in std::mem::take(&mut self.unjudged) {
                self.cool_down_until.insert(container.clone(), now.plus(config.cool_down()));
                self.hurt.push((container, shrink.limit_before));
            }
        }
    }

    pub(super) fn note_change(&mut self, now: UnixNanos, change: &Change) {
        let container = change.container.clone();
        if change.after_cores > change.before_cores {
            self.unjudged.remove(&container);
            self.hurt.retain(|(hurt, _)| *hurt != container);
            self.grown.push(container);
        } else {
            // Of several shrinks in a row, the limit before the first is the one known to be good.
            let limit_before =
                self.unjudged.get(&container).map_or(change.before_cores, |shrink| shrink.limit_before);
            self.unjudged.insert(container, Shrink { at: now, limit_before });
        }
    }

    /// The growths that undo shrinks that hurt.
    pub(super) fn give_back(&mut self, situation: Situation<'_>, config: &GuardConfig) -> Vec<Change> {
        let ceiling = config.max_cores.min(situation.capacity.get());
        let undo = |(container, limit_before): (ContainerName, f64)| {
            let state = situation.containers.iter().find(|state| state.name == container)?;
            let before_cores = state.limits.cpu?.or(situation.capacity).get();
            let after_cores = limit_before.min(ceiling);
            let reasons = vec!["given back: an objective was violated after it was shrunk".to_owned()];
            (after_cores > before_cores).then_some(Change { container, before_cores, after_cores, reasons })
        };
        self.hurt.drain(..).filter_map(undo).collect()
    }

    pub(super) fn cool_down_left(&self, container: &ContainerName, now: UnixNanos) -> Option<Duration> {
        let left = self.cool_down_until.get(container)?.since(now);
        (left > Duration::ZERO).then_some(left)
    }
}
