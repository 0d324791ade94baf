//! What a training leaves on disk: a folder with the policy and the localizer, each with its card.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ballast_api::UnixNanos;
use ballast_models::ddpg::Policy;

use super::{PolicyTraining, TrainedLocalizer, TrainedPolicy};
use crate::{environment::STATE_NAMES, localize::Localizer};

const POLICY: &str = "policy.safetensors";
const LOCALIZER: &str = "localizer.safetensors";

/// A folder of trained models.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// The models in `folder`.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes both, making the folder where it is missing.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(
        &self,
        policy: &TrainedPolicy,
        training: &PolicyTraining,
        localizer: &TrainedLocalizer,
        now: UnixNanos,
    ) -> Result<()> {
        std::fs::create_dir_all(&self.folder).with_context(|| format!("making {}", self.folder.display()))?;
        let created = format!("{:.0} s after 1970-01-01 UTC", now.as_seconds());
        policy.policy.save(&self.folder.join(POLICY), &policy.card(training, created.clone()))?;
        localizer.localizer.save(&self.folder.join(LOCALIZER), &localizer.card(created))?;
        Ok(())
    }

    /// Reads both.
    ///
    /// # Errors
    /// When one is missing or odd, or the policy was made for other states than this program's.
    pub fn load(&self) -> Result<(Policy, Localizer)> {
        let path = self.folder.join(POLICY);
        let (policy, card) = Policy::load(&path)?;
        if card.state_names != STATE_NAMES {
            bail!("{} was trained on other states than this version's; train it anew", path.display());
        }
        let (localizer, _) = Localizer::load(&self.folder.join(LOCALIZER))?;
        Ok((policy, localizer))
    }
}
