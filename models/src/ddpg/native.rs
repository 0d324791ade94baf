//! The native learner: one update of DDPG or TD3 on ndarray, in buffers made once.
//!
//! Knows neither replay nor exploration, and draws nothing at random.

use ndarray::{Array1, Array2, ArrayView1, Zip, s};

use super::{
    batch::Batch,
    config::{DdpgConfig, TargetSmoothing},
    learner::{Learner, LearnerError, UpdateStatistics},
    networks::Networks,
};
use crate::mlp::{Adam, Mlp, Tape};

/// Learns on the CPU, in one thread.
#[derive(Debug, Clone)]
pub struct NativeLearner {
    discount: f32,
    target_rate: f32,
    policy_delay: u64,
    smoothing: Option<TargetSmoothing>,
    networks: Networks,
    actor_adam: Adam,
    critic_adams: Vec<Adam>,
    updates: u64,
    buffers: Buffers,
}

/// Everything an update writes before it moves a parameter.
#[derive(Debug, Clone)]
struct Buffers {
    /// Of the actor and its target, one after the other.
    actor: Tape,
    /// Of all critics, one after the other.
    critic: Tape,
    /// `[state + action, batch]`.
    critic_input: Array2<f32>,
    /// What the critics should have predicted, `[batch]`.
    targets: Array1<f32>,
    actor_gradients: Mlp,
    critic_gradients: Mlp,
    /// Of the value at the action, `[action, batch]`.
    action_gradients: Array2<f32>,
}

impl NativeLearner {
    /// A learner that starts from `networks`.
    #[must_use]
    pub fn new(config: &DdpgConfig, networks: Networks) -> Self {
        let (batch, actor, critic) = (config.batch_size, &networks.actor, &networks.critics[0]);
        let buffers = Buffers {
            actor: Tape::new(actor, batch),
            critic: Tape::new(critic, batch),
            critic_input: Array2::zeros((critic.inputs(), batch)),
            targets: Array1::zeros(batch),
            actor_gradients: actor.zeros_like(),
            critic_gradients: critic.zeros_like(),
            action_gradients: Array2::zeros((actor.outputs(), batch)),
        };
        let adam = |critic: &Mlp| Adam::new(critic, config.critic_learning_rate);
        Self {
            discount: config.discount,
            target_rate: config.target_rate,
            policy_delay: config.policy_delay,
            smoothing: config.target_smoothing,
            actor_adam: Adam::new(actor, config.actor_learning_rate),
            critic_adams: networks.critics.iter().map(adam).collect(),
            updates: 0,
            networks,
            buffers,
        }
    }

    /// `y = r + gamma * continues * Q'(s', mu'(s'))`: what the critics should have predicted.
    fn compute_targets(&mut self, batch: &Batch) {
        let (networks, buffers) = (&self.networks, &mut self.buffers);
        let state_dim = batch.states.ncols();
        networks.target_actor.forward(&batch.next_states.t(), &mut buffers.actor);
        buffers.critic_input.slice_mut(s![..state_dim, ..]).assign(&batch.next_states.t());
        let mut actions = buffers.critic_input.slice_mut(s![state_dim.., ..]);
        actions.assign(buffers.actor.output());
        if let Some(TargetSmoothing { sigma, clip }) = self.smoothing {
            actions.zip_mut_with(&batch.smoothing.t(), |action, normal| {
                *action = (*action + (sigma * normal).clamp(-clip, clip)).clamp(-1.0, 1.0);
            });
        }
        for (index, critic) in networks.target_critics.iter().enumerate() {
            critic.forward(&buffers.critic_input.view(), &mut buffers.critic);
            let values = buffers.critic.output().row(0);
            if index == 0 {
                buffers.targets.assign(&values);
            } else {
                buffers.targets.zip_mut_with(&values, |lower, value| *lower = lower.min(*value));
            }
        }
        Zip::from(&mut buffers.targets)
            .and(&batch.rewards)
            .and(&batch.continues)
            .for_each(|target, reward, continues| *target = reward + self.discount * continues * *target);
    }

