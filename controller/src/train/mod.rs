//! Training in the simulator: the policy that sets limits and the localizer that names culprits.

mod checkpoints;
mod localizer;
mod policy;

pub use checkpoints::Checkpoints;
pub use localizer::{LocalizerScores, LocalizerTraining, TrainedLocalizer, train_localizer};
pub use policy::{DEFAULT_STEPS, PolicyTraining, TrainedPolicy, train_policy};
