//! One update of each learner at FIRM's shape (2 x 40, batch 64), and one decision of a policy.
//!
//! Knows divan; scripts/bench reads what it prints.

#![expect(clippy::expect_used, reason = "a benchmark that cannot start has nothing to answer")]

use ballast_models::ddpg::{Agent, Batch, DdpgConfig, Learner, LearnerKind, NativeLearner, Networks};
use divan::Bencher;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// FIRM's: five utilisations, the SLO's margin, the workload's change and the request mix; five limits.
const STATE_DIM: usize = 8;
const ACTION_DIM: usize = 5;

fn main() {
    divan::main();
}

fn networks_and_batch() -> (DdpgConfig, Networks, Batch) {
    let config = DdpgConfig::default();
    let rng = &mut Pcg64::seed_from_u64(1);
    let networks = Networks::random(&config, STATE_DIM, ACTION_DIM, rng);
    let mut batch = Batch::zeros(config.batch_size, STATE_DIM, ACTION_DIM);
    for matrix in [&mut batch.states, &mut batch.actions, &mut batch.next_states] {
        matrix.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    }
    batch.rewards.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    batch.continues.fill(1.0);
    (config, networks, batch)
}

#[divan::bench]
fn learner_update_native(bencher: Bencher<'_, '_>) {
    let (config, networks, batch) = networks_and_batch();
    let mut learner = NativeLearner::new(&config, networks);
    bencher.bench_local(|| learner.update(&batch));
}

#[cfg(feature = "tch")]
#[divan::bench]
fn learner_update_tch(bencher: Bencher<'_, '_>) {
    let (config, networks, batch) = networks_and_batch();
    let mut learner = ballast_models::ddpg::TchLearner::new(&config, &networks).expect("libtorch works");
    bencher.bench_local(|| learner.update(&batch));
}

#[divan::bench]
fn policy_inference(bencher: Bencher<'_, '_>) {
    let policy = Agent::new(DdpgConfig::default(), STATE_DIM, ACTION_DIM, LearnerKind::Native, 1)
        .and_then(|agent| agent.policy())
        .expect("the default configuration is valid");
    bencher.bench_local(|| policy.act(&[0.1; STATE_DIM]));
}
