//! The agent: explores, remembers, and learns one update for each step.
//!
//! Knows no environment and no clock; everything random comes from its seed.

use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64;
use serde::Serialize;

use super::{
    batch::Batch,
    config::{DdpgConfig, InvalidConfig},
    input::{self, InvalidInput},
    learner::{Learner, LearnerError, LearnerKind, UpdateStatistics},
    networks::Networks,
    noise::Noise,
    policy::Policy,
    replay::{Replay, Transition},
};

/// A learner with what it needs to learn from experience.
pub struct Agent {
    config: DdpgConfig,
    state_dim: usize,
    action_dim: usize,
    learner: Box<dyn Learner>,
    replay: Replay,
    noise: Noise,
    rng: Pcg64,
    batch: Batch,
    steps: u64,
    updates: u64,
    last_update: Option<UpdateStatistics>,
}

/// Why an agent refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// A state, action or reward cannot be learned from.
    #[error(transparent)]
    Input(#[from] InvalidInput),
    /// The learner is not there, or failed.
    #[error(transparent)]
    Learner(#[from] LearnerError),
}

/// How far an agent has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AgentStatistics {
    /// Transitions observed.
    pub steps: u64,
    /// Updates made.
    pub updates: u64,
    /// Transitions remembered.
    pub stored: usize,
    /// The replay buffer's memory, in bytes.
    pub replay_bytes: usize,
    /// What exploration noise is multiplied by now.
    pub noise_scale: f32,
    /// What the last update saw.
    pub last_update: Option<UpdateStatistics>,
}

impl Agent {
    /// An agent for states of `state_dim` numbers and actions of `action_dim`. The same seed and observations make the
    /// same agent.
    ///
    /// # Errors
    /// When the configuration cannot work, or this build has no such learner.
    pub fn new(
        config: DdpgConfig,
        state_dim: usize,
        action_dim: usize,
        kind: LearnerKind,
        seed: u64,
    ) -> Result<Self, AgentError> {
        config.validate()?;
        let invalid = |problem: &str| InvalidConfig { problems: vec![problem.to_owned()] };
        if state_dim == 0 || action_dim == 0 {
            return Err(invalid("states and actions must hold at least one number").into());
        }
        let replay = Replay::new(config.replay_capacity, state_dim, action_dim)
            .ok_or_else(|| invalid("replay_capacity asks for more than 16 GiB"))?;
        let mut rng = Pcg64::seed_from_u64(seed);
        let networks = Networks::random(&config, state_dim, action_dim, &mut rng);
        Ok(Self {
            learner: kind.learner(&config, networks)?,
            noise: Noise::new(config.noise, action_dim),
            batch: Batch::zeros(config.batch_size, state_dim, action_dim),
            config,
            state_dim,
            action_dim,
            replay,
            rng,
            steps: 0,
            updates: 0,
            last_update: None,
        })
    }

    /// Tells that the next state begins an episode.
    pub fn begin_episode(&mut self) {
        self.noise.begin_episode();
    }

    /// An action to try in `state`, each number in [-1, 1]: uniform while warming up, then the actor's with noise.
    ///
    /// # Errors
    /// When the state has the wrong length or holds NaN or an infinity, or the learner fails.
    pub fn explore(&mut self, state: &[f32]) -> Result<Vec<f32>, AgentError> {
        input::check("state", self.state_dim, state)?;
        let mut action = vec![0.0; self.action_dim];
        if self.steps < self.config.warm_up_steps {
            action.fill_with(|| self.rng.random_range(-1.0..=1.0));
        } else {
            self.learner.act(state, &mut action)?;
            self.noise.disturb(&mut action, &mut self.rng);
        }
        Ok(action)
    }

    /// Remembers what happened and, once warm and with a batch remembered, learns from one batch.
    ///
    /// The action must be the one that was executed: the critic learns what actions do, and one that a guard rail
    /// replaced did nothing.
    ///
    /// # Errors
    /// When a length is wrong, a number is NaN, infinite or (an action) outside [-1, 1]: nothing is remembered then.
    /// When the learner fails or diverges.
    pub fn observe(&mut self, transition: &Transition) -> Result<Option<UpdateStatistics>, AgentError> {
        input::check("state", self.state_dim, &transition.state)?;
        input::check_action(self.action_dim, &transition.action)?;
        input::check("reward", 1, &[transition.reward])?;
        input::check("next state", self.state_dim, &transition.next_state)?;
        self.replay.push(transition);
        self.steps += 1;
        if self.steps < self.config.warm_up_steps || self.replay.len() < self.config.batch_size {
            return Ok(None);
        }
        self.learn().map(Some)
    }

    fn learn(&mut self) -> Result<UpdateStatistics, AgentError> {
        self.replay.sample(&mut self.batch, &mut self.rng);
        if self.config.target_smoothing.is_some() {
            self.batch.smoothing.mapv_inplace(|_| self.rng.sample(StandardNormal));
        }
        let statistics = self.learner.update(&self.batch)?;
        self.updates += 1;
        self.last_update = Some(statistics);
        if !statistics.critic_loss.is_finite() {
            return Err(LearnerError::Diverged { update: self.updates, loss: statistics.critic_loss }.into());
        }
        Ok(statistics)
    }

    /// What it has learned so far: a copy, that later learning does not change.
    ///
    /// # Errors
    /// When the learner fails.
    pub fn policy(&self) -> Result<Policy, AgentError> {
        Ok(Policy::new(self.learner.networks()?.actor))
    }

    /// How far it has come.
    #[must_use]
    pub fn statistics(&self) -> AgentStatistics {
        AgentStatistics {
            steps: self.steps,
            updates: self.updates,
            stored: self.replay.len(),
            replay_bytes: self.replay.bytes(),
            noise_scale: self.noise.scale(),
            last_update: self.last_update,
        }
    }

