use ballast_models::ddpg::*;
use rand::{RngExt, SeedableRng};
use std::time::Instant;
#[allow(clippy::all, clippy::disallowed_methods)]
fn main() {
    let config = DdpgConfig::default();
    let rng = &mut rand_pcg::Pcg64::seed_from_u64(1);
    let networks = Networks::random(&config, 8, 5, rng);
    let mut batch = Batch::zeros(config.batch_size, 8, 5);
    for matrix in [&mut batch.states, &mut batch.actions, &mut batch.next_states] {
        matrix.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    }
    batch.rewards.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    batch.continues.fill(1.0);
    let mut l = NativeLearner::new(&config, networks);
    let mut best = f64::MAX;
    for _ in 0..200 {
        let t = Instant::now();
        for _ in 0..20 {
            l.update(&batch).unwrap();
        }
        best = best.min(t.elapsed().as_secs_f64() / 20.0);
    }
    println!("{:.1} us", best * 1e6);
}