    /// One step of each critic down its mean squared error.
    fn improve_critics(&mut self, batch: &Batch) -> UpdateStatistics {
        let buffers = &mut self.buffers;
        let state_dim = batch.states.ncols();
        buffers.critic_input.slice_mut(s![..state_dim, ..]).assign(&batch.states.t());
        buffers.critic_input.slice_mut(s![state_dim.., ..]).assign(&batch.actions.t());
        let mut statistics = UpdateStatistics { critic_loss: 0.0, mean_q: 0.0 };
        let share = share_of(batch);
        for (index, (critic, adam)) in
            self.networks.critics.iter_mut().zip(&mut self.critic_adams).enumerate()
        {
            critic.forward(&buffers.critic_input.view(), &mut buffers.critic);
            if index == 0 {
                statistics.mean_q = share * buffers.critic.output().sum();
            }
            statistics.critic_loss += set_squared_error(&mut buffers.critic, &buffers.targets, share);
            critic.backward(&mut buffers.critic);
            critic.parameter_gradients(
                &buffers.critic_input.view(),
                &buffers.critic,
                &mut buffers.critic_gradients,
            );
            adam.step(critic, &buffers.critic_gradients);
        }
        statistics
    }

    /// One step of the actor up the first critic's mean value of its actions.
    fn improve_actor(&mut self, batch: &Batch) {
        let (networks, buffers) = (&mut self.networks, &mut self.buffers);
        let state_dim = batch.states.ncols();
        networks.actor.forward(&batch.states.t(), &mut buffers.actor);
        // The states are still there from the critics' step.
        buffers.critic_input.slice_mut(s![state_dim.., ..]).assign(buffers.actor.output());
        let critic = &networks.critics[0];
        critic.forward(&buffers.critic_input.view(), &mut buffers.critic);
        buffers.critic.output_gradient_mut().fill(-share_of(batch));
        critic.backward(&mut buffers.critic);
        critic.input_gradient(state_dim, &buffers.critic, &mut buffers.action_gradients);
        buffers.actor.output_gradient_mut().assign(&buffers.action_gradients);
        networks.actor.backward(&mut buffers.actor);
        networks.actor.parameter_gradients(&batch.states.t(), &buffers.actor, &mut buffers.actor_gradients);
        self.actor_adam.step(&mut networks.actor, &buffers.actor_gradients);
    }

    fn move_targets(&mut self) {
        let Networks { actor, critics, target_actor, target_critics } = &mut self.networks;
        target_actor.move_towards(actor, self.target_rate);
        for (target, critic) in target_critics.iter_mut().zip(critics) {
            target.move_towards(critic, self.target_rate);
        }
    }
}

/// Writes the gradient of the mean squared error at the critic's output, and answers that error.
fn set_squared_error(critic: &mut Tape, targets: &Array1<f32>, share: f32) -> f32 {
    let (values, gradient) = critic.output_and_gradient_mut();
    // Rows: a `[batch]` beside a `[1, batch]` or `[batch, 1]` might silently be broadcast.
    let (values, mut errors) = (values.row(0), gradient.row_mut(0));
    Zip::from(&mut errors).and(values).and(targets).for_each(|error, value, target| *error = value - target);
    let loss = share * errors.dot(&errors);
    errors *= 2.0 * share;
    loss
}

/// What one member of the batch counts in a mean.
#[expect(clippy::cast_precision_loss, reason = "batches are far below 2^24")]
fn share_of(batch: &Batch) -> f32 {
    1.0 / batch.rewards.len() as f32
}

impl Learner for NativeLearner {
    fn update(&mut self, batch: &Batch) -> Result<UpdateStatistics, LearnerError> {
        self.updates += 1;
        self.compute_targets(batch);
        let statistics = self.improve_critics(batch);
        if self.updates.is_multiple_of(self.policy_delay) {
            self.improve_actor(batch);
            self.move_targets();
        }
        Ok(statistics)
    }

    fn act(&mut self, state: &[f32], action: &mut [f32]) -> Result<(), LearnerError> {
        let output = self.networks.actor.forward_one(&ArrayView1::from(state));
        action.iter_mut().zip(&output).for_each(|(action, output)| *action = *output);
        Ok(())
    }

    fn networks(&self) -> Result<Networks, LearnerError> {
        Ok(self.networks.clone())
    }
}

#[cfg(test)]
mod tests;
