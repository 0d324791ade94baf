//! One update, taken apart: each known trap of DDPG and each remedy of TD3 has its test.

use ndarray::{Array1, Array2, concatenate};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64;

use super::*;

const STATE_DIM: usize = 3;
const ACTION_DIM: usize = 2;

fn config() -> DdpgConfig {
    DdpgConfig { hidden: vec![16, 16], batch_size: 8, ..DdpgConfig::default() }
}

/// Networks whose targets have moved away from them, as in the midst of training, and a batch.
fn midway(config: &DdpgConfig, seed: u64) -> (NativeLearner, Batch) {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let mut awake = || {
        let Networks { actor, critics, .. } = Networks::random(config, STATE_DIM, ACTION_DIM, rng);
        (actor.awake(rng), critics.into_iter().map(|critic| critic.awake(rng)).collect())
    };
    let ((actor, critics), (target_actor, target_critics)) = (awake(), awake());
    let networks = Networks { actor, critics, target_actor, target_critics };
    let mut batch = Batch::zeros(config.batch_size, STATE_DIM, ACTION_DIM);
    for matrix in [&mut batch.states, &mut batch.actions, &mut batch.next_states] {
        matrix.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    }
    batch.rewards.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    batch.continues.fill(1.0);
    batch.smoothing.mapv_inplace(|_| rng.sample(StandardNormal));
    (NativeLearner::new(config, networks), batch)
}

/// Values of `critic` for each member of a batch, one by one.
fn values(critic: &Mlp, states: &Array2<f32>, actions: &Array2<f32>) -> Array1<f32> {
    let rows = states.rows().into_iter().zip(actions.rows());
    rows.map(|(state, action)| critic.forward_one(&concatenate![ndarray::Axis(0), state, action].view())[0])
        .collect()
}

fn actions(actor: &Mlp, states: &Array2<f32>) -> Array2<f32> {
    let mut actions = Array2::zeros((states.nrows(), actor.outputs()));
    for (state, mut action) in states.rows().into_iter().zip(actions.rows_mut()) {
        action.assign(&actor.forward_one(&state));
    }
    actions
}

fn assert_close(left: &Array1<f32>, right: &Array1<f32>) {
    assert!((left - right).iter().all(|difference| difference.abs() < 1e-5), "{left} {right}");
}

#[test]
fn terminal_is_not_truncation() {
    let (mut learner, mut batch) = midway(&config(), 21);
    batch.continues[0] = 0.0;
    learner.compute_targets(&batch);
    let networks = &learner.networks;
    let next_values = values(
        &networks.target_critics[0],
        &batch.next_states,
        &actions(&networks.target_actor, &batch.next_states),
    );
    let mut expected = &batch.rewards + &(0.9 * next_values);
    expected[0] = batch.rewards[0];
    assert_close(&learner.buffers.targets, &expected);
}

#[test]
fn target_shapes_equal_prediction_shapes() {
    let (mut learner, batch) = midway(&config(), 22);
    let before = learner.networks.clone();
    let statistics = learner.update(&batch).unwrap();
    let predictions = values(&before.critics[0], &batch.states, &batch.actions);
    assert_eq!(learner.buffers.targets.shape(), predictions.shape());
    // Had one been broadcast against the other, this would be the mean over all 64 pairs.
    let errors = &predictions - &learner.buffers.targets;
    assert!((statistics.critic_loss - errors.mapv(|error| error * error).mean().unwrap()).abs() < 1e-5);
    assert!((statistics.mean_q - predictions.mean().unwrap()).abs() < 1e-5);
}

#[test]
fn targets_follow_slowly_and_only_the_learned_networks() {
    let (mut learner, batch) = midway(&DdpgConfig { target_rate: 0.25, ..config() }, 23);
    let mut expected = learner.networks.clone();
    learner.update(&batch).unwrap();
    let now = &learner.networks;
    assert_ne!(now.actor, expected.actor);
    assert_ne!(now.critics, expected.critics);
    expected.target_actor.move_towards(&now.actor, 0.25);
    expected.target_critics[0].move_towards(&now.critics[0], 0.25);
    assert_eq!((&now.target_actor, &now.target_critics), (&expected.target_actor, &expected.target_critics));
}

#[test]
fn the_critic_learns_rewards_and_the_actor_climbs_the_critic() {
    let (mut learner, mut batch) = midway(&DdpgConfig { critic_learning_rate: 1e-2, ..config() }, 24);
    batch.continues.fill(0.0);
    learner.compute_targets(&batch);
    let first = learner.improve_critics(&batch).critic_loss;
    for _ in 0..500 {
        learner.improve_critics(&batch);
    }
    let last = learner.improve_critics(&batch).critic_loss;
    assert!(last < 1e-2 * first, "{first} {last}");

    let value = |learner: &NativeLearner| {
        let actions = actions(&learner.networks.actor, &batch.states);
        values(&learner.networks.critics[0], &batch.states, &actions).mean().unwrap()
    };
    let before = value(&learner);
    for _ in 0..100 {
        learner.improve_actor(&batch);
    }
    assert!(value(&learner) > before + 0.01, "{before} {}", value(&learner));
}

#[test]
fn of_twin_critics_the_lower_is_believed() {
    let (mut learner, batch) = midway(&DdpgConfig { twin_critics: true, batch_size: 64, ..config() }, 25);
    learner.compute_targets(&batch);
    let networks = &learner.networks;
    let next_actions = actions(&networks.target_actor, &batch.next_states);
    let [one, other] =
        [0, 1].map(|index| values(&networks.target_critics[index], &batch.next_states, &next_actions));
    let lower = Zip::from(&one).and(&other).map_collect(|one, other| one.min(*other));
    assert!(lower != one && lower != other, "each is lower somewhere, or this shows nothing");
    assert_close(&learner.buffers.targets, &(&batch.rewards + &(0.9 * lower)));
}

#[test]
fn a_delayed_policy_waits_with_its_targets() {
    let (mut learner, batch) = midway(&DdpgConfig { policy_delay: 3, ..config() }, 26);
    let start = learner.networks.clone();
    for update in 1..=6 {
        let before = learner.networks.clone();
        learner.update(&batch).unwrap();
        let now = &learner.networks;
        assert_ne!(now.critics, before.critics);
        assert_eq!(now.actor != before.actor, update % 3 == 0);
        assert_eq!(now.target_actor != before.target_actor, update % 3 == 0);
        assert_eq!(now.target_critics != before.target_critics, update % 3 == 0);
    }
    assert_ne!(learner.networks.actor, start.actor);
}

#[test]
fn target_smoothing_is_clipped_noise_within_the_range_of_actions() {
    let smoothing = TargetSmoothing { sigma: 0.2, clip: 0.3 };
    let (mut learner, mut batch) = midway(&DdpgConfig { target_smoothing: Some(smoothing), ..config() }, 27);
    batch.smoothing[(0, 0)] = 100.0;
    batch.smoothing[(1, 1)] = -100.0;
    learner.compute_targets(&batch);
    let networks = &learner.networks;
    let plain = actions(&networks.target_actor, &batch.next_states);
    let noise = batch.smoothing.mapv(|normal| (0.2 * normal).clamp(-0.3, 0.3));
    let smoothed = (&plain + &noise).mapv(|action| action.clamp(-1.0, 1.0));
    let next_values = values(&networks.target_critics[0], &batch.next_states, &smoothed);
    assert_close(&learner.buffers.targets, &(&batch.rewards + &(0.9 * next_values)));
    assert_ne!(smoothed, plain);
}
