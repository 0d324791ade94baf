//! tune
use ballast_models::{ddpg::*, pendulum::*};
use rand::SeedableRng;
use std::time::{Duration, Instant};
#[allow(clippy::all, clippy::disallowed_methods)]
fn run(cfg: &DdpgConfig, seed: u64, steps: u64) -> (f64, f64, f64) {
    let mut agent = Agent::new(cfg.clone(), 3, 1, LearnerKind::Native, seed).unwrap();
    let mut rng = rand_pcg::Pcg64::seed_from_u64(seed ^ (1 << 62));
    let t = Instant::now();
    for _ in 0..steps / 200 {
        let mut p = Pendulum::random(&mut rng);
        agent.begin_episode();
        for _ in 0..200 {
            let state = p.observe().to_vec();
            let action = agent.explore(&state).unwrap();
            let s = p.step(2.0 * action[0]);
            agent
                .observe(&Transition {
                    state,
                    action,
                    reward: s.reward as f32,
                    next_state: s.observation.to_vec(),
                    terminal: false,
                })
                .unwrap();
        }
    }
    let took = t.elapsed().as_secs_f64();
    let policy = agent.policy().unwrap();
    let own = evaluate(&policy, seed).unwrap();
    let mut wide = Vec::new();
    for s in 1000..1050 {
        wide.extend(evaluate(&policy, s).unwrap());
    }
    (own.iter().sum::<f64>() / 20.0, wide.iter().sum::<f64>() / wide.len() as f64, took)
}
#[allow(clippy::all, clippy::disallowed_methods)]
fn main() {
    let base = config();
    let steps: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let seeds: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let gauss = |sigma| NoiseConfig { process: NoiseProcess::Gaussian { sigma }, ..NoiseConfig::default() };
    let ou = |sigma| NoiseConfig {
        process: NoiseProcess::OrnsteinUhlenbeck { theta: 0.15, sigma },
        ..NoiseConfig::default()
    };
    let configs = vec![
        ("base", base.clone()),
        ("batch100", DdpgConfig { batch_size: 100, ..base.clone() }),
        ("batch256", DdpgConfig { batch_size: 256, ..base.clone() }),
        ("gamma99", DdpgConfig { discount: 0.99, ..base.clone() }),
        ("gamma95", DdpgConfig { discount: 0.95, ..base.clone() }),
        ("tau01", DdpgConfig { target_rate: 0.01, ..base.clone() }),
        ("critic2e-3", DdpgConfig { critic_learning_rate: 2e-3, ..base.clone() }),
        ("critic3e-3", DdpgConfig { critic_learning_rate: 3e-3, ..base.clone() }),
        ("both2e-3", DdpgConfig { critic_learning_rate: 2e-3, actor_learning_rate: 2e-3, ..base.clone() }),
        ("both3e-3", DdpgConfig { critic_learning_rate: 3e-3, actor_learning_rate: 3e-3, ..base.clone() }),
        ("warm500", DdpgConfig { warm_up_steps: 500, ..base.clone() }),
        ("warm200", DdpgConfig { warm_up_steps: 200, ..base.clone() }),
        ("ou02", DdpgConfig { noise: ou(0.2), ..base.clone() }),
        ("g02", DdpgConfig { noise: gauss(0.2), ..base.clone() }),
        ("g05", DdpgConfig { noise: gauss(0.05), ..base.clone() }),
        ("h128", DdpgConfig { hidden: vec![128, 128], ..base.clone() }),
        ("h256", DdpgConfig { hidden: vec![256, 256], ..base.clone() }),
        ("td3", base.clone().with_td3()),
    ];
    let only = std::env::args().nth(3);
    let jobs: Vec<(usize, u64)> = configs
        .iter()
        .enumerate()
        .filter(|(_, c)| only.as_ref().is_none_or(|o| o.split(',').any(|x| x == c.0)))
        .flat_map(|(i, _)| (1..=seeds).map(move |s| (i, s)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = std::sync::Mutex::new(vec![Vec::new(); configs.len()]);
    let threads = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    let Some(&(i, s)) = jobs.get(n) else { break };
                    let r = run(&configs[i].1, s, steps);
                    println!("{} {s} {r:?}", configs[i].0);
                    results.lock().unwrap()[i].push((s, r));
                }
            });
        }
    });
    for (c, mut r) in configs.iter().zip(results.into_inner().unwrap()) {
        if r.is_empty() {
            continue;
        }
        r.sort_by_key(|x| x.0);
        let n = r.len() as f64;
        let own5: f64 = r.iter().take(5).map(|x| x.1.0).sum::<f64>() / 5f64.min(n);
        let wide: f64 = r.iter().map(|x| x.1.1).sum::<f64>() / n;
        let worst = r.iter().map(|x| x.1.1).fold(0.0, f64::min);
        let took: f64 = r.iter().map(|x| x.1.2).sum::<f64>() / n;
        println!("{:12} own1-5 {own5:7.1} wide {wide:7.1} worst {worst:7.1} took {took:5.1}", c.0);
    }
}
