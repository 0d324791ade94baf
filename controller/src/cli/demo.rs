//! `ballast demo`.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use ballast_api::NodeAgent;
use ballast_models::ddpg::{LearnerKind, Policy};
use ballast_sim::Topology;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Exit, Failure,
    console::{print_line, warn_line},
    run::{open_audit, record},
    train::{progress_bar, write_json},
    wait_for_signal,
};
use crate::{
    audit::AuditLog,
    demo::{
        self, CpuTicks, Mode, NotPossible, Outcome, Phases, Played, Programs, RealStage, Script, Setting,
        SimulatedStage, Stage,
    },
    environment::{EpisodeConfig, MIN_CPU_SHARE},
    localize::Localizer,
    operate::{Controller, Settings, objectives_of},
    policies::LearnedPolicy,
    report,
    slo::Detector,
    train::{self, Checkpoints, LocalizerTraining, PolicyTraining},
};

/// Trains a policy and a localizer in the simulator for about a minute, puts real microservices under load, contends
/// the CPU of one drawn by the seed, lets the controller find and mitigate it, and does the same without the
/// controller. Cleans up whatever happens. Where real cgroups cannot be had it runs on the simulator, and says so.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ballast demo --seed 3
  ballast demo --simulated --json outcome.json
  ballast demo --sweep          remove what a demo that was killed left behind")]
pub(super) struct Arguments {
    /// Draws the contended service, the training and the load.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the outcome as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Append every decision of the controller, with its evidence and reasons, to this file, one JSON line each.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Play on the simulator even where real processes could be had.
    #[arg(long)]
    simulated: bool,
    /// The cAdvisor program to collect with; without it, the env-server's own samples serve.
    #[arg(long, value_name = "FILE")]
    cadvisor: Option<PathBuf>,
    /// Use the models in this folder (`ballast train --env simulated --out FOLDER`) instead of training some.
    #[arg(long, value_name = "FOLDER")]
    models: Option<PathBuf>,
    /// Only remove what demos that were killed left behind.
    #[arg(long, conflicts_with_all = ["audit", "json", "simulated", "cadvisor", "models"])]
    sweep: bool,
    /// Wait for the end of standard input, then remove what is left of the demo in this folder.
    #[arg(long, hide = true, value_name = "FOLDER")]
    janitor: Option<PathBuf>,
    /// What every companion understands; the janitor does nothing else anyway.
    #[arg(long, hide = true, requires = "janitor")]
    until_stdin_closes: bool,
}

/// Where demos keep what they run on: gone after a reboot.
const BASE: &str = "/run/ballast";
const TOPOLOGY: &str = "hotel-reservation";
/// About a third of one core on the testbed: two cores have room for it, the contention, what watches them, and for what
/// a shared machine loses to others.
const REQUESTS_PER_SECOND: f64 = 20.0;
const PROC_STAT: &str = "/proc/stat";
/// The share of stolen CPU time from which on latencies of a few milliseconds are seen to suffer.
const WORTH_TELLING: f64 = 0.02;
/// In percent of the victim's CPU limit: what is left is less than the victim needs, but not nothing.
const CONTENTION_PERCENT: f64 = 90.0;
/// The load ends by itself after this, whatever happens to this program.
const LONGEST: Duration = Duration::from_secs(600);

/// Runs the command.
///
/// # Errors
/// When something that should work does not; what was started is cleaned up first.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let programs = Programs::beside_this_one()?;
    if let Some(folder) = &arguments.janitor {
        demo::janitor(folder, &programs).await?;
        return Ok(Exit::Done);
    }
    match demo::sweep(Path::new(BASE), &programs).await {
        Ok(swept) => swept.iter().for_each(|folder| {
            warn_line(format_args!("removed what a demo that was killed had left: {}", folder.display()));
        }),
        Err(error) if arguments.sweep => return Err(error.into()),
        // It may be another user's, and hinders no new demo.
        Err(error) => warn_line(format_args!("what an earlier demo left stays: {error:#}")),
    }
    if arguments.sweep { Ok(Exit::Done) } else { show(arguments, programs).await }
}

