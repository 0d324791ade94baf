//! Random Fourier features (Rahimi and Recht 2007): z(x) = sqrt(2/D) cos(W x + p), where the rows of W are normal with
//! variance 2 gamma and p is uniform in [0, 2 pi). Then z(x) . z(y) approximates exp(-gamma |x - y|^2).

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::dot;

/// D random waves over the inputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fourier {
    pub(super) inputs: usize,
    /// `[features, inputs]`, row after row.
    pub(super) frequencies: Vec<f64>,
    /// `[features]`.
    pub(super) phases: Vec<f64>,
}

impl Fourier {
    pub(super) fn draw(inputs: usize, features: usize, gamma: f64, rng: &mut impl Rng) -> Self {
        let deviation = (2.0 * gamma).sqrt();
        let normal = |rng: &mut _| -> f64 { StandardNormal.sample(rng) };
        let frequencies = (0..features * inputs).map(|_| deviation * normal(rng)).collect();
        let phases = (0..features).map(|_| rng.random_range(0.0..TAU)).collect();
        Self { inputs, frequencies, phases }
    }

    /// z of `scaled`, which has as many numbers as there are inputs.
    pub(super) fn of(&self, scaled: &[f64]) -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a count of features")]
        let amplitude = (2.0 / self.phases.len() as f64).sqrt();
        let wave = |feature: usize, phase: f64| {
            let frequencies = &self.frequencies[feature * self.inputs..][..self.inputs];
            amplitude * (dot(frequencies, scaled) + phase).cos()
        };
        self.phases.iter().enumerate().map(|(feature, phase)| wave(feature, *phase)).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn products_of_features_approximate_the_kernel() {
        const FEATURES: usize = 4096;
        for seed in 0..5 {
            let mut rng = Pcg64::seed_from_u64(seed);
            let fourier = Fourier::draw(3, FEATURES, 0.4, &mut rng);
            for (x, y) in [
                ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
                ([1.0, -1.0, 0.5], [0.5, -1.0, 0.0]),
                ([2.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
            ] {
                let squared: f64 = x.iter().zip(y).map(|(x, y): (&f64, f64)| (x - y).powi(2)).sum();
                let error = dot(&fourier.of(&x), &fourier.of(&y)) - (-0.4 * squared).exp();
                assert!(error.abs() < 4.0 / 64.0, "seed {seed}: {error}");
            }
        }
    }
}
