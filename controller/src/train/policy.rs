//! One policy for all services, learned by DDPG on episodes of the simulator.

use anyhow::{Context, Result};
use ballast_models::{
    checkpoint::{PolicyCard, Score},
    ddpg::{Agent, DdpgConfig, LearnerKind, Policy, Transition},
};
use serde::Serialize;

use crate::environment::{EpisodeConfig, STATE_NAMES, SimulatedEnvironment};

/// How to train.
#[derive(Debug, Clone)]
pub struct PolicyTraining {
    /// What episodes are drawn from.
    pub episodes: EpisodeConfig,
    /// Which learner.
    pub learner: LearnerKind,
    /// All that is random follows from it.
    pub seed: u64,
    /// Steps of the environment, each with one update of the networks.
    pub steps: u64,
    /// The learner's constants.
    pub config: DdpgConfig,
}

impl PolicyTraining {
    /// FIRM's networks and rates, with exploration that fades over the training.
    #[must_use]
    pub fn new(episodes: EpisodeConfig, learner: LearnerKind, seed: u64, steps: u64) -> Self {
        let mut config = DdpgConfig { warm_up_steps: steps / 20, ..DdpgConfig::default() };
        config.noise.decay_steps = steps;
        config.noise.final_scale = 0.2;
        Self { episodes, learner, seed, steps, config }
    }
}

/// What came of a training.
#[derive(Debug, Clone, Serialize)]
pub struct TrainedPolicy {
    /// The best of the policies that were evaluated on the way.
    #[serde(skip)]
    pub policy: Policy,
    /// Mean reward per step of its evaluation episodes.
    pub score: f64,
    /// The same for each evaluation: (steps trained, mean reward per step).
    pub curve: Vec<(u64, f64)>,
    /// Updates of the networks.
    pub updates: u64,
}

/// Steps that take about half a minute of one core.
pub const DEFAULT_STEPS: u64 = 40_000;

/// Evaluations on the way, at even distances; the last one is at the end.
const EVALUATIONS: u64 = 10;
/// Episodes of an evaluation; the same ones each time.
const EVALUATION_EPISODES: usize = 6;
/// Evaluation episodes are drawn from another stream than training episodes.
const EVALUATION_STREAM: u64 = 0x6576_616c;

/// Trains, telling `progress` the number of steps done after each; it may end the training with an error.
///
/// # Errors
/// When the environment or the learner fails; when the steps are too few for an evaluation; what `progress` answers.
pub fn train_policy(
    training: &PolicyTraining,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<TrainedPolicy> {
    let PolicyTraining { episodes, learner, seed, steps, config } = training;
    let mut environment = SimulatedEnvironment::new(episodes.clone(), *seed);
    let mut agent = Agent::new(config.clone(), STATE_NAMES.len(), 1, *learner, *seed)?;
    let evaluate_every = (steps / EVALUATIONS).max(1);
    let mut best: Option<(f64, Policy)> = None;
    let mut curve = Vec::new();
    let mut state = begin_episode(&mut environment, &mut agent)?;
    for step in 1..=*steps {
        let action = agent.explore(&state)?;
        let outcome = environment.step(&action)?;
        agent.observe(&transition(&state, action, &outcome))?;
        state = if outcome.truncated { begin_episode(&mut environment, &mut agent)? } else { outcome.state };
        if step % evaluate_every == 0 {
            let policy = agent.policy()?;
            let score = evaluate(episodes, &policy, *seed)?;
            curve.push((step, score));
            if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
                best = Some((score, policy));
            }
        }
        progress(step)?;
    }
    let (score, policy) = best.context("too few steps to evaluate a policy")?;
    Ok(TrainedPolicy { policy, score, curve, updates: agent.statistics().updates })
}

fn begin_episode(environment: &mut SimulatedEnvironment, agent: &mut Agent) -> Result<Vec<f32>> {
    agent.begin_episode();
    environment.reset()
}

#[expect(clippy::cast_possible_truncation, reason = "the networks compute in f32")]
fn transition(state: &[f32], action: Vec<f32>, outcome: &crate::environment::Step) -> Transition {
    Transition {
        state: state.to_vec(),
        action,
        reward: outcome.reward as f32,
        next_state: outcome.state.clone(),
        terminal: false,
    }
}

/// Mean reward per step of the policy without noise.
#[expect(clippy::cast_precision_loss, reason = "a few hundred steps")]
fn evaluate(episodes: &EpisodeConfig, policy: &Policy, seed: u64) -> Result<f64> {
    let mut environment = SimulatedEnvironment::new(episodes.clone(), seed ^ EVALUATION_STREAM);
    let (mut sum, mut steps) = (0.0, 0_usize);
    for _ in 0..EVALUATION_EPISODES {
        let mut state = environment.reset()?;
        loop {
            let outcome = environment.step(&policy.act(&state)?)?;
            sum += outcome.reward;
            steps += 1;
            if outcome.truncated {
                break;
            }
            state = outcome.state;
        }
    }
    Ok(sum / steps as f64)
}

impl TrainedPolicy {
    /// What the policy is and how it was made.
    #[must_use]
    pub fn card(&self, training: &PolicyTraining, created: String) -> PolicyCard {
        PolicyCard {
            description: "Sets one container's CPU limit between half and four times its baseline."
                .to_owned(),
            state_names: STATE_NAMES.map(str::to_owned).to_vec(),
            action_names: vec!["cpu_limit".to_owned()],
            environment: format!("simulated {}", training.episodes.topology.name),
            learner: training.learner,
            seed: training.seed,
            steps: training.steps,
            config: training.config.clone(),
            created,
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            score: Some(Score {
                name: format!("mean reward per step of {EVALUATION_EPISODES} evaluation episodes"),
                value: self.score,
            }),
        }
    }
}