async fn show(arguments: &Arguments, programs: Programs) -> Result<Exit, Failure> {
    let topology = Topology::shipped(TOPOLOGY).context("the demo's topology")?;
    let audit = arguments.audit.as_deref().map(|path| open_audit(path, None)).transpose()?;
    // One for all: a signal between two of them would be lost.
    let mut interrupted = std::pin::pin!(wait_for_signal());
    let Some(models) = models(arguments, &topology, interrupted.as_mut()).await? else {
        return Ok(Exit::Interrupted);
    };
    let script = script(&topology, arguments.seed);
    let raised = tokio::select! {
        raised = raise(arguments, &topology, programs) => raised?,
        () = &mut interrupted => {
            // What was started sees the end of its input and leaves; the janitor removes the rest.
            return demo::wait_until_gone(Path::new(BASE)).await.map(|()| Exit::Interrupted).map_err(Failure::from);
        }
    };
    let mut stage = raised;
    let mode = stage.mode();
    let ticks_before = CpuTicks::read(Path::new(PROC_STAT));
    let played = tokio::select! {
        played = perform(stage.as_mut(), &script, models, audit.as_ref()) => Some(played),
        () = &mut interrupted => None,
    };
    let ticks = CpuTicks::read(Path::new(PROC_STAT)).zip(ticks_before);
    let leftovers = stage.strike().await?;
    if !leftovers.is_empty() && !matches!(played, Some(Ok(_))) {
        warn_line(format_args!("while cleaning up: {}", leftovers.join(", ")));
    }
    let Some(played) = played else {
        return Ok(if leftovers.is_empty() { Exit::Interrupted } else { Exit::Failed });
    };
    let played = played?;

    let worst_request = played.worst_request(&script);
    let [without, with] = played.runs(&script, &worst_request);
    let outcome = Outcome {
        mode,
        seed: arguments.seed,
        injected: script.target.clone(),
        named: with.named.first().map(|(name, _)| name.clone()),
        violated_without: without.share_over,
        violated_with: with.share_over,
        seconds_to_recovery: with.seconds_to_recovery,
        p99_ms: Phases {
            before: with.seen.before.p99_ms,
            during: with.seen.during.p99_ms,
            after: with.seen.after.p99_ms,
        },
        violated: without.violated && with.violated,
        recovered: with.seconds_to_recovery.is_some(),
        recovered_without_controller: without.seconds_to_recovery.is_some(),
        leftovers,
    };
    print_line(report::demo(&outcome, &worst_request, [&without, &with]).trim_end());
    let stolen = ticks.map_or(0.0, |(after, before)| after.stolen_since(before));
    if mode == Mode::Real && stolen > WORTH_TELLING {
        let percent = stolen * 100.0;
        print_line(format_args!(
            "  The host of this machine gave {percent:.0} % of its CPU time to others meanwhile: latencies suffer from it."
        ));
    }
    write_json(arguments.json.as_deref(), &outcome)?;
    Ok(if outcome.shortcomings().is_empty() { Exit::Done } else { Exit::Failed })
}

/// The models of the folder given, or new ones, trained on a thread of their own; `None` when interrupted.
async fn models(
    arguments: &Arguments,
    topology: &Topology,
    interrupted: impl Future<Output = ()>,
) -> Result<Option<(Policy, Localizer)>, Failure> {
    if let Some(folder) = &arguments.models {
        let loaded = Checkpoints::in_folder(folder).load();
        return loaded.map(Some).map_err(|error| Failure::new(Exit::BadInput, format!("{error:#}")));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, topology, seed) = (Arc::clone(&stop), topology.clone(), arguments.seed);
    let mut training = tokio::task::spawn_blocking(move || train_both(&topology, seed, &stopped));
    tokio::select! {
        trained = &mut training => Ok(Some(trained.context("training")??)),
        () = interrupted => {
            stop.store(true, Ordering::Relaxed);
            // It ends at its next step, with an error that says so: not one of ours.
            drop(training.await);
            Ok(None)
        }
    }
}

