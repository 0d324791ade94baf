//! The rails, one after the other, for one proposal. Must not know where the proposal comes from.

use std::time::Duration;

use ballast_api::{ContainerState, UnixNanos};
use serde::{Deserialize, Serialize};

use super::{Change, History, Proposal, Refusal, Situation};

/// Bounds of what a plan may do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// No limit goes under this, in cores.
    pub min_cores: f64,
    /// No limit goes over this, in cores; the node's capacity bounds it as well.
    pub max_cores: f64,
    /// A limit grows at most by this factor in one step.
    pub max_growth: f64,
    /// A limit shrinks at most by this share of itself in one step.
    pub max_shrink: f64,
    /// Samples older than this are stale: nothing shrinks on them.
    pub stale_after_seconds: f64,
    /// After a growth, or a shrink that hurt, the limit does not shrink for this long.
    pub cool_down_seconds: f64,
    /// If an objective is violated within this time after a shrink, the shrink is taken to have hurt.
    pub judge_shrink_seconds: f64,
    /// Changes smaller than this are not worth a write, in cores.
    pub smallest_change_cores: f64,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            min_cores: 0.05,
            max_cores: 64.0,
            max_growth: 2.0,
            max_shrink: 0.1,
            stale_after_seconds: 5.0,
            cool_down_seconds: 30.0,
            judge_shrink_seconds: 5.0,
            smallest_change_cores: 0.001,
        }
    }
}

impl GuardConfig {
    /// Everything that is wrong with these bounds, as sentences.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let positive = [
            ("min_cores", self.min_cores),
            ("max_cores", self.max_cores),
            ("stale_after_seconds", self.stale_after_seconds),
            ("cool_down_seconds", self.cool_down_seconds),
            ("judge_shrink_seconds", self.judge_shrink_seconds),
            ("smallest_change_cores", self.smallest_change_cores),
        ];
        let mut problems: Vec<String> = positive
            .iter()
            .filter(|(_, value)| !(value.is_finite() && *value > 0.0))
            .map(|(name, value)| format!("guards.{name} must be a positive number, not {value}"))
            .collect();
        if self.min_cores > self.max_cores {
            problems.push(format!(
                "guards.min_cores ({}) is above guards.max_cores ({})",
                self.min_cores, self.max_cores
            ));
        }
        if !(self.max_growth.is_finite() && self.max_growth > 1.0) {
            problems.push(format!("guards.max_growth must be above 1, not {}", self.max_growth));
        }
        if !(self.max_shrink > 0.0 && self.max_shrink < 1.0) {
            problems.push(format!("guards.max_shrink must be between 0 and 1, not {}", self.max_shrink));
        }
        problems
    }

    pub(super) fn cool_down(&self) -> Duration {
        seconds(self.cool_down_seconds)
    }

    pub(super) fn judge_shrink(&self) -> Duration {
        seconds(self.judge_shrink_seconds)
    }
}

/// [`GuardConfig::problems`] lets positive finite numbers in only; whatever else comes is no time at all.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// A rail that altered a proposal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rail {
    /// Held at the smallest limit allowed.
    Floor(f64),
    /// Held at the largest limit allowed.
    Ceiling(f64),
    /// Growth held at the largest step allowed.
    GrowthStep(f64),
    /// Shrink held at the largest step allowed.
    ShrinkStep(f64),
}

impl std::fmt::Display for Rail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Floor(cores) => write!(f, "held at the floor of {cores:.3} cores"),
            Self::Ceiling(cores) => write!(f, "held at the ceiling of {cores:.3} cores"),
            Self::GrowthStep(factor) => write!(f, "growth held at x{factor:.2} in one step"),
            Self::ShrinkStep(share) => write!(f, "shrink held at {:.0} % in one step", share * 100.0),
        }
    }
}

/// Passes one proposal through the rails. Answers the change (it may be none at all) and whether it stands at the
/// ceiling, or why nothing may change.
pub(super) fn check(
    situation: Situation<'_>,
    proposal: &Proposal,
    config: &GuardConfig,
    history: &History,
) -> Result<(Change, bool), Refusal> {
    let refuse = |reason: String| Refusal { container: proposal.container.clone(), reason };
    let state = situation
        .containers
        .iter()
        .find(|state| state.name == proposal.container)
        .ok_or_else(|| refuse("the node does not know this container".to_owned()))?;
    let limit = state.limits.cpu.ok_or_else(|| refuse("the node does not control its CPU".to_owned()))?;
    if !proposal.cpu_cores.is_finite() {
        return Err(refuse(format!("{} proposed {}, which is no limit", proposal.by, proposal.cpu_cores)));
    }
    let ceiling = config.max_cores.min(situation.capacity.get());
    let before = limit.or(situation.capacity).get();
    let (after, rails) = bounded(before, proposal.cpu_cores, ceiling, config);
    if after < before {
        may_shrink(situation, state, config, history).map_err(refuse)?;
    }
    let mut reasons = vec![format!("{} proposed {:.3} cores", proposal.by, proposal.cpu_cores)];
    reasons.extend(rails.iter().map(ToString::to_string));
    let at_bound = proposal.cpu_cores >= ceiling && after >= ceiling;
    let change =
        Change { container: proposal.container.clone(), before_cores: before, after_cores: after, reasons };
    Ok((change, at_bound && before >= ceiling))
}

fn bounded(before: f64, wanted: f64, ceiling: f64, config: &GuardConfig) -> (f64, Vec<Rail>) {
    let mut rails = Vec::new();
    let mut after = wanted;
    if after < config.min_cores {
        after = config.min_cores;
        rails.push(Rail::Floor(config.min_cores));
    }
    // After the floor: the node refuses more than it has.
    if after > ceiling {
        after = ceiling;
        rails.push(Rail::Ceiling(ceiling));
    }
    if after > before * config.max_growth {
        after = before * config.max_growth;
        rails.push(Rail::GrowthStep(config.max_growth));
    }
    if after < before * (1.0 - config.max_shrink) {
        after = before * (1.0 - config.max_shrink);
        rails.push(Rail::ShrinkStep(config.max_shrink));
    }
    (after, rails)
}

/// Fail static: a limit only shrinks on fresh data, in peace, and not soon after it had to grow.
fn may_shrink(
    situation: Situation<'_>,
    state: &ContainerState,
    config: &GuardConfig,
    history: &History,
) -> Result<(), String> {
    let usage = state.usage.and_then(|usage| usage.cpu);
    if situation.violated {
        Err("not shrunk while an objective is violated".to_owned())
    } else if usage.is_none() {
        Err("not shrunk: its usage is not known".to_owned())
    } else if let Some(age) = too_old(state, situation.now, config) {
        Err(format!("not shrunk: its last sample is {age}"))
    } else if let Some(left) = history.cool_down_left(&state.name, situation.now) {
        Err(format!("not shrunk: {:.0} s of its cool-down are left", left.as_secs_f64().ceil()))
    } else {
        Ok(())
    }
}

/// How old a stale sample is; nothing for a fresh one.
fn too_old(state: &ContainerState, now: UnixNanos, config: &GuardConfig) -> Option<String> {
    let Some(age) = state.sampled_at_unix_nanos.age_at(now) else {
        let ahead = state.sampled_at_unix_nanos.since(now).as_secs_f64();
        return Some(format!(
            "dated {ahead:.1} s ahead, so of unknown age: set the clocks of node and controller"
        ));
    };
    let age = age.as_secs_f64();
    (age > config.stale_after_seconds).then(|| format!("{age:.1} s old"))
}
