//! Deep deterministic policy gradient (Lillicrap et al. 2015, arXiv:1509.02971), with TD3's three remedies
//! (Fujimoto et al. 2018, arXiv:1802.09477) as options.
//!
//! Knows states, actions and rewards, not what they control.
//!
//! In reading order: [`DdpgConfig`] holds every constant; [`Agent`] explores, remembers and learns; [`NativeLearner`]
//! is one update, written out; [`Policy`] is what remains when learning is over.
//!
//! Where this differs from the 2015 paper:
//! 1. The action enters the critic's first layer beside the state, not its second layer (as in TD3).
//! 2. No batch normalisation and no weight decay: states come in scaled to about [-1, 1].
//! 3. Learning rates, sizes, discount and tau are FIRM's (OSDI '20) by default, see [`DdpgConfig`].
//! 4. Exploration noise may fade; its scale is a share that never falls below zero.

mod agent;
mod batch;
mod config;
mod input;
mod learner;
mod native;
mod networks;
mod noise;
mod policy;
mod replay;
#[cfg(feature = "tch")]
mod tch_learner;

pub use agent::{Agent, AgentError, AgentStatistics};
pub use batch::Batch;
pub use config::{DdpgConfig, InvalidConfig, NoiseConfig, NoiseProcess, TargetSmoothing};
pub use input::InvalidInput;
pub use learner::{Learner, LearnerError, LearnerKind, UnknownLearner, UpdateStatistics};
pub use native::NativeLearner;
pub use networks::Networks;
pub use policy::Policy;
pub use replay::{Replay, Transition};
#[cfg(feature = "tch")]
pub use tch_learner::TchLearner;
