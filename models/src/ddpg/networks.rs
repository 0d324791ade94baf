//! The actor, the critics, and their targets.
//!
//! Knows no update rule.

use rand::Rng;

use super::config::DdpgConfig;
use crate::mlp::{Mlp, Output};

/// All networks of one learner.
#[derive(Debug, Clone, PartialEq)]
pub struct Networks {
    /// State to action: `[state] -> [action]`, tanh.
    pub actor: Mlp,
    /// State and action to value: `[state + action] -> [1]`. One, or two with twin critics.
    pub critics: Vec<Mlp>,
    /// Follows the actor slowly.
    pub target_actor: Mlp,
    /// Follow the critics slowly.
    pub target_critics: Vec<Mlp>,
}

impl Networks {
    /// Fresh networks; the targets start as copies, else the first updates would chase noise.
    pub fn random(config: &DdpgConfig, state_dim: usize, action_dim: usize, rng: &mut impl Rng) -> Self {
        let actor = Mlp::random(state_dim, &config.hidden, action_dim, Output::Tanh, rng);
        let count = if config.twin_critics { 2 } else { 1 };
        let critics: Vec<_> = (0..count)
            .map(|_| Mlp::random(state_dim + action_dim, &config.hidden, 1, Output::Linear, rng))
            .collect();
        Self { target_actor: actor.clone(), target_critics: critics.clone(), actor, critics }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn targets_start_as_copies() {
        for config in [DdpgConfig::default(), DdpgConfig::default().with_td3()] {
            let networks = Networks::random(&config, 8, 5, &mut Pcg64::seed_from_u64(11));
            assert_eq!(networks.target_actor, networks.actor);
            assert_eq!(networks.target_critics, networks.critics);
        }
    }

    #[test]
    fn twin_critics_start_apart() {
        let config = DdpgConfig::default().with_td3();
        let networks = Networks::random(&config, 8, 5, &mut Pcg64::seed_from_u64(12));
        assert_ne!(networks.critics[0], networks.critics[1]);
    }
}
