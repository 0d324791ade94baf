//! Episodes in the simulator: one container of a loaded application is contended, and its limit is the learner's to
//! set. Must not know the learner.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, Result};
use ballast_api::{ContainerName, ContainerState, Cores, Limit, LimitChange, Limits, Plan};
use ballast_sim::{Injection, SimConfig, Simulation, Topology};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Bounds, Observation, RequestMix, reward, utilisation};
use crate::traces::percentile;

/// What episodes are drawn from.
#[derive(Debug, Clone)]
pub struct EpisodeConfig {
    /// The application.
    pub topology: Topology,
    /// Cores of the node.
    pub node_cores: f64,
    /// Steps of one second in an episode.
    pub steps: usize,
    /// Requests per second: smallest and largest.
    pub requests_per_second: [f64; 2],
    /// Contention as a share of the target's limit: smallest and largest.
    pub intensity: [f64; 2],
    /// How often there is contention at all, in [0, 1].
    pub contended_share: f64,
    /// The share of each objective's target that the learner must keep. Under 1, what it learns keeps the whole target
    /// on machines that are less even than the simulator.
    pub target_share: f64,
}

impl EpisodeConfig {
    /// A node of two cores, 40 seconds an episode, half to somewhat over the testbed's load, four of five contended,
    /// and a third of each target to keep.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            node_cores: 2.0,
            steps: 40,
            requests_per_second: [15.0, 35.0],
            intensity: [0.5, 2.0],
            contended_share: 0.8,
            target_share: 1.0 / 3.0,
        }
    }
}

/// What a step gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The state after it: [`super::STATE_NAMES`].
    pub state: Vec<f32>,
    /// [`reward`] of that state.
    pub reward: f64,
    /// Whether the episode's time is over. The task itself never ends: this is a truncation, never terminal.
    pub truncated: bool,
}

/// Latencies of this long count as current.
const CURRENT: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_secs(3);
/// Threads that burn, as many as the injector starts at least.
pub(crate) const BURNERS: usize = 4;
/// Services that do less of the computing are not worth an episode.
pub(crate) const MIN_CPU_SHARE: f64 = 0.05;
/// Longer than any episode: here nobody dies in the midst of it.
const LEASE_SECONDS: f64 = 3600.0;

/// One learner's world.
#[derive(Debug)]
pub struct SimulatedEnvironment {
    config: EpisodeConfig,
    candidates: Vec<ContainerName>,
    random: Pcg64Mcg,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    simulation: Simulation,
    target: ContainerName,
    bounds: Bounds,
    recent: VecDeque<Recent>,
    steps_left: usize,
    generation: u64,
    workload_change: f64,
}

/// The requests answered in one step: type and latency in seconds.
type Recent = Vec<(std::sync::Arc<str>, f64)>;

impl SimulatedEnvironment {
    /// A world whose episodes follow from `seed`.
    #[must_use]
    pub fn new(config: EpisodeConfig, seed: u64) -> Self {
        let candidates = config.topology.busy_services(MIN_CPU_SHARE);
        Self { config, candidates, random: Pcg64Mcg::seed_from_u64(seed), episode: None }
    }

    /// Begins another episode and answers its first state.
    ///
    /// # Errors
    /// When the topology cannot be simulated.
    pub fn reset(&mut self) -> Result<Vec<f32>> {
        let rate = self.draw(self.config.requests_per_second);
        let intensity = self.draw(self.config.intensity);
        let contended = self.random.random_bool(self.config.contended_share);
        let target = self.candidates[self.random.random_range(0..self.candidates.len())].clone();
        let config = SimConfig {
            seed: self.random.next_u64(),
            node_cores: self.config.node_cores,
            requests_per_second: rate,
            ..SimConfig::default()
        };
        let mut simulation = Simulation::new(&self.config.topology, config)?;
        simulation.advance(WARM_UP);
        let state = state_of(&simulation, &target)?;
        let capacity = Cores::saturating(self.config.node_cores);
        let baseline = state.baseline.cpu.unwrap_or(Limit::Max).or(capacity).get();
        if contended {
            // Four burners cannot use more than four cores; the node has fewer.
            let cores = (intensity * baseline).min(self.config.node_cores);
            let duration = STEP * u32::try_from(self.config.steps + 1).unwrap_or(u32::MAX);
            simulation.inject(&target, Injection { cores, threads: BURNERS, duration })?;
        }
        let episode = self.episode.insert(Episode {
            simulation,
            target,
            bounds: Bounds::around(baseline, capacity.get()),
            recent: VecDeque::new(),
            steps_left: self.config.steps,
            generation: 0,
            workload_change: 1.0,
        });
        episode.pass();
        Ok(episode.observe(&self.config)?.to_vector())
    }

    fn draw(&mut self, [smallest, largest]: [f64; 2]) -> f64 {
        self.random.random_range(smallest..=largest)
    }