fn train_both(topology: &Topology, seed: u64, stop: &AtomicBool) -> Result<(Policy, Localizer)> {
    let unless_stopped = || if stop.load(Ordering::Relaxed) { bail!("interrupted") } else { Ok(()) };
    let localizer_training = LocalizerTraining::new(topology.clone(), seed);
    let bar = progress_bar(localizer_training.episodes(), "training the localizer");
    let localizer = train::train_localizer(&localizer_training, |done| {
        bar.set_position(done);
        unless_stopped()
    })?;
    bar.finish_and_clear();

    let episodes = EpisodeConfig::new(topology.clone());
    let training = PolicyTraining::new(episodes, LearnerKind::Native, seed, train::DEFAULT_STEPS);
    let bar = progress_bar(training.steps, "training the policy");
    let policy = train::train_policy(&training, |done| {
        bar.set_position(done);
        unless_stopped()
    })?;
    bar.finish_and_clear();
    print_line(format_args!(
        "Trained in the simulator: a policy ({} steps, mean reward {:.2} of 1) and a localizer ({}).",
        training.steps, policy.score, localizer.scores
    ));
    Ok((policy.policy, localizer.localizer))
}

/// The 99th percentile of half a minute, at seven requests a second of the type that suffers most, is decided by two
/// stragglers: one stall of a quarter of a second, of whatever else runs on the machine. Over this time it takes five.
const CONTENTION_WITH: Duration = Duration::from_secs(75);

fn script(topology: &Topology, seed: u64) -> Script {
    let candidates = topology.busy_services(MIN_CPU_SHARE);
    let drawn = StdRng::seed_from_u64(seed).random_range(0..candidates.len());
    Script {
        target: candidates[drawn].clone(),
        percent_of_limit: CONTENTION_PERCENT,
        requests_per_second: REQUESTS_PER_SECOND,
        objectives: objectives_of(topology),
        warm_up: Duration::from_secs(8),
        before: Duration::from_secs(8),
        contention_without: Duration::from_secs(18),
        contention_with: CONTENTION_WITH,
    }
}

/// The real stage where this machine can, else the simulated one, saying why.
async fn raise(arguments: &Arguments, topology: &Topology, programs: Programs) -> Result<Box<dyn Stage>> {
    let simulated = || -> Result<Box<dyn Stage>> {
        Ok(Box::new(SimulatedStage::raise(topology, REQUESTS_PER_SECOND, arguments.seed)?))
    };
    if arguments.simulated {
        return simulated();
    }
    let setting = Setting {
        programs,
        base: PathBuf::from(BASE),
        topology: TOPOLOGY.to_owned(),
        requests_per_second: REQUESTS_PER_SECOND,
        longest: LONGEST,
        cadvisor: arguments.cadvisor.clone(),
        seed: arguments.seed,
    };
    print_line("Starting the application, its cgroups, the env-server and the load ...");
    match RealStage::raise(setting).await {
        Ok(stage) => Ok(Box::new(stage)),
        Err(error) => match error.downcast_ref::<NotPossible>() {
            Some(reason) => {
                print_line(format_args!(
                    "Real processes cannot be had here ({reason}): the simulator takes their place."
                ));
                simulated()
            }
            None => Err(error),
        },
    }
}

async fn perform(
    stage: &mut dyn Stage,
    script: &Script,
    (policy, localizer): (Policy, Localizer),
    audit: Option<&AuditLog>,
) -> Result<Played> {
    let node: Arc<dyn NodeAgent> = stage.node();
    let settings = Settings {
        node: node.node().await?.name,
        detector: Detector::new(script.objectives.clone())
            .map_err(|_| anyhow!("the topology's objectives are refused"))?,
        lease: Duration::from_secs(10),
        guards: crate::plan::GuardConfig::default(),
    };
    let policy = Box::new(LearnedPolicy::new(policy));
    let mut controller = Controller::new(settings, node, localizer, policy).await?;
    let bar = progress_bar(script.steps(), "");
    let played = demo::play(stage, &mut controller, script, &mut |phase, report| {
        record(audit, report);
        bar.set_prefix(phase);
        bar.inc(u64::from(phase != demo::WAITING));
    })
    .await;
    bar.finish_and_clear();
    let released = controller.release().await;
    let played = played?;
    released.context("giving limits back")?;
    Ok(played)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is contended by the demos of these seeds.
    fn targets(seeds: std::ops::RangeInclusive<u64>) -> Vec<String> {
        let topology = Topology::shipped(TOPOLOGY).unwrap();
        seeds.map(|seed| script(&topology, seed).target.to_string()).collect()
    }

    #[test]
    fn the_seed_draws_the_target() {
        assert_eq!(targets(1..=3), targets(1..=3));
        let mut drawn = targets(1..=60);
        drawn.sort();
        drawn.dedup();
        assert_eq!(drawn.len(), 7, "every busy service is drawn by some seed: {drawn:?}");
    }
}
