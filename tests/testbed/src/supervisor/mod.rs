//! A whole topology as real processes in cgroups, until told to stop; nothing is left behind.
//!
//! Must not know what the services do, nor who watches them.

pub mod cells;
pub mod child;
pub mod estate;
pub mod extras;
pub mod programs;
pub mod stores;

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use ballast_api::{ContainerName, NodeName};
use clap::Args;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{stop, topology};
use cells::Cells;
use estate::Estate;

/// What `ballast-testbed up` is told.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// A shipped topology's name, or a topology file
    #[arg(long, default_value = "hotel-reservation")]
    pub topology: String,
    /// The cgroup to make; each container becomes one inside it
    #[arg(long, value_name = "NAME")]
    pub cgroup_parent: ContainerName,
    /// Collector of spans, OTLP over HTTP; without it none are sent
    #[arg(long)]
    pub otlp: Option<Url>,
    /// Name of this machine, for the spans
    #[arg(long, default_value = "localhost")]
    pub node: NodeName,
    /// Start this cAdvisor too, outside of the cgroups
    #[arg(long, value_name = "PROGRAM")]
    pub cadvisor: Option<PathBuf>,
    /// Start a Redis too, outside of the cgroups, without persistence
    #[arg(long)]
    pub with_redis: bool,
    /// Seed of the amounts of work that services draw
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder to make for logs and Redis, removed at the end [default: ballast-testbed-NAME in the
    /// folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Stop when standard input ends
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// What `ballast-testbed sweep` is told.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The cgroup that `up` was given
    #[arg(long, value_name = "NAME")]
    pub cgroup_parent: ContainerName,
    /// The folder that `up` was given, if it was
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
}

/// The line on standard output once everything answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where requests enter: `http://127.0.0.1:PORT`, as the others.
    pub frontend: String,
    /// Names of the containers: services first, then stores.
    pub containers: Vec<ContainerName>,
    /// Where cAdvisor answers, if it was asked for.
    pub cadvisor: Option<String>,
    /// Where Redis answers, if it was asked for: `redis://127.0.0.1:PORT`.
    pub redis: Option<String>,
    /// The cgroup that holds the containers' cgroups.
    pub cgroup_parent: ContainerName,
}

/// Runs the topology until SIGINT, SIGTERM, the end of standard input, or the death of a container.
///
/// # Errors
/// A [`crate::refusal::Refusal`] before anything was made; others when something could not be started, died, or could not be
/// removed.
pub async fn up(args: &UpArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    if args.until_stdin_closes {
        drop(stop::on_end_of_stdin(stop.clone()));
    }
    let topology = topology::load(&args.topology)?;
    programs::check(args, &topology).await?;
    let cells = Cells::make(&args.cgroup_parent, args.work_dir.as_deref(), &topology)?;
    let mut estate = Estate::new(args, &topology, &cells);
    let outcome = tokio::select! {
        outcome = live(&mut estate) => outcome,
        () = stop.cancelled() => Ok(()),
    };
    estate.kill();
    let killed = cells.remove();
    estate.reap().await;
    outcome.and(killed)
}

async fn live(estate: &mut Estate<'_>) -> anyhow::Result<()> {
    let ready = estate.start().await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::to_string(&ready)?).context("telling where the frontend is")?;
    stdout.flush().context("telling where the frontend is")?;
    estate.watch().await
}

/// Kills and removes what a testbed of that name left behind; what is not there is no error.
///
/// # Errors
/// When the cgroup is not a testbed's, or something cannot be killed or removed.
pub fn sweep(args: &SweepArgs) -> anyhow::Result<()> {
    Cells::left_by_a_testbed(&args.cgroup_parent, args.work_dir.as_deref())?.remove()
}
