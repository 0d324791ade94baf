//! The card: what a policy is and how it was made, readable by people and checked by programs.
//!
//! Knows no weights, only their checksum.

use serde::{Deserialize, Serialize};

use crate::ddpg::{DdpgConfig, LearnerKind, Policy};

/// Of the card's file. Another number means another layout, which this version refuses.
const FORMAT: u32 = 1;

/// What a policy is and how it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyCard {
    /// What it is, in a sentence.
    pub description: String,
    /// What each number of the state means, in order.
    pub state_names: Vec<String>,
    /// What each number of the action means, in order.
    pub action_names: Vec<String>,
    /// Where it was trained, such as a topology's name.
    pub environment: String,
    /// Which learner trained it.
    pub learner: LearnerKind,
    /// The seed of its training.
    pub seed: u64,
    /// Environment steps that it was trained for.
    pub steps: u64,
    /// The constants that it was trained with.
    pub config: DdpgConfig,
    /// When it was made, such as `2026-11-21`.
    pub created: String,
    /// The version of the program that made it.
    pub software_version: String,
    /// How well it did.
    pub score: Option<Score>,
}

/// A measured result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// What was measured, such as `mean return of 20 evaluation episodes`.
    pub name: String,
    /// The result.
    pub value: f64,
}

impl PolicyCard {
    /// Whether the card describes `policy`.
    pub(super) fn check(&self, policy: &Policy) -> Result<(), String> {
        self.config.validate().map_err(|error| error.to_string())?;
        for (what, names, width) in [
            ("state", self.state_names.len(), policy.state_dim()),
            ("action", self.action_names.len(), policy.action_dim()),
        ] {
            if names != width {
                return Err(format!("the card names {names} {what} numbers, the policy has {width}"));
            }
        }
        Ok(())
    }
}

/// What is in the card's file: the card, tied to its weights.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sidecar {
    format: u32,
    /// Of the whole weights file.
    weights_fnv1a_64: String,
    policy: PolicyCard,
}

impl Sidecar {
    pub(super) fn new(weights: &[u8], card: &PolicyCard) -> Self {
        Self { format: FORMAT, weights_fnv1a_64: checksum(weights), policy: card.clone() }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        text.push(b'\n');
        Ok(text)
    }

    pub(super) fn decode(text: &[u8]) -> Result<Self, String> {
        let sidecar: Self =
            serde_json::from_slice(text).map_err(|error| format!("its card cannot be read: {error}"))?;
        match sidecar.format {
            FORMAT => Ok(sidecar),
            other => Err(format!("its card has format {other}, this program reads {FORMAT}")),
        }
    }

    /// The card, if it belongs to `weights` and its configuration can work.
    pub(super) fn card_of(self, weights: &[u8]) -> Result<PolicyCard, String> {
        if checksum(weights) != self.weights_fnv1a_64 {
            return Err("weights and card do not belong together, or one is damaged".to_owned());
        }
        self.policy.config.validate().map_err(|error| error.to_string())?;
        Ok(self.policy)
    }
}

/// FNV-1a, 64 bits: finds accidents, not forgeries. Who can write the weights can write the card.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_is_fnv_1a() {
        // The test vectors of its authors.
        assert_eq!(checksum(b""), "cbf29ce484222325");
        assert_eq!(checksum(b"a"), "af63dc4c8601ec8c");
        assert_eq!(checksum(b"foobar"), "85944171f73967e8");
    }
}
