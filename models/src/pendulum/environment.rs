//! The pendulum's physics, as Gymnasium's `Pendulum-v1` computes them.
//!
//! Knows no learner.

use std::f64::consts::PI;

use rand::{Rng, RngExt};

/// Gymnasium's constants.
const GRAVITY: f64 = 10.0;
const MASS: f64 = 1.0;
const LENGTH: f64 = 1.0;
const STEP_SECONDS: f64 = 0.05;
const MAX_SPEED: f64 = 8.0;

/// The strongest torque, in newton metres: an action of 1.
pub const MAX_TORQUE: f32 = 2.0;

/// Steps until an episode is cut off. It never ends by itself.
pub const EPISODE_STEPS: u32 = 200;

/// `[cos theta, sin theta, angular velocity]`.
pub type Observation = [f32; 3];

/// A pendulum to be swung up and held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pendulum {
    /// From upright, in radians; not wrapped.
    theta: f64,
    /// In radians per second.
    velocity: f64,
}

/// What one step gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PendulumStep {
    /// What is seen afterwards.
    pub observation: Observation,
    /// At most 0, at least -16.2736044.
    pub reward: f64,
}

impl Pendulum {
    /// A pendulum at a random angle, with a random velocity within 1 rad/s.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self { theta: rng.random_range(-PI..PI), velocity: rng.random_range(-1.0..1.0) }
    }

    /// What is seen now.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "Gymnasium observes in f32")]
    pub fn observe(&self) -> Observation {
        [self.theta.cos() as f32, self.theta.sin() as f32, self.velocity as f32]
    }

    /// Applies `torque`, in newton metres, for one step. What is beyond [`MAX_TORQUE`] is cut off.
    pub fn step(&mut self, torque: f32) -> PendulumStep {
        let torque = torque.clamp(-MAX_TORQUE, MAX_TORQUE);
        // The action is f32 in Gymnasium, and so is what is computed from it alone.
        let effort = f64::from(0.001 * (torque * torque));
        let cost = wrap(self.theta).powi(2) + 0.1 * self.velocity.powi(2) + effort;
        let push = f64::from(3.0 * torque) / (MASS * LENGTH * LENGTH);
        let fall = 3.0 * GRAVITY / (2.0 * LENGTH) * self.theta.sin();
        self.velocity = (self.velocity + (fall + push) * STEP_SECONDS).clamp(-MAX_SPEED, MAX_SPEED);
        self.theta += self.velocity * STEP_SECONDS;
        PendulumStep { observation: self.observe(), reward: -cost }
    }
}

/// Into [-pi, pi).
fn wrap(angle: f64) -> f64 {
    (angle + PI).rem_euclid(2.0 * PI) - PI
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    /// What Gymnasium 1.4.0 with NumPy 2.4.6 answers: `(theta, velocity, torque)`, then observation, reward, and state.
    #[expect(clippy::type_complexity, reason = "a table")]
    const GYMNASIUM: [((f64, f64, f32), Observation, f64, (f64, f64)); 6] = [
        (
            (0.5, -0.25, 1.25),
            [0.870_364_9, 0.492_407_32, 0.297_069_16],
            -0.257_812_500_023_283_04,
            (0.514_853_457_697_657_6, 0.297_069_153_953_152_25),
        ),
        (
            (3.0, 0.9, -0.7),
            [-0.995_342_6, 0.096_400_715, 0.900_84],
            -9.081_490_000_005_811,
            (3.045_042_000_540_663_5, 0.900_840_010_813_272),
        ),
        ((-3.1, 7.9, 2.0), [-0.904_072_17, -0.427_379_88, 8.0], -15.855_000_000_189_992, (-2.7, 8.0)),
        ((10.0, -7.95, -5.0), [-0.984_687_86, -0.174_326_78, -8.0], -12.910_508_130_436_266, (9.6, -8.0)),
        (
            (-7.5, 1.0, 0.3),
            [0.362_600_36, -0.931_944_7, 0.341_5],
            -1.580_727_996_672_278_3,
            (-7.482_924_999_039_645, 0.341_500_019_207_085_17),
        ),
        (
            (2.356_194_490_192_345, 0.0, 0.0),
            [-0.725_606, 0.688_110_4, 0.530_330_06],
            -5.551_652_475_612_764,
            (2.382_710_994_486_840_3, 0.530_330_085_889_910_7),
        ),
    ];

    #[test]
    fn steps_as_gymnasium_does() {
        for ((theta, velocity, torque), observation, reward, after) in GYMNASIUM {
            let mut pendulum = Pendulum { theta, velocity };
            let step = pendulum.step(torque);
            // Sines may differ in their last bit from one library to the next.
            assert!((step.reward - reward).abs() < 1e-13 * reward.abs(), "{} {reward}", step.reward);
            assert!((pendulum.theta - after.0).abs() < 1e-13, "{pendulum:?} {after:?}");
            assert!((pendulum.velocity - after.1).abs() < 1e-13, "{pendulum:?} {after:?}");
            assert_eq!(step.observation, observation);
        }
    }

    #[test]
    fn a_whole_episode_returns_what_gymnasium_returns() {
        let mut pendulum = Pendulum { theta: 1.0, velocity: 0.5 };
        let torques = (-4i8..=4).map(|fifth| f32::from(fifth) * 0.5).cycle();
        let sum: f64 = torques.take(200).map(|torque| pendulum.step(torque).reward).sum();
        assert!((sum - -1_071.622_893_741_275).abs() < 1e-8, "{sum}");
        assert!((pendulum.theta - 5.210_168_329_025_229).abs() < 1e-10, "{pendulum:?}");
    }

    proptest! {
        #[test]
        fn rewards_and_speeds_keep_their_bounds(seed: u64, torque in -9.0f32..9.0) {
            let mut pendulum = Pendulum::random(&mut Pcg64::seed_from_u64(seed));
            prop_assert!(pendulum.theta.abs() <= PI && pendulum.velocity.abs() <= 1.0);
            for _ in 0..EPISODE_STEPS {
                let PendulumStep { observation, reward } = pendulum.step(torque);
                // pi^2 + 0.1 * 8^2 + 0.001 * 2^2
                prop_assert!((-16.273_605..=0.0).contains(&reward));
                prop_assert!(observation[2].abs() <= 8.0);
            }
        }
    }
}
