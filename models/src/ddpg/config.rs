//! Every constant of the algorithm, with its meaning and where it comes from.
//!
//! Knows no learner.

use serde::{Deserialize, Serialize};

/// Networks deeper or wider than these are a mistake in a file, not a wish.
const MAX_HIDDEN_LAYERS: usize = 8;
const MAX_HIDDEN_UNITS: usize = 4096;

/// DDPG's hyperparameters. The default is FIRM's shape (OSDI '20, section 3.4 and table 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdpgConfig {
    /// Units of each hidden layer, of actor and critic alike.
    pub hidden: Vec<usize>,
    /// Adam's step size for the actor.
    pub actor_learning_rate: f32,
    /// Adam's step size for the critic: larger, so that the actor follows a critic that keeps up.
    pub critic_learning_rate: f32,
    /// Transitions per update.
    pub batch_size: usize,
    /// Transitions remembered; the oldest are forgotten.
    pub replay_capacity: usize,
    /// Gamma: what a reward one step later is worth, in [0, 1).
    pub discount: f32,
    /// Tau: how far the target networks move towards the learned ones at each update, in (0, 1].
    pub target_rate: f32,
    /// Steps at the start whose actions are drawn uniformly and after which learning begins.
    pub warm_up_steps: u64,
    /// What is added to the actor's actions while exploring.
    pub noise: NoiseConfig,
    /// TD3's first remedy: two critics, the lower of which is believed. Against overestimation.
    pub twin_critics: bool,
    /// TD3's second remedy: the actor and all targets move once in this many updates; 1 is plain DDPG.
    pub policy_delay: u64,
    /// TD3's third remedy: noise on the target policy's actions. Absent is plain DDPG.
    pub target_smoothing: Option<TargetSmoothing>,
}

impl Default for DdpgConfig {
    fn default() -> Self {
        Self {
            hidden: vec![40, 40],
            actor_learning_rate: 3e-4,
            critic_learning_rate: 3e-3,
            batch_size: 64,
            replay_capacity: 100_000,
            discount: 0.9,
            target_rate: 2e-3,
            warm_up_steps: 64,
            noise: NoiseConfig::default(),
            twin_critics: false,
            policy_delay: 1,
            target_smoothing: None,
        }
    }
}

/// Exploration: a process, and how it fades.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// How each noise follows from the one before.
    pub process: NoiseProcess,
    /// Steps over which the scale falls linearly from 1 to `final_scale`; 0 keeps it at 1.
    pub decay_steps: u64,
    /// Where the scale stops, in [0, 1].
    pub final_scale: f32,
}

impl Default for NoiseConfig {
    /// Lillicrap et al. 2015, section 7: Ornstein-Uhlenbeck, 0.15 and 0.2, never fading.
    fn default() -> Self {
        Self {
            process: NoiseProcess::OrnsteinUhlenbeck { theta: 0.15, sigma: 0.2 },
            decay_steps: 0,
            final_scale: 1.0,
        }
    }
}

/// How each noise follows from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NoiseProcess {
    /// `x <- x - theta x + sigma N(0, 1)`, from 0 at each episode's start.
    OrnsteinUhlenbeck {
        /// Pull towards zero per step, in [0, 1].
        theta: f32,
        /// Standard deviation of what is added per step.
        sigma: f32,
    },
    /// `x = sigma N(0, 1)`, without memory.
    Gaussian {
        /// Standard deviation.
        sigma: f32,
    },
}

/// Noise on the target policy's actions: `clamp(sigma N(0, 1), -clip, clip)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSmoothing {
    /// Standard deviation; TD3's is 0.2.
    pub sigma: f32,
    /// Largest magnitude; TD3's is 0.5.
    pub clip: f32,
}

/// All that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this DDPG configuration cannot work: {}", problems.join("; "))]
pub struct InvalidConfig {
    /// One sentence for each problem.
    pub problems: Vec<String>,
}

