//! `ballast train`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use ballast_api::{Clock, SystemClock};
use ballast_models::{
    ddpg::{AgentError, LearnerError, LearnerKind},
    pendulum,
};
use ballast_sim::Topology;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Exit, Failure, console::print_line};
use crate::{
    environment::{EpisodeConfig, MIN_CPU_SHARE},
    train::{self, Checkpoints, LocalizerTraining, PolicyTraining},
};

/// Trains a policy: in the simulator, for `ballast run`; or on Pendulum-v1, whose answer is known.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ballast train --env pendulum --learner native --seed 1 --json pendulum-1.json
  ballast train --env simulated --topology hotel-reservation --out policy")]
pub(super) struct Arguments {
    /// What to learn.
    #[arg(long = "env", value_enum)]
    environment: EnvironmentName,
    /// native (ndarray, always there) or tch (libtorch, in builds with the feature tch).
    #[arg(long, default_value = "native", value_parser = |text: &str| text.parse::<LearnerKind>())]
    learner: LearnerKind,
    /// All that is random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of the environment [default: 10000 for pendulum, 40000 for simulated].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    steps: Option<u64>,
    /// For simulated: the application, by the name of a shipped topology or as a file.
    #[arg(long, default_value = "hotel-reservation", value_name = "NAME|FILE")]
    topology: String,
    /// For simulated: the folder to write the policy and the localizer to.
    #[arg(long, value_name = "FOLDER", required_if_eq("environment", "simulated"))]
    out: Option<PathBuf>,
    /// Write the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EnvironmentName {
    /// Pendulum-v1, stepped as Gymnasium's: a learner that works reaches -160 in 10,000 steps.
    Pendulum,
    /// Episodes of the cluster simulator, under contention.
    Simulated,
}

/// Runs the command.
///
/// # Errors
/// When a name is wrong, the learner is not in this build, or a file cannot be written.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match arguments.environment {
        EnvironmentName::Pendulum => train_pendulum(arguments),
        EnvironmentName::Simulated => train_simulated(arguments),
    }
}

fn train_pendulum(arguments: &Arguments) -> Result<Exit, Failure> {
    let steps = arguments.steps.unwrap_or(10_000);
    let bar = progress_bar(steps, "return of the last episode");
    let clock = || Duration::from_nanos(SystemClock.now().0);
    let report = pendulum::train(arguments.learner, arguments.seed, steps, &clock, &mut |progress| {
        bar.set_position(progress.steps);
        bar.set_message(format!("{:.0}", progress.episode_return));
    })
    .map_err(learner_failure)?;
    bar.finish_and_clear();
    print_line(format_args!(
        "pendulum, {} learner, seed {}: mean return {:.1} over {} episodes after {steps} steps; \
         {} updates in {:.1} s, {:.0} updates/s",
        report.learner,
        report.seed,
        report.mean_return,
        report.returns.len(),
        report.updates,
        report.training_seconds,
        report.updates_per_second,
    ));
    write_json(arguments.json.as_deref(), &report)?;
    Ok(Exit::Done)
}

/// A learner that is not in this build is told apart from one that fails.
fn learner_failure(error: AgentError) -> Failure {
    let exit = match &error {
        AgentError::Learner(LearnerError::NotBuilt) => Exit::Missing,
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}

/// The figures of a training in the simulator.
#[derive(Debug, Serialize)]
struct SimulatedReport<'a> {
    policy: &'a train::TrainedPolicy,
    localizer: &'a train::LocalizerScores,
    seconds: f64,
}

fn train_simulated(arguments: &Arguments) -> Result<Exit, Failure> {
    if !arguments.learner.is_built() {
        return Err(learner_failure(AgentError::Learner(LearnerError::NotBuilt)));
    }
    let topology = load_topology(&arguments.topology)?;
    if topology.busy_services(MIN_CPU_SHARE).is_empty() {
        let percent = MIN_CPU_SHARE * 100.0;
        let detail = format!(
            "{}: no service does {percent} % of the work or more, so there is none whose CPU would be worth contending",
            topology.name
        );
        return Err(Failure::new(Exit::BadInput, detail));
    }
    let out = arguments.out.as_deref().context("--out is required")?;
    let steps = arguments.steps.unwrap_or(train::DEFAULT_STEPS);
    let episodes = EpisodeConfig::new(topology.clone());
    let began = SystemClock.now();

    let localizer_training = LocalizerTraining::new(topology, arguments.seed);
    let bar = progress_bar(localizer_training.episodes(), "localizer");
    let localizer = train::train_localizer(&localizer_training, |done| {
        bar.set_position(done);
        Ok(())
    })?;
    bar.finish_and_clear();

    let training = PolicyTraining::new(episodes, arguments.learner, arguments.seed, steps);
    let bar = progress_bar(steps, "policy");
    let policy = train::train_policy(&training, |done| {
        bar.set_position(done);
        Ok(())
    })?;
    bar.finish_and_clear();

    Checkpoints::in_folder(out).save(&policy, &training, &localizer, SystemClock.now())?;
    let seconds = SystemClock.now().since(began).as_secs_f64();
    print_line(format_args!(
        "policy: mean reward {:.3} per step after {steps} steps; localizer: {}\nwritten to {} in {seconds:.0} s",
        policy.score,
        localizer.scores,
        out.display(),
    ));
    write_json(
        arguments.json.as_deref(),
        &SimulatedReport { policy: &policy, localizer: &localizer.scores, seconds },
    )?;
    Ok(Exit::Done)
}

/// A shipped topology, or one in a file.
pub(super) fn load_topology(name_or_file: &str) -> Result<Topology, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::new(Exit::BadInput, error);
    let path = Path::new(name_or_file);
    if path.extension().is_some() || path.components().count() > 1 {
        let text =
            fs::read_to_string(path).map_err(|error| bad(&format!("reading {}: {error}", path.display())))?;
        return text.parse().map_err(|error| bad(&format!("{}: {error}", path.display())));
    }
    Topology::shipped(name_or_file).map_err(|error| bad(&error))
}

pub(super) fn progress_bar(length: u64, what: &'static str) -> ProgressBar {
    // The template is a constant that indicatif accepts; were it refused, its own style would do.
    let style = ProgressStyle::with_template("{prefix:>28} [{bar:40}] {pos}/{len} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_prefix(what)
}

pub(super) fn write_json<T: Serialize>(path: Option<&Path>, document: &T) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(document).context("making JSON")?;
    fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}
