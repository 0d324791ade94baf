//! The replay buffer: a ring of fixed capacity in one flat piece of memory.
//!
//! Knows no learner.

use ndarray::{ArrayView, ArrayViewMut1};
use rand::{Rng, RngExt};

use super::batch::Batch;

/// More is a mistake in a file: the allocation would fail and end the program.
const MAX_BYTES: usize = 16 << 30;

/// One step of an environment, as it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// What was seen before acting.
    pub state: Vec<f32>,
    /// What was executed, in [-1, 1]: after guard rails, where there are any, not what was proposed.
    pub action: Vec<f32>,
    /// What it earned.
    pub reward: f32,
    /// What was seen afterwards.
    pub next_state: Vec<f32>,
    /// Whether the next state has no future. An episode cut off by its step limit is not terminal: its last state's
    /// value is still learned from.
    pub terminal: bool,
}

/// The last `capacity` transitions.
///
/// Holds `4 * (2 * state + action + 2)` bytes for each, [`Replay::bytes`] in all, from the start to the end: 8.8 MB for
/// 100,000 transitions of 8 state and 4 action numbers. The operating system lends the pages as they fill.
#[derive(Debug, Clone)]
pub struct Replay {
    state_dim: usize,
    action_dim: usize,
    capacity: usize,
    /// Rows of `state, action, reward, next state, continues`.
    rows: Box<[f32]>,
    /// How many rows hold a transition.
    len: usize,
    /// The row written next.
    next: usize,
}

impl Replay {
    /// An empty buffer; `None` when it would hold more than 16 GiB.
    #[must_use]
    pub fn new(capacity: usize, state_dim: usize, action_dim: usize) -> Option<Self> {
        let width = state_dim.checked_mul(2)?.checked_add(action_dim)?.checked_add(2)?;
        let length = capacity.checked_mul(width)?;
        if length > MAX_BYTES / size_of::<f32>() {
            return None;
        }
        let rows = vec![0.0; length].into_boxed_slice();
        Some(Self { state_dim, action_dim, capacity, rows, len: 0, next: 0 })
    }

    /// How many transitions it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory it may use, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.rows)
    }

    fn width(&self) -> usize {
        2 * self.state_dim + self.action_dim + 2
    }

    /// Remembers a transition, in the place of the oldest when full. The caller has checked its lengths.
    pub(crate) fn push(&mut self, transition: &Transition) {
        let (state_dim, action_dim, width) = (self.state_dim, self.action_dim, self.width());
        let row = &mut self.rows[self.next * width..][..width];
        let (state, row) = row.split_at_mut(state_dim);
        let (action, row) = row.split_at_mut(action_dim);
        let (next_state, row) = row.split_at_mut(state_dim);
        state.copy_from_slice(&transition.state);
        action.copy_from_slice(&transition.action);
        next_state.copy_from_slice(&transition.next_state);
        row[0] = transition.reward;
        row[1] = if transition.terminal { 0.0 } else { 1.0 };
        self.next = (self.next + 1) % self.capacity;
        self.len = (self.len + 1).min(self.capacity);
    }

    /// Fills `batch` with transitions drawn uniformly, with repetition. The buffer must not be empty.
    pub(crate) fn sample(&self, batch: &mut Batch, rng: &mut impl Rng) {
        for member in 0..batch.rewards.len() {
            let index = rng.random_range(0..self.len);
            let row = &self.rows[index * self.width()..][..self.width()];
            let (state, row) = row.split_at(self.state_dim);
            let (action, row) = row.split_at(self.action_dim);
            let (next_state, row) = row.split_at(self.state_dim);
            copy(batch.states.row_mut(member), state);
            copy(batch.actions.row_mut(member), action);
            copy(batch.next_states.row_mut(member), next_state);
            batch.rewards[member] = row[0];
            batch.continues[member] = row[1];
        }
    }
}

fn copy(mut to: ArrayViewMut1<'_, f32>, from: &[f32]) {
    to.assign(&ArrayView::from(from));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    fn transition(number: u16) -> Transition {
        let number = f32::from(number);
        Transition {
            state: vec![number, number + 0.25],
            action: vec![number / 1e6],
            reward: -number,
            next_state: vec![number + 1.0, number + 1.25],
            terminal: number % 2.0 == 0.0,
        }
    }

    proptest! {
        /// Whatever was pushed, exactly the last `capacity` transitions can be drawn, whole.
        #[test]
        fn holds_the_last_transitions_and_mixes_none(capacity in 1u16..20, pushed in 1u16..60, seed: u64) {
            let mut replay = Replay::new(capacity.into(), 2, 1).unwrap();
            let bytes = replay.bytes();
            (0..pushed).for_each(|number| replay.push(&transition(number)));
            prop_assert_eq!((replay.len(), replay.bytes()), (pushed.min(capacity).into(), bytes));
            let mut batch = Batch::zeros(400, 2, 1);
            replay.sample(&mut batch, &mut Pcg64::seed_from_u64(seed));
            for member in 0..400 {
                let remembered = pushed.saturating_sub(capacity)..pushed;
                let number = remembered.clone().find(|number| f32::from(*number) == -batch.rewards[member]);
                let Some(number) = number else { panic!("none of {remembered:?}") };
                let drawn = transition(number);
                prop_assert_eq!(batch.states.row(member).to_vec(), drawn.state);
                prop_assert_eq!(batch.actions.row(member).to_vec(), drawn.action);
                prop_assert_eq!(batch.next_states.row(member).to_vec(), drawn.next_state);
                prop_assert_eq!(batch.continues[member] == 0.0, drawn.terminal);
            }
        }
    }

    #[test]
    fn draws_uniformly() {
        let mut replay = Replay::new(10, 2, 1).unwrap();
        (0..10).for_each(|number| replay.push(&transition(number)));
        let mut batch = Batch::zeros(100_000, 2, 1);
        replay.sample(&mut batch, &mut Pcg64::seed_from_u64(10));
        let mut counts = [0; 10];
        for reward in &batch.rewards {
            counts[(0u16..10).position(|number| f32::from(number) == -reward).unwrap()] += 1;
        }
        // Each count is binomial(100000, 0.1): standard deviation 95.
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn says_its_bytes_and_refuses_absurd_sizes() {
        assert_eq!(Replay::new(100_000, 8, 4).unwrap().bytes(), 8_800_000);
        assert!(Replay::new(usize::MAX, 8, 4).is_none());
        assert!(Replay::new(1_000_000_000, 8, 4).is_none());
    }
}