impl DdpgConfig {
    /// TD3 instead of DDPG: all three remedies, with the constants of Fujimoto et al. 2018.
    #[must_use]
    pub fn with_td3(self) -> Self {
        Self {
            twin_critics: true,
            policy_delay: 2,
            target_smoothing: Some(TargetSmoothing { sigma: 0.2, clip: 0.5 }),
            ..self
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let mut problems = Vec::new();
        self.check_shape(&mut problems);
        self.check_rates(&mut problems);
        self.check_noise(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(InvalidConfig { problems }) }
    }

    fn check_shape(&self, problems: &mut Vec<String>) {
        if self.hidden.len() > MAX_HIDDEN_LAYERS {
            problems.push(format!("hidden has {} layers, more than {MAX_HIDDEN_LAYERS}", self.hidden.len()));
        }
        for units in self.hidden.iter().filter(|units| !(1..=MAX_HIDDEN_UNITS).contains(*units)) {
            problems.push(format!("hidden must hold numbers from 1 to {MAX_HIDDEN_UNITS}, not {units}"));
        }
        if self.batch_size == 0 {
            problems.push("batch_size must be at least 1".to_owned());
        }
        if self.replay_capacity < self.batch_size {
            problems.push(format!(
                "replay_capacity must be at least batch_size ({}), not {}",
                self.batch_size, self.replay_capacity
            ));
        }
        if self.policy_delay == 0 {
            problems.push("policy_delay must be at least 1".to_owned());
        }
    }

    fn check_rates(&self, problems: &mut Vec<String>) {
        let mut check = |name: &str, value: f32, holds: bool, rule: &str| {
            if !holds {
                problems.push(format!("{name} must be {rule}, not {value}"));
            }
        };
        for (name, rate) in [
            ("actor_learning_rate", self.actor_learning_rate),
            ("critic_learning_rate", self.critic_learning_rate),
        ] {
            check(name, rate, rate > 0.0 && rate < 1.0, "in (0, 1)");
        }
        check("discount", self.discount, (0.0..1.0).contains(&self.discount), "in [0, 1)");
        let tau = self.target_rate;
        check("target_rate", tau, tau > 0.0 && tau <= 1.0, "in (0, 1]");
    }

    fn check_noise(&self, problems: &mut Vec<String>) {
        let mut check = |name: &str, value: f32, most: f32| {
            if !(0.0..=most).contains(&value) {
                problems.push(format!("{name} must be in [0, {most}], not {value}"));
            }
        };
        match self.noise.process {
            NoiseProcess::OrnsteinUhlenbeck { theta, sigma } => {
                check("noise theta", theta, 1.0);
                check("noise sigma", sigma, 10.0);
            }
            NoiseProcess::Gaussian { sigma } => check("noise sigma", sigma, 10.0),
        }
        check("noise final_scale", self.noise.final_scale, 1.0);
        if let Some(smoothing) = self.target_smoothing {
            check("target_smoothing sigma", smoothing.sigma, 10.0);
            check("target_smoothing clip", smoothing.clip, 10.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_firms_shape_and_valid() {
        let config = DdpgConfig::default();
        assert_eq!((config.hidden.as_slice(), config.batch_size), (&[40, 40][..], 64));
        assert!(config.validate().is_ok() && config.with_td3().validate().is_ok());
    }

    #[test]
    fn all_problems_are_told_at_once_and_nan_is_one() {
        let config = DdpgConfig {
            hidden: vec![0],
            discount: 1.0,
            target_rate: f32::NAN,
            replay_capacity: 1,
            policy_delay: 0,
            noise: NoiseConfig { final_scale: -0.1, ..NoiseConfig::default() },
            ..DdpgConfig::default()
        };
        assert_eq!(config.validate().unwrap_err().problems.len(), 6);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let told = serde_json::from_str::<DdpgConfig>(r#"{"gamma": 0.9}"#).unwrap_err().to_string();
        assert!(told.contains("gamma") && told.contains("discount"), "{told}");
    }
}
