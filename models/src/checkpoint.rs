//! Policies on disk: `NAME.safetensors` holds the weights, `NAME.json` beside it says how they were made.
//!
//! Trusts no file: a policy moves resource limits, so anything odd is refused. Knows no environment.

pub(crate) mod card;
pub(crate) mod file;
mod weights;

use std::path::{Path, PathBuf};

use card::Sidecar;
pub use card::{PolicyCard, Score};

use crate::ddpg::Policy;

/// Why a policy or a localizer could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The path cannot be a checkpoint's.
    #[error("a checkpoint must be called NAME.safetensors, not {}", path.display())]
    Path {
        /// The path refused.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{origin} is no checkpoint that can be used: {detail}")]
    Invalid {
        /// The file, or the name of an embedded policy.
        origin: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Policy {
    /// Writes the weights to `path`, which must end in `.safetensors`, and the card beside it.
    ///
    /// Each file is replaced in one move. Should the program die between the two, [`Policy::load`] refuses the pair,
    /// because the card holds the weights' checksum.
    ///
    /// # Errors
    /// When the path has another ending, the card does not describe this policy, or a file cannot be written.
    pub fn save(&self, path: &Path, card: &PolicyCard) -> Result<(), CheckpointError> {
        let card_path = card_path(path)?;
        let invalid = |detail| CheckpointError::Invalid { origin: path.display().to_string(), detail };
        card.check(self).map_err(invalid)?;
        let weights = weights::encode(self.actor()).map_err(invalid)?;
        let sidecar = Sidecar::new(&weights, card).encode().map_err(invalid)?;
        file::write(path, &weights)?;
        file::write(&card_path, &sidecar)
    }

    /// Reads what [`Policy::save`] wrote.
    ///
    /// # Errors
    /// When a file is missing or too large, the two do not belong together, a shape is not the card's, or a weight is
    /// NaN or infinite.
    pub fn load(path: &Path) -> Result<(Self, PolicyCard), CheckpointError> {
        let card_path = card_path(path)?;
        let weights = file::read(path)?;
        let card = file::read(&card_path)?;
        Self::decode(&path.display().to_string(), &weights, &card)
    }

    /// A policy from the bytes of its two files, for one that is built into a program. `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn decode(origin: &str, weights: &[u8], card: &[u8]) -> Result<(Self, PolicyCard), CheckpointError> {
        let invalid = |detail| CheckpointError::Invalid { origin: origin.to_owned(), detail };
        let card = Sidecar::decode(card).and_then(|sidecar| sidecar.card_of(weights)).map_err(invalid)?;
        let actor = weights::decode(weights, &card).map_err(invalid)?;
        Ok((Self::new(actor), card))
    }
}

pub(crate) fn card_path(path: &Path) -> Result<PathBuf, CheckpointError> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        Ok(path.with_extension("json"))
    } else {
        Err(CheckpointError::Path { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests;
