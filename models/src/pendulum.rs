//! Pendulum-v1, the known answer: an environment on which a DDPG that works is told from one that does not.
//!
//! Knows no cluster. Stepped identically to Gymnasium's, so that published results can be compared.

mod environment;
mod training;

pub use environment::{EPISODE_STEPS, MAX_TORQUE, Observation, Pendulum, PendulumStep};
pub use training::{EVALUATION_EPISODES, PendulumProgress, PendulumReport, config, evaluate, train};
