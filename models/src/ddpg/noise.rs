//! Exploration noise.
//!
//! Knows neither states nor rewards.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::config::{NoiseConfig, NoiseProcess};

/// A noise process of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Noise {
    config: NoiseConfig,
    /// One value for each number of the action, before scaling.
    values: Vec<f32>,
    /// How many noises were drawn, over all episodes.
    draws: u64,
}

impl Noise {
    pub(crate) fn new(config: NoiseConfig, action_dim: usize) -> Self {
        Self { config, values: vec![0.0; action_dim], draws: 0 }
    }

    /// Forgets the last value: noise of one episode must not lean on the one before.
    pub(crate) fn begin_episode(&mut self) {
        self.values.fill(0.0);
    }

    /// What the noise is multiplied by, in [`final_scale`](NoiseConfig::final_scale) to 1: never negative.
    #[expect(clippy::cast_precision_loss, reason = "a share: its sixth digit does not matter")]
    pub(crate) fn scale(&self) -> f32 {
        match self.config.decay_steps {
            0 => 1.0,
            steps => (1.0 - self.draws as f32 / steps as f32).max(self.config.final_scale),
        }
    }

    /// Adds the next noise to `action` and keeps the result in [-1, 1].
    pub(crate) fn disturb(&mut self, action: &mut [f32], rng: &mut impl Rng) {
        let scale = self.scale();
        self.draws += 1;
        for (action, value) in action.iter_mut().zip(&mut self.values) {
            let normal: f32 = rng.sample(StandardNormal);
            *value = match self.config.process {
                NoiseProcess::OrnsteinUhlenbeck { theta, sigma } => *value - theta * *value + sigma * normal,
                NoiseProcess::Gaussian { sigma } => sigma * normal,
            };
            *action = (*action + scale * *value).clamp(-1.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    fn noise(process: NoiseProcess) -> Noise {
        Noise::new(NoiseConfig { process, ..NoiseConfig::default() }, 1)
    }

    const OU: NoiseProcess = NoiseProcess::OrnsteinUhlenbeck { theta: 0.15, sigma: 0.02 };

    fn series(noise: &mut Noise, steps: usize, rng: &mut Pcg64) -> Vec<f64> {
        let mut next = || {
            let mut action = [0.0];
            noise.disturb(&mut action, rng);
            f64::from(action[0])
        };
        (0..steps).map(|_| next()).collect()
    }

    /// Variance, and correlation of neighbours.
    fn moments(series: &[f64]) -> (f64, f64) {
        let variance = series.iter().map(|x| x * x).sum::<f64>() / series.len() as f64;
        let product = series.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / series.len() as f64;
        (variance, product / variance)
    }

    #[test]
    fn has_the_moments_of_its_process() {
        // Of x' = (1 - theta) x + sigma N: variance sigma^2 / (1 - (1 - theta)^2), neighbours correlate by 1 - theta.
        let rng = &mut Pcg64::seed_from_u64(5);
        let (variance, correlation) = moments(&series(&mut noise(OU), 200_000, rng));
        assert!((variance / (0.02f64.powi(2) / (1.0 - 0.85f64.powi(2))) - 1.0).abs() < 0.05, "{variance}");
        assert!((correlation - 0.85).abs() < 0.01, "{correlation}");
        let (variance, correlation) =
            moments(&series(&mut noise(NoiseProcess::Gaussian { sigma: 0.1 }), 200_000, rng));
        assert!((variance / 0.01 - 1.0).abs() < 0.05 && correlation.abs() < 0.01);
    }

    #[test]
    fn is_reset_at_each_episode() {
        let mut noise = noise(OU);
        let fresh = series(&mut noise, 5, &mut Pcg64::seed_from_u64(6));
        series(&mut noise, 100, &mut Pcg64::seed_from_u64(7));
        assert_ne!(series(&mut noise, 5, &mut Pcg64::seed_from_u64(6)), fresh, "the process has a memory");
        noise.begin_episode();
        assert_eq!(series(&mut noise, 5, &mut Pcg64::seed_from_u64(6)), fresh);
    }

    #[test]
    fn its_scale_falls_to_the_floor_and_is_never_negative() {
        for final_scale in [0.0, 0.3] {
            let config = NoiseConfig { decay_steps: 100, final_scale, ..NoiseConfig::default() };
            let mut noise = Noise::new(config, 1);
            let rng = &mut Pcg64::seed_from_u64(8);
            let mut before = noise.scale();
            assert_eq!(before, 1.0);
            for _ in 0..1000 {
                noise.disturb(&mut [0.0], rng);
                let now = noise.scale();
                assert!(now <= before && now >= final_scale, "{now}");
                before = now;
            }
            assert_eq!(before, final_scale);
        }
    }

    #[test]
    fn actions_stay_in_range() {
        let mut noise = noise(NoiseProcess::Gaussian { sigma: 5.0 });
        let series = series(&mut noise, 1000, &mut Pcg64::seed_from_u64(9));
        assert!(series.iter().all(|x| (-1.0..=1.0).contains(x)) && series.contains(&1.0));
    }
}
