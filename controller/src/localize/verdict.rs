//! The verdict: which container makes the requests late.
//!
//! Must not know where the features come from, nor what is done about a culprit.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use ballast_models::{
    checkpoint::CheckpointError,
    svm::{Svm, SvmCard},
};
use serde::Serialize;

use super::features::{ContainerFeatures, FEATURE_NAMES};

/// Why a localizer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalizerError {
    /// The machine was trained on other features.
    #[error("the localizer was trained on {}, this program has {}: train it again", found.join(", "), FEATURE_NAMES.join(", "))]
    OtherFeatures {
        /// The features of its card.
        found: Vec<String>,
    },
    /// The files cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The machine cannot be trained so.
    #[error(transparent)]
    Svm(#[from] ballast_models::svm::SvmError),
}

/// A trained judge of [`ContainerFeatures`].
#[derive(Debug, Clone, PartialEq)]
pub struct Localizer {
    svm: Svm,
}

/// What the localizer says of one container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whom it is about.
    pub container: Arc<str>,
    /// The distance from the border: positive for a culprit.
    pub score: f64,
    /// The evidence.
    pub features: ContainerFeatures,
}

impl Localizer {
    /// A localizer that decides by `svm`.
    ///
    /// # Errors
    /// When the machine has another number of inputs than there are features.
    pub fn new(svm: Svm) -> Result<Self, LocalizerError> {
        if svm.width() != FEATURE_NAMES.len() {
            let found = vec![format!("{} numbers", svm.width())];
            return Err(LocalizerError::OtherFeatures { found });
        }
        Ok(Self { svm })
    }

    /// Reads what [`Localizer::save`] wrote.
    ///
    /// # Errors
    /// When a file cannot be read, is damaged, or the localizer was trained on other features.
    pub fn load(path: &Path) -> Result<(Self, SvmCard), LocalizerError> {
        Self::checked(Svm::load(path)?)
    }

    /// A localizer from the bytes of its two files, for one that is built into a program. `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Localizer::load`].
    pub fn decode(origin: &str, weights: &[u8], card: &[u8]) -> Result<(Self, SvmCard), LocalizerError> {
        Self::checked(Svm::decode(origin, weights, card)?)
    }

    fn checked((svm, card): (Svm, SvmCard)) -> Result<(Self, SvmCard), LocalizerError> {
        if card.input_names != FEATURE_NAMES {
            return Err(LocalizerError::OtherFeatures { found: card.input_names });
        }
        Ok((Self::new(svm)?, card))
    }

    /// Writes the localizer to `path`, which must end in `.safetensors`, and its card beside it.
    ///
    /// # Errors
    /// When the card does not name the features, or a file cannot be written.
    pub fn save(&self, path: &Path, card: &SvmCard) -> Result<(), LocalizerError> {
        if card.input_names != FEATURE_NAMES {
            return Err(LocalizerError::OtherFeatures { found: card.input_names.clone() });
        }
        Ok(self.svm.save(path, card)?)
    }

    /// Judges every container, the worst first. A container of which nothing is known is not judged.
    #[must_use]
    pub fn judge(&self, features: &BTreeMap<Arc<str>, ContainerFeatures>) -> Vec<Verdict> {
        let known = features.iter().filter(|(_, features)| **features != ContainerFeatures::default());
        let mut verdicts: Vec<Verdict> = known
            .filter_map(|(container, features)| {
                // The width was checked when the localizer was made.
                let score = self.svm.decision(&features.to_vector()).ok()?;
                Some(Verdict { container: container.clone(), score, features: *features })
            })
            .collect();
        verdicts.sort_by(|a, b| b.score.total_cmp(&a.score));
        verdicts
    }

    /// Learns on the fly from containers whose guilt became known.
    ///
    /// # Errors
    /// Never for features of this program; passed on from the machine.
    pub fn learn(&mut self, examples: &[(ContainerFeatures, bool)]) -> Result<(), LocalizerError> {
        let rows: Vec<_> = examples.iter().map(|(features, _)| features.to_vector()).collect();
        let labels: Vec<bool> = examples.iter().map(|(_, is_culprit)| *is_culprit).collect();
        Ok(self.svm.partial_fit(&rows, &labels)?)
    }
}

/// The container to blame: the worst one, if it is on the culprits' side of the border. `verdicts` are the worst first.
#[must_use]
pub fn culprit(verdicts: &[Verdict]) -> Option<&Verdict> {
    verdicts.first().filter(|worst| worst.score > 0.0)
}
