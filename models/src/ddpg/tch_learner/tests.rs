//! Both learners learn the same from the same.

use super::*;
use crate::{
    ddpg::{Agent, LearnerKind, NativeLearner, Transition},
    mlp::Mlp,
};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64;

const UPDATES: usize = 100;
const TOLERANCE: f32 = 1e-4;

fn batch(config: &DdpgConfig, rng: &mut Pcg64) -> Batch {
    let mut batch = Batch::zeros(config.batch_size, 8, 5);
    for matrix in [&mut batch.states, &mut batch.actions, &mut batch.next_states] {
        matrix.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    }
    batch.rewards.mapv_inplace(|_| rng.random_range(-1.0..1.0));
    batch.continues.mapv_inplace(|_| if rng.random_range(0..10) == 0 { 0.0 } else { 1.0 });
    batch.smoothing.mapv_inplace(|_| rng.sample(StandardNormal));
    batch
}

fn all(networks: &Networks) -> impl Iterator<Item = &Mlp> {
    [&networks.actor, &networks.target_actor]
        .into_iter()
        .chain(&networks.critics)
        .chain(&networks.target_critics)
}

fn largest_difference(one: &Networks, other: &Networks) -> f32 {
    all(one).zip(all(other)).map(|(one, other)| one.largest_difference(other)).fold(0.0, f32::max)
}

/// How far the learners are apart after [`UPDATES`] updates, in parameters and statistics, and how far they came.
fn differences(config: &DdpgConfig, seed: u64) -> (f32, f32, f32) {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let start = Networks::random(config, 8, 5, rng);
    let mut native = NativeLearner::new(config, start.clone());
    let mut tch = TchLearner::new(config, &start).unwrap();
    assert_eq!(tch.networks().unwrap(), start);
    let mut of_statistics = 0.0f32;
    for _ in 0..UPDATES {
        let batch = batch(config, rng);
        let (ours, theirs) = (native.update(&batch).unwrap(), tch.update(&batch).unwrap());
        of_statistics = of_statistics
            .max((ours.critic_loss - theirs.critic_loss).abs())
            .max((ours.mean_q - theirs.mean_q).abs());
    }
    let ours = native.networks().unwrap();
    (largest_difference(&ours, &tch.networks().unwrap()), of_statistics, largest_difference(&ours, &start))
}

#[test]
fn the_learners_agree_after_100_updates() {
    let plain = DdpgConfig::default();
    let configs = [
        ("plain", plain.clone()),
        ("twin critics", DdpgConfig { twin_critics: true, ..plain.clone() }),
        ("policy delay", DdpgConfig { policy_delay: 2, ..plain.clone() }),
        (
            "smoothing",
            DdpgConfig { target_smoothing: plain.clone().with_td3().target_smoothing, ..plain.clone() },
        ),
        ("TD3", plain.with_td3()),
    ];
    for (name, config) in configs {
        for seed in 61..64 {
            let (of_parameters, of_statistics, moved) = differences(&config, seed);
            println!("{name}, seed {seed}: {of_parameters:e} {of_statistics:e}, moved {moved}");
            assert!(of_parameters < TOLERANCE && of_statistics < TOLERANCE, "{name}, seed {seed}");
            assert!(moved > 0.05, "{name}: learners that do nothing agree too");
        }
    }
}

#[test]
fn target_shapes_equal_prediction_shapes() {
    let config = DdpgConfig::default().with_td3();
    let rng = &mut Pcg64::seed_from_u64(65);
    let learner = TchLearner::new(&config, &Networks::random(&config, 8, 5, rng)).unwrap();
    let targets = learner.targets(&batch(&config, rng)).unwrap();
    let predictions =
        learner.critics[0].forward(&Tensor::zeros([64, 13], (Kind::Float, Device::Cpu))).unwrap();
    assert_eq!((targets.size(), predictions.size()), (vec![64, 1], vec![64, 1]));
}

#[test]
fn the_learners_act_alike() {
    let config = DdpgConfig::default();
    let networks = Networks::random(&config, 8, 5, &mut Pcg64::seed_from_u64(66));
    let (mut ours, mut theirs) = ([0.0; 5], [0.0; 5]);
    NativeLearner::new(&config, networks.clone()).act(&[0.3; 8], &mut ours).unwrap();
    TchLearner::new(&config, &networks).unwrap().act(&[0.3; 8], &mut theirs).unwrap();
    assert!(ours.iter().zip(theirs).all(|(ours, theirs)| (ours - theirs).abs() < 1e-6 && *ours != 0.0));
}

#[test]
fn an_agent_on_tch_learns_and_gives_its_policy() {
    let config = DdpgConfig { warm_up_steps: 64, ..DdpgConfig::default() };
    let mut agent = Agent::new(config, 2, 1, LearnerKind::Tch, 67).unwrap();
    let before = agent.policy().unwrap();
    for _ in 0..80 {
        let action = agent.explore(&[0.1, 0.2]).unwrap();
        let (state, next_state) = (vec![0.1, 0.2], vec![0.2, 0.3]);
        agent.observe(&Transition { state, reward: action[0], action, next_state, terminal: false }).unwrap();
    }
    assert_eq!(agent.statistics().updates, 17);
    assert_ne!(agent.policy().unwrap(), before);
}

#[test]
fn debug_seed_63() {
    let config = DdpgConfig { policy_delay: 2, ..DdpgConfig::default() };
    for seed in 61..121 {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let start = Networks::random(&config, 8, 5, rng);
    let mut native = NativeLearner::new(&config, start.clone());
    let mut tch = TchLearner::new(&config, &start).unwrap();
    let mut before = 0.0f32;
    for u in 1..=UPDATES {
        let batch = batch(&config, rng);
        let was = native.networks().unwrap();
        native.update(&batch).unwrap(); tch.update(&batch).unwrap();
        let (a, b) = (native.networks().unwrap(), tch.networks().unwrap());
        let d = largest_difference(&a, &b);
        if d > 10.0 * before && d > 3e-6 {
            for (name, x, y, w) in [("actor", &a.actor, &b.actor, &was.actor), ("critic", &a.critics[0], &b.critics[0], &was.critics[0])] {
                for (l, (p, q)) in x.layers().iter().zip(y.layers()).enumerate() {
                    for ((at, p), q) in p.weight.indexed_iter().zip(q.weight.iter()) {
                        let _ = (at, p, q);
                    }
                    for (at, p) in p.weight.indexed_iter() { let q = q.weight[at]; if (p - q).abs() > 0.5 * d {
                        // how many members of the batch activate this unit, and the smallest |sum|
                        let input = if name == "actor" { batch.states.clone() } else { ndarray::concatenate![ndarray::Axis(1), batch.states, batch.actions] };
                        let mut sig = input;
                        for k in 0..=l { let mut s = sig.dot(&w.layers()[k].weight.t()) + &w.layers()[k].bias; if k == l { let col = s.column(at.0); let pos = col.iter().filter(|v| **v > 0.0).count(); let min = col.iter().fold(9.0f32, |m, v| m.min(v.abs())); println!("seed {seed} update {u} {name} layer {l} {at:?} {p} {q} d {d:e} before {before:e}; unit active for {pos} of 64, nearest to zero {min:e}"); } s.mapv_inplace(|v| v.max(0.0)); sig = s; }
                    } }
                    
                }
            }
        }
        before = before.max(d);
    }
    println!("seed {seed} final {before:e}");
    }
}
