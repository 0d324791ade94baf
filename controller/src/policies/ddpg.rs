//! The learned policy: the actor's action, mapped onto the bounds of the limit.

use ballast_models::ddpg::Policy;

use super::{Evidence, LimitPolicy};

/// A trained actor.
#[derive(Debug, Clone)]
pub struct LearnedPolicy {
    actor: Policy,
}

impl LearnedPolicy {
    /// Wraps an actor whose state is [`crate::environment::STATE_NAMES`] and whose only action is the CPU limit.
    #[must_use]
    pub fn new(actor: Policy) -> Self {
        Self { actor }
    }
}

impl LimitPolicy for LearnedPolicy {
    fn name(&self) -> &'static str {
        "ddpg"
    }

    fn propose(&self, evidence: &Evidence<'_>) -> Option<f64> {
        let action = self.actor.act(&evidence.observation.to_vector()).ok()?;
        action.first().map(|value| evidence.bounds.from_action(f64::from(*value)))
    }
}
