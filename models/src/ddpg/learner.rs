//! What a learner is, whichever library computes it.
//!
//! Knows neither replay nor exploration.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{DdpgConfig, batch::Batch, native::NativeLearner, networks::Networks};

/// One who learns from batches. Given the same networks and batches, all of them learn the same.
pub trait Learner: Send {
    /// One update of critics, actor and targets. `batch` has the size and shapes the learner was made for.
    ///
    /// # Errors
    /// When the library that computes it fails.
    fn update(&mut self, batch: &Batch) -> Result<UpdateStatistics, LearnerError>;

    /// The actor's action for one state, in [-1, 1], without noise. Lengths are the caller's to check.
    ///
    /// # Errors
    /// When the library that computes it fails.
    fn act(&mut self, state: &[f32], action: &mut [f32]) -> Result<(), LearnerError>;

    /// A copy of all networks as they are now.
    ///
    /// # Errors
    /// When the library that computes it fails.
    fn networks(&self) -> Result<Networks, LearnerError>;
}

/// What one update saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UpdateStatistics {
    /// Mean squared error of the critics' predictions over the batch; summed over twin critics.
    pub critic_loss: f32,
    /// Mean prediction of the first critic over the batch.
    pub mean_q: f32,
}

/// Why learning failed.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// The learner was left out of this build.
    #[error(
        "this build has no tch learner: build with `--features tch` (scripts/lib/libtorch.sh fetches what it needs), \
         or use the native learner"
    )]
    NotBuilt,
    /// The critics' loss is no number any more.
    #[error(
        "learning diverged at update {update}: the critics' loss is {loss}; lower the learning rates or scale the rewards"
    )]
    Diverged {
        /// Which update, from 1.
        update: u64,
        /// NaN or infinite.
        loss: f32,
    },
    /// libtorch reported an error.
    #[cfg(feature = "tch")]
    #[error("libtorch failed")]
    Tch(#[from] tch::TchError),
}

/// Which learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearnerKind {
    /// On ndarray: always there, and the faster one for small networks.
    Native,
    /// On libtorch: in builds with the feature `tch`.
    Tch,
}

impl LearnerKind {
    /// Whether this build has it.
    #[must_use]
    pub fn is_built(self) -> bool {
        self == Self::Native || cfg!(feature = "tch")
    }

    /// A learner of this kind that starts from `networks`.
    pub(crate) fn learner(
        self,
        config: &DdpgConfig,
        networks: Networks,
    ) -> Result<Box<dyn Learner>, LearnerError> {
        match self {
            Self::Native => Ok(Box::new(NativeLearner::new(config, networks))),
            #[cfg(feature = "tch")]
            Self::Tch => Ok(Box::new(super::TchLearner::new(config, &networks)?)),
            #[cfg(not(feature = "tch"))]
            Self::Tch => Err(LearnerError::NotBuilt),
        }
    }
}

impl fmt::Display for LearnerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Tch => "tch",
        })
    }
}

/// A text that names no learner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no learner {text:?}: choose native or tch")]
pub struct UnknownLearner {
    /// The text.
    pub text: String,
}

impl FromStr for LearnerKind {
    type Err = UnknownLearner;
    fn from_str(text: &str) -> Result<Self, UnknownLearner> {
        match text {
            "native" => Ok(Self::Native),
            "tch" => Ok(Self::Tch),
            _ => Err(UnknownLearner { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_and_written() {
        for kind in [LearnerKind::Native, LearnerKind::Tch] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let told = "torch".parse::<LearnerKind>().unwrap_err().to_string();
        assert!(told.contains("\"torch\"") && told.contains("native or tch"), "{told}");
    }
}
