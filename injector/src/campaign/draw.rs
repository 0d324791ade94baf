//! Chance: which of several, and when.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1};
use rand_pcg::Pcg64Mcg;

use super::file::Times;

/// A stream of draws. The same seed and number give the same stream, on any machine.
pub(super) struct Draw(Pcg64Mcg);

impl Draw {
    /// The `number`th of the campaign with this seed.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        let wide = (u128::from(seed) << 64) | u128::from(number);
        let mut bytes = <Pcg64Mcg as SeedableRng>::Seed::default();
        bytes.copy_from_slice(&wide.to_le_bytes());
        Self(Pcg64Mcg::from_seed(bytes))
    }

    /// In [0, 1).
    pub(super) fn part(&mut self) -> f64 {
        self.0.random()
    }

    /// One of them; none of none.
    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.0.random_range(0..of.len())) }
    }

    pub(super) fn time(&mut self, times: Times) -> Duration {
        times.from + (times.to - times.from).mul_f64(self.part())
    }

    pub(super) fn gap(&mut self, mean: Duration) -> Duration {
        let unit: f64 = Exp1.sample(&mut self.0);
        mean.mul_f64(unit)
    }
}
