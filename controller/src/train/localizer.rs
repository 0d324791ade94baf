//! The localizer, learned from incidents that the simulator makes: a healthy while, then contention in one container.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ballast_api::{ContainerName, Cores};
use ballast_models::{
    checkpoint::Score,
    svm::{SvmCard, SvmConfig},
};
use ballast_sim::{Injection, SimConfig, Simulation, Topology};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::{
    environment::MIN_CPU_SHARE,
    localize::{
        ContainerFeatures, ContainerMetrics, FEATURE_NAMES, HealthyProfile, Localizer, PathTimes, features,
        training::{self, Incident},
    },
    operate::{limit_cores, node_metrics},
    traces::{TraceWindow, WindowConfig},
};

/// How to train.
#[derive(Debug, Clone)]
pub struct LocalizerTraining {
    /// The application.
    pub topology: Topology,
    /// All that is random follows from it.
    pub seed: u64,
    /// Episodes to learn from.
    pub learning_episodes: u64,
    /// Episodes to score on, which are not learned from.
    pub held_out_episodes: u64,
}

impl LocalizerTraining {
    /// Enough episodes that every busy service is contended some thirty times.
    #[must_use]
    pub fn new(topology: Topology, seed: u64) -> Self {
        Self { topology, seed, learning_episodes: 240, held_out_episodes: 60 }
    }

    /// All episodes, for a progress bar.
    #[must_use]
    pub fn episodes(&self) -> u64 {
        self.learning_episodes + self.held_out_episodes
    }
}

/// A trained localizer and how well it does on episodes that it has not seen.
#[derive(Debug)]
pub struct TrainedLocalizer {
    /// The localizer.
    pub localizer: Localizer,
    /// Its scores.
    pub scores: LocalizerScores,
    training: LocalizerTraining,
}

/// [`training::LocalizerScores`], for people and machines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LocalizerScores(pub training::LocalizerScores);

impl fmt::Display for LocalizerScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: Option<f64>| {
            share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
        };
        write!(
            f,
            "names the culprit first in {} of unseen incidents, among three in {}",
            percent(self.0.top_1),
            percent(self.0.top_3)
        )
    }
}

const STEP: Duration = Duration::from_secs(1);
/// Healthy seconds at the begin of an episode; what is healthy is learned from all but the first few.
const HEALTHY_STEPS: u64 = 10;
const SKIPPED_STEPS: u64 = 4;
/// Contended seconds; before the first few are over, the window is still half healthy.
const CONTENDED_STEPS: u64 = 8;
const HALF_HEALTHY_STEPS: u64 = 2;
/// Requests per second.
const RATES: std::ops::RangeInclusive<f64> = 15.0..=40.0;
/// Contention as a share of the victim's limit: from one that hardly hurts.
const INTENSITIES: std::ops::RangeInclusive<f64> = 0.7..=2.0;
const THREADS: std::ops::RangeInclusive<usize> = 2..=8;
/// Held-out episodes are drawn from another stream.
const HELD_OUT_STREAM: u64 = 0x6865_6c64;