    /// Sets the target's CPU limit by `action` (shape (1), in [-1, 1]) and lets a second pass.
    ///
    /// # Errors
    /// Before the first [`SimulatedEnvironment::reset`], or when the node refuses the limit.
    pub fn step(&mut self, action: &[f32]) -> Result<Step> {
        let episode = self.episode.as_mut().context("an episode begins with reset")?;
        let action = action.first().copied().context("an action has one number")?;
        episode.set_limit(episode.bounds.from_action(f64::from(action)))?;
        episode.pass();
        let observation = episode.observe(&self.config)?;
        episode.steps_left = episode.steps_left.saturating_sub(1);
        Ok(Step {
            state: observation.to_vector(),
            reward: reward(observation.slo_maintenance, &observation.utilisation),
            truncated: episode.steps_left == 0,
        })
    }
}

fn state_of(simulation: &Simulation, target: &ContainerName) -> Result<ContainerState> {
    let mut states = simulation.container_states().into_iter();
    states
        .find(|state| state.name == *target)
        .with_context(|| format!("the simulator has no container {target}"))
}

impl Episode {
    fn set_limit(&mut self, cores: f64) -> Result<()> {
        self.generation += 1;
        let limits = Limits::of_cpu(Limit::At(Cores::new(cores)?));
        self.simulation.apply(&Plan {
            generation: self.generation,
            lease_seconds: LEASE_SECONDS,
            dry_run: false,
            changes: vec![LimitChange { container: self.target.clone(), limits }],
        })?;
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "requests of a second")]
    fn pass(&mut self) {
        self.simulation.advance(STEP);
        let answered: Recent = self
            .simulation
            .completions()
            .iter()
            .map(|request| (std::sync::Arc::clone(&request.request_type), request.latency.as_secs_f64()))
            .collect();
        let before = self.recent.back().map_or(0, Vec::len);
        self.workload_change = if before == 0 { 1.0 } else { answered.len() as f64 / before as f64 };
        self.recent.push_back(answered);
        while STEP * u32::try_from(self.recent.len()).unwrap_or(u32::MAX) > CURRENT {
            self.recent.pop_front();
        }
    }

    fn observe(&self, config: &EpisodeConfig) -> Result<Observation> {
        let state = state_of(&self.simulation, &self.target)?;
        let capacity = self.simulation.node_info().capacity;
        let mut mix = RequestMix::default();
        self.recent.iter().flatten().for_each(|(request, _)| mix.count(request));
        Ok(Observation {
            utilisation: utilisation(&state.usage.unwrap_or_default(), &state.limits, &capacity),
            slo_maintenance: self.slo_maintenance(config),
            workload_change: self.workload_change,
            request_composition: mix.as_number(),
        })
    }

    /// Target over current latency of the worst objective, at most 1. A user who waits longer than the target already
    /// counts as well: when everything stands still, nobody is answered.
    fn slo_maintenance(&self, config: &EpisodeConfig) -> f64 {
        let of_request = |request: &ballast_sim::topology::RequestType| {
            let target = config.target_share * request.objective.target_ms / 1e3;
            let answered = self.recent.iter().flatten().filter(|(name, _)| **name == *request.name);
            let mut latencies: Vec<f64> = answered.map(|(_, latency)| *latency).collect();
            let waiting =
                self.simulation.in_flight().filter(|waiting| *waiting.request_type == *request.name);
            latencies.extend(waiting.map(|waiting| waiting.age.as_secs_f64()).filter(|age| *age > target));
            latencies.sort_by(f64::total_cmp);
            let current = percentile(&latencies, request.objective.percentile)?;
            Some((target / current).min(1.0))
        };
        config.topology.requests.iter().filter_map(of_request).fold(1.0, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(intensity: f64, seed: u64) -> SimulatedEnvironment {
        let topology = Topology::shipped("hotel-reservation").unwrap();
        let config = EpisodeConfig {
            steps: 15,
            requests_per_second: [30.0, 30.0],
            intensity: [intensity, intensity],
            contended_share: 1.0,
            ..EpisodeConfig::new(topology)
        };
        SimulatedEnvironment::new(config, seed)
    }

    /// The mean reward of the last ten steps of an episode under a constant action.
    fn constant(action: f32, seed: u64) -> f64 {
        let mut environment = environment(1.2, seed);
        environment.reset().unwrap();
        let rewards: Vec<f64> = (0..15).map(|_| environment.step(&[action]).unwrap().reward).collect();
        rewards[5..].iter().sum::<f64>() / 10.0
    }

    #[test]
    fn under_contention_a_larger_limit_earns_more_than_the_smallest() {
        for seed in 1..=5 {
            let (generous, starved) = (constant(0.3, seed), constant(-1.0, seed));
            assert!(generous > starved + 0.2, "seed {seed}: {generous} against {starved}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_episode() {
        let run = |seed| {
            let mut environment = environment(1.2, seed);
            let mut states = vec![environment.reset().unwrap()];
            states.extend((0..5).map(|_| environment.step(&[0.0]).unwrap().state));
            states
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn an_episode_is_truncated_at_its_last_step() {
        let mut environment = environment(1.0, 1);
        assert!(environment.step(&[0.0]).is_err(), "no episode yet");
        environment.reset().unwrap();
        let ends: Vec<bool> = (0..15).map(|_| environment.step(&[0.0]).unwrap().truncated).collect();
        assert_eq!(ends.iter().filter(|end| **end).count(), 1);
        assert!(ends[14]);
    }
}