    /// The constants it learns with.
    #[must_use]
    pub fn config(&self) -> &DdpgConfig {
        &self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DdpgConfig {
        DdpgConfig { batch_size: 16, warm_up_steps: 32, ..DdpgConfig::default() }
    }

    fn agent(config: DdpgConfig, seed: u64) -> Agent {
        Agent::new(config, 2, 1, LearnerKind::Native, seed).unwrap()
    }

    fn transition(action: f32) -> Transition {
        Transition {
            state: vec![0.1, 0.2],
            action: vec![action],
            reward: 1.0,
            next_state: vec![0.3, 0.4],
            terminal: true,
        }
    }

    #[test]
    fn the_stored_action_is_the_action_executed() {
        let mut agent = agent(config(), 31);
        let proposed = agent.explore(&[0.1, 0.2]).unwrap();
        // A guard rail has put this in its place.
        agent.observe(&transition(0.125)).unwrap();
        let mut batch = Batch::zeros(1, 2, 1);
        agent.replay.sample(&mut batch, &mut agent.rng);
        assert_eq!(batch.actions[(0, 0)], 0.125);
        assert_ne!(proposed, [0.125]);
    }

    #[test]
    fn warms_up_with_uniform_actions_and_then_learns_at_every_step() {
        let mut agent = agent(config(), 32);
        let mut actions = Vec::new();
        for step in 1..=100u64 {
            let action = agent.explore(&[0.1, 0.2]).unwrap();
            let learned = agent.observe(&transition(action[0])).unwrap();
            assert_eq!(learned.is_some(), step >= 32, "{step}");
            actions.push(action[0]);
        }
        assert_eq!(agent.statistics().updates, 100 - 31);
        let widest = |actions: &[f32]| actions.iter().fold(0.0f32, |most, action| most.max(action.abs()));
        assert!(widest(&actions[..32]) > 0.8);
        assert!(actions.iter().all(|action| (-1.0..=1.0).contains(action)));
    }

    #[test]
    fn bad_numbers_are_refused_and_not_remembered() {
        let mut agent = agent(config(), 33);
        assert!(agent.explore(&[0.1]).is_err());
        assert!(agent.explore(&[0.1, f32::NAN]).is_err());
        let good = transition(0.5);
        for bad in [
            Transition { state: vec![0.1], ..good.clone() },
            Transition { action: vec![1.5], ..good.clone() },
            Transition { action: vec![f32::NAN], ..good.clone() },
            Transition { reward: f32::INFINITY, ..good.clone() },
            Transition { next_state: vec![0.1, f32::NAN], ..good.clone() },
        ] {
            assert!(matches!(agent.observe(&bad), Err(AgentError::Input(_))), "{bad:?}");
        }
        assert_eq!((agent.statistics().steps, agent.statistics().stored), (0, 0));
    }

    #[test]
    fn divergence_is_an_error_that_says_what_to_do() {
        let mut agent = agent(DdpgConfig { warm_up_steps: 0, batch_size: 1, ..config() }, 34);
        let told = agent.observe(&Transition { reward: f32::MAX, ..transition(0.5) }).unwrap_err();
        assert!(told.to_string().contains("lower the learning rates"), "{told}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let new = |config, state_dim| Agent::new(config, state_dim, 1, LearnerKind::Native, 1).map(drop);
        assert!(new(config(), 0).is_err());
        assert!(new(DdpgConfig { discount: 2.0, ..config() }, 1).is_err());
        let told = new(DdpgConfig { replay_capacity: usize::MAX, ..config() }, 1).unwrap_err().to_string();
        assert!(told.contains("16 GiB"), "{told}");
    }

    #[cfg(not(feature = "tch"))]
    #[test]
    fn a_learner_that_is_not_built_is_named_with_the_way_out() {
        let told = Agent::new(config(), 2, 1, LearnerKind::Tch, 1).map(drop).unwrap_err().to_string();
        assert!(told.contains("--features tch") && told.contains("native"), "{told}");
    }

    #[test]
    fn the_same_seed_makes_the_same_agent() {
        let run = |seed| {
            let mut agent = agent(config().with_td3(), seed);
            for _ in 0..60 {
                let action = agent.explore(&[0.1, 0.2]).unwrap();
                agent.observe(&transition(action[0])).unwrap();
            }
            agent.policy().unwrap()
        };
        assert_eq!(run(35), run(35));
        assert_ne!(run(35), run(36));
    }

    /// A bandit whose best action depends on the state: `a = 0.6 s`. Both algorithms must find it, over several seeds.
    #[test]
    fn finds_the_best_action_of_a_bandit() {
        let plain = DdpgConfig {
            actor_learning_rate: 1e-3,
            critic_learning_rate: 3e-3,
            target_rate: 0.01,
            ..config()
        };
        for config in [plain.clone(), plain.with_td3()] {
            for seed in 40..43 {
                let mut agent = Agent::new(config.clone(), 1, 1, LearnerKind::Native, seed).unwrap();
                for step in 0..3000u16 {
                    let state = f32::from(step % 21) / 10.0 - 1.0;
                    let action = agent.explore(&[state]).unwrap();
                    let reward = -(action[0] - 0.6 * state).powi(2);
                    let (state, next_state) = (vec![state], vec![0.0]);
                    agent.observe(&Transition { state, action, reward, next_state, terminal: true }).unwrap();
                }
                let policy = agent.policy().unwrap();
                for state in [-1.0, -0.5, 0.0, 0.5, 1.0] {
                    let action = policy.act(&[state]).unwrap()[0];
                    assert!((action - 0.6 * state).abs() < 0.15, "seed {seed}: {state} -> {action}");
                }
            }
        }
    }
}
