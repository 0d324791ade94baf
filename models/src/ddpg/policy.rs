//! A learned policy: the actor alone.
//!
//! Knows nothing of learning, and needs no library but ndarray.

use ndarray::ArrayView1;

use super::input::{self, InvalidInput};
use crate::mlp::Mlp;

/// Chooses actions, always the same for the same state.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    actor: Mlp,
}

impl Policy {
    pub(crate) fn new(actor: Mlp) -> Self {
        Self { actor }
    }

    pub(crate) fn actor(&self) -> &Mlp {
        &self.actor
    }

    /// How many numbers a state has.
    #[must_use]
    pub fn state_dim(&self) -> usize {
        self.actor.inputs()
    }

    /// How many numbers an action has.
    #[must_use]
    pub fn action_dim(&self) -> usize {
        self.actor.outputs()
    }

    /// The action for a state, each number in [-1, 1].
    ///
    /// # Errors
    /// When the state has the wrong length, holds NaN or an infinity, or is so large that the network overflows.
    pub fn act(&self, state: &[f32]) -> Result<Vec<f32>, InvalidInput> {
        input::check("state", self.state_dim(), state)?;
        let action = self.actor.forward_one(&ArrayView1::from(state)).to_vec();
        input::check("action", self.action_dim(), &action)?;
        Ok(action)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;
    use crate::mlp::Output;

    #[test]
    fn a_bad_state_is_an_error_that_says_what_is_wrong() {
        let policy = Policy::new(Mlp::random(3, &[4], 2, Output::Tanh, &mut Pcg64::seed_from_u64(13)));
        assert_eq!(policy.act(&[0.1, 0.2, 0.3]).unwrap().len(), 2);
        let told = policy.act(&[0.1]).unwrap_err().to_string();
        assert!(told.contains("3 numbers, not 1"), "{told}");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let told = policy.act(&[0.1, bad, 0.3]).unwrap_err().to_string();
            assert!(told.contains("number 1 of the state"), "{told}");
        }
    }
}