/// Trains, telling `progress` the number of episodes done after each; it may end the training with an error.
///
/// # Errors
/// When the topology cannot be simulated; what `progress` answers.
pub fn train_localizer(
    training: &LocalizerTraining,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<TrainedLocalizer> {
    let mut done = 0;
    let mut play = |stream: u64, episodes: u64| -> Result<Vec<Incident>> {
        let mut random = Pcg64Mcg::seed_from_u64(training.seed ^ stream);
        let mut incidents = Vec::new();
        for _ in 0..episodes {
            incidents.extend(episode(&training.topology, &mut random)?);
            done += 1;
            progress(done)?;
        }
        Ok(incidents)
    };
    let learned_from = play(0, training.learning_episodes)?;
    let held_out = play(HELD_OUT_STREAM, training.held_out_episodes)?;
    let config = SvmConfig { seed: training.seed, ..SvmConfig::default() };
    let localizer = training::train(&learned_from, config)?;
    let scores = LocalizerScores(training::score(&localizer, &held_out));
    Ok(TrainedLocalizer { localizer, scores, training: training.clone() })
}

/// The incidents of one episode: a healthy moment, and several under contention.
fn episode(topology: &Topology, random: &mut Pcg64Mcg) -> Result<Vec<Incident>> {
    let targets = topology.busy_services(MIN_CPU_SHARE);
    let target = &targets[random.random_range(0..targets.len())];
    let mut scene = Scene::new(topology, random)?;
    let mut incidents = Vec::new();
    for step in 0..HEALTHY_STEPS {
        let seen = scene.pass();
        if step >= SKIPPED_STEPS {
            scene.healthy.learn(&seen.requests, &seen.metrics);
        }
        if step + 1 == HEALTHY_STEPS {
            incidents.push(Incident { features: scene.features(&seen), culprits: Vec::new() });
        }
    }
    scene.contend(target, random)?;
    for step in 0..CONTENDED_STEPS {
        let seen = scene.pass();
        if step >= HALF_HEALTHY_STEPS {
            incidents.push(Incident {
                features: scene.features(&seen),
                culprits: vec![Arc::from(target.as_str())],
            });
        }
    }
    Ok(incidents)
}

/// A cluster and what is remembered of it.
struct Scene {
    simulation: Simulation,
    window: TraceWindow,
    healthy: HealthyProfile,
}

/// What can be seen at one moment.
struct Seen {
    requests: Vec<PathTimes>,
    metrics: BTreeMap<Arc<str>, ContainerMetrics>,
}

impl Scene {
    fn new(topology: &Topology, random: &mut Pcg64Mcg) -> Result<Self> {
        let config = SimConfig {
            seed: random.next_u64(),
            requests_per_second: random.random_range(RATES),
            ..SimConfig::default()
        };
        Ok(Self {
            simulation: Simulation::new(topology, config)?,
            window: TraceWindow::new(WindowConfig::default()),
            healthy: HealthyProfile::default(),
        })
    }

    fn pass(&mut self) -> Seen {
        let spans = self.simulation.advance(STEP);
        let now = self.simulation.now();
        self.window.insert(spans, now);
        let capacity = self.simulation.node_info().capacity.cpu.unwrap_or(Cores::ZERO);
        let states = self.simulation.container_states();
        Seen {
            requests: self.window.traces(now).iter().map(|trace| PathTimes::of(trace)).collect(),
            metrics: states
                .iter()
                .map(|state| (Arc::from(state.name.as_str()), node_metrics(state, capacity)))
                .collect(),
        }
    }

    fn features(&self, seen: &Seen) -> BTreeMap<Arc<str>, ContainerFeatures> {
        features(&seen.requests, &seen.metrics, &self.healthy)
    }

    fn contend(&mut self, target: &ContainerName, random: &mut Pcg64Mcg) -> Result<()> {
        let states = self.simulation.container_states();
        let state = states.iter().find(|state| state.name == *target).context("the target is simulated")?;
        let capacity = self.simulation.node_info().capacity.cpu.unwrap_or(Cores::ZERO);
        let limit = limit_cores(state, capacity);
        let cores = (random.random_range(INTENSITIES) * limit).min(capacity.get());
        let threads = random.random_range(THREADS);
        let duration = STEP * u32::try_from(CONTENDED_STEPS).unwrap_or(u32::MAX);
        self.simulation.inject(target, Injection { cores, threads, duration })?;
        Ok(())
    }
}

impl TrainedLocalizer {
    /// What the localizer is and how it was made.
    #[must_use]
    pub fn card(&self, created: String) -> SvmCard {
        let scores = [
            ("held-out accuracy", self.scores.0.accuracy),
            ("held-out AUC", self.scores.0.roc_auc),
            ("held-out top-1", self.scores.0.top_1),
            ("held-out top-3", self.scores.0.top_3),
        ];
        let score = |(name, value): (&str, Option<f64>)| Some(Score { name: name.to_owned(), value: value? });
        SvmCard {
            description: "Tells the container that makes requests late from the others.".to_owned(),
            input_names: FEATURE_NAMES.map(str::to_owned).to_vec(),
            trained_on: format!(
                "{} simulated episodes of {}, seed {}",
                self.training.learning_episodes, self.training.topology.name, self.training.seed
            ),
            created,
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            scores: scores.into_iter().filter_map(score).collect(),
        }
    }
}
