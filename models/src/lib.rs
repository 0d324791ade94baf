//! What learns: dense networks, DDPG with its two learners, the support vector machine, and their checkpoints.
//!
//! Knows numbers, not clusters: states and actions are slices of `f32`, and no kernel, network or clock is in here.

pub mod checkpoint;
pub mod ddpg;
pub mod mlp;
pub mod pendulum;
pub mod svm;
