//! What a learner sees and gets: states, actions and rewards, and the episodes of the simulator.

mod reward;
mod simulated;
mod state;

pub use reward::{REWARD_ALPHA, reward};
pub(crate) use simulated::{BURNERS, MIN_CPU_SHARE};
pub use simulated::{EpisodeConfig, SimulatedEnvironment, Step};
pub use state::{Bounds, Observation, RequestMix, STATE_NAMES, utilisation};
