//! The tch learner: the same update as [`NativeLearner`](super::NativeLearner)'s, on libtorch with its autograd and Adam.
//!
//! Knows neither replay nor exploration, and draws nothing at random.

mod network;

use network::Network;
use tch::{Device, Kind, TchError, Tensor};

use super::{
    batch::Batch,
    config::{DdpgConfig, TargetSmoothing},
    learner::{Learner, LearnerError, UpdateStatistics},
    networks::Networks,
};

/// Learns on libtorch: on the first GPU when libtorch finds one, else on the CPU.
#[derive(Debug)]
pub struct TchLearner {
    discount: f64,
    target_rate: f64,
    policy_delay: u64,
    smoothing: Option<TargetSmoothing>,
    device: Device,
    actor: Network,
    critics: Vec<Network>,
    target_actor: Network,
    target_critics: Vec<Network>,
    updates: u64,
}

/// A batch where the networks are.
struct TensorBatch {
    /// `[batch, state]`.
    states: Tensor,
    /// `[batch, state + action]`.
    states_and_actions: Tensor,
    /// What the critics should predict, `[batch, 1]`.
    targets: Tensor,
}

impl TchLearner {
    /// A learner that starts from `networks`. Makes libtorch compute with one thread in the whole process.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn new(config: &DdpgConfig, networks: &Networks) -> Result<Self, LearnerError> {
        // Sharing these small products among threads costs more than it saves, and far more on a busy machine: on two
        // cores with a load of 4, two threads made 40 to 100 updates/s of 2 x 64 and batch 128, one thread 470 to 630.
        tch::set_num_threads(1);
        let device = Device::cuda_if_available();
        let learned = |mlp, rate: f32| Network::learned(mlp, f64::from(rate), device);
        Ok(Self {
            discount: f64::from(config.discount),
            target_rate: f64::from(config.target_rate),
            policy_delay: config.policy_delay,
            smoothing: config.target_smoothing,
            device,
            actor: learned(&networks.actor, config.actor_learning_rate)?,
            critics: networks
                .critics
                .iter()
                .map(|critic| learned(critic, config.critic_learning_rate))
                .collect::<Result<_, _>>()?,
            target_actor: Network::target(&networks.target_actor, device)?,
            target_critics: networks
                .target_critics
                .iter()
                .map(|critic| Network::target(critic, device))
                .collect::<Result<_, _>>()?,
            updates: 0,
        })
    }

    /// `y = r + gamma * continues * Q'(s', mu'(s'))`: what the critics should have predicted, `[batch, 1]`.
    fn targets(&self, batch: &Batch) -> Result<Tensor, LearnerError> {
        let next_states = network::tensor(&batch.next_states, self.device)?;
        let mut actions = self.target_actor.forward(&next_states)?;
        if let Some(TargetSmoothing { sigma, clip }) = self.smoothing {
            let (sigma, clip) = (f64::from(sigma), f64::from(clip));
            let normal = network::tensor(&batch.smoothing, self.device)?;
            let noise = normal.f_mul_scalar(sigma)?.f_clamp(-clip, clip)?;
            actions = actions.f_add(&noise)?.f_clamp(-1.0, 1.0)?;
        }
        let input = Tensor::f_cat(&[next_states, actions], 1)?;
        let mut values: Option<Tensor> = None;
        for critic in &self.target_critics {
            let value = critic.forward(&input)?;
            values = Some(match values {
                None => value,
                Some(lower) => lower.f_minimum(&value)?,
            });
        }
        // Columns, as the critics' predictions: a `[batch]` would be broadcast to `[batch, batch]`.
        let rewards = network::column(&batch.rewards, self.device)?;
        let Some(values) = values else { return Ok(rewards) };
        let continues = network::column(&batch.continues, self.device)?;
        Ok(rewards.f_add(&continues.f_mul_scalar(self.discount)?.f_mul(&values)?)?)
    }

    /// One step of each critic down its mean squared error.
    fn improve_critics(&mut self, batch: &TensorBatch) -> Result<UpdateStatistics, LearnerError> {
        let mut statistics = UpdateStatistics { critic_loss: 0.0, mean_q: 0.0 };
        for (index, critic) in self.critics.iter_mut().enumerate() {
            let values = critic.forward(&batch.states_and_actions)?;
            if index == 0 {
                statistics.mean_q = number(&values.f_mean(Kind::Float)?)?;
            }
            let loss = values.f_mse_loss(&batch.targets, tch::Reduction::Mean)?;
            statistics.critic_loss += number(&loss)?;
            critic.descend(&loss)?;
        }
        Ok(statistics)
    }

    /// One step of the actor up the first critic's mean value of its actions.
    fn improve_actor(&mut self, batch: &TensorBatch) -> Result<(), LearnerError> {
        let actions = self.actor.forward(&batch.states)?;
        // The gradients that this leaves at the critic are cleared before its own next step.
        let values = self.critics[0].forward(&Tensor::f_cat(&[&batch.states, &actions], 1)?)?;
        Ok(self.actor.descend(&values.f_mean(Kind::Float)?.f_neg()?)?)
    }

    fn move_targets(&mut self) -> Result<(), LearnerError> {
        self.target_actor.move_towards(&self.actor, self.target_rate)?;
        for (target, critic) in self.target_critics.iter_mut().zip(&self.critics) {
            target.move_towards(critic, self.target_rate)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it was an f32 in libtorch")]
fn number(scalar: &Tensor) -> Result<f32, LearnerError> {
    Ok(scalar.f_double_value(&[])? as f32)
}

impl Learner for TchLearner {
    fn update(&mut self, batch: &Batch) -> Result<UpdateStatistics, LearnerError> {
        self.updates += 1;
        let states = network::tensor(&batch.states, self.device)?;
        let actions = network::tensor(&batch.actions, self.device)?;
        let batch = TensorBatch {
            states_and_actions: Tensor::f_cat(&[&states, &actions], 1)?,
            states,
            targets: tch::no_grad(|| self.targets(batch))?,
        };
        let statistics = self.improve_critics(&batch)?;
        if self.updates.is_multiple_of(self.policy_delay) {
            self.improve_actor(&batch)?;
            self.move_targets()?;
        }
        Ok(statistics)
    }

    fn act(&mut self, state: &[f32], action: &mut [f32]) -> Result<(), LearnerError> {
        let state = Tensor::f_from_slice(state)?.f_to(self.device)?;
        let output = tch::no_grad(|| self.actor.forward(&state))?.f_to(Device::Cpu)?;
        Ok(output.f_copy_data(action, action.len())?)
    }

    fn networks(&self) -> Result<Networks, LearnerError> {
        let copies =
            |networks: &[Network]| networks.iter().map(Network::to_mlp).collect::<Result<_, TchError>>();
        Ok(Networks {
            actor: self.actor.to_mlp()?,
            critics: copies(&self.critics)?,
            target_actor: self.target_actor.to_mlp()?,
            target_critics: copies(&self.target_critics)?,
        })
    }
}

#[cfg(test)]
mod tests;
