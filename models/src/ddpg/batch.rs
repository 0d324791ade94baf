//! What one update learns from.
//!
//! Knows no replay: who fills it decides what is drawn.

use ndarray::{Array1, Array2};

/// Transitions drawn for one update, made once and filled again for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[batch, state]`.
    pub states: Array2<f32>,
    /// The actions executed, `[batch, action]`.
    pub actions: Array2<f32>,
    /// `[batch]`.
    pub rewards: Array1<f32>,
    /// `[batch, state]`.
    pub next_states: Array2<f32>,
    /// 0 where the episode had ended in a state without future, 1 elsewhere: what the next state's value is multiplied
    /// by. Episodes that were merely cut off have 1. `[batch]`.
    pub continues: Array1<f32>,
    /// Standard normal numbers for target policy smoothing, `[batch, action]`. Drawn with the batch, so that a learner
    /// is a function of what it is given.
    pub smoothing: Array2<f32>,
}

impl Batch {
    /// Zeros.
    #[must_use]
    pub fn zeros(batch_size: usize, state_dim: usize, action_dim: usize) -> Self {
        Self {
            states: Array2::zeros((batch_size, state_dim)),
            actions: Array2::zeros((batch_size, action_dim)),
            rewards: Array1::zeros(batch_size),
            next_states: Array2::zeros((batch_size, state_dim)),
            continues: Array1::zeros(batch_size),
            smoothing: Array2::zeros((batch_size, action_dim)),
        }
    }
}
