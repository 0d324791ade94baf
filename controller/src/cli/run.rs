//! `ballast run`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Context;
use ballast_api::{NodeAgent, NodeInfo, SystemClock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Exit, Failure, console::print_line, wait_for_signal};
use crate::{
    audit::AuditLog,
    operate::{self, Acting, Controller, RunConfig, StepReport},
    policies::LearnedPolicy,
    store::RedisStore,
    traces::{TraceWindow, WindowConfig},
    train::Checkpoints,
};

/// Controls a node until it is stopped (Ctrl-C or SIGTERM), then gives every limit back. Limits are lent for seconds
/// and renewed each second: should this program die, the env-server puts them back by itself.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ballast run --config ballast.toml
  ballast run --config ballast.toml --dry-run      decide and explain, change nothing")]
pub(super) struct Arguments {
    /// The configuration (deploy/ballast.toml explains every key).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Decide and explain, but change nothing, whatever the configuration says.
    #[arg(long)]
    dry_run: bool,
    /// Print each step's report as one JSON line on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is wrong, or the node, the store or the port cannot be had.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = load_config(&arguments.config)?;
    let (policy, localizer) = Checkpoints::in_folder(&config.policy)
        .load()
        .map_err(|error| Failure::new(Exit::BadInput, format!("{error:#}")))?;
    let node: Arc<dyn NodeAgent> = Arc::new(config.node_files().client(&config.node).map_err(bad_input)?);
    let info = node.node().await?;
    check_capacity(&config, &info)?;
    let name = info.name;
    let shutdown = CancellationToken::new();
    let metrics =
        operate::start_metrics(&config.metrics, Arc::clone(&node), name.clone(), shutdown.clone()).await?;
    let audit = match &config.audit {
        Some(path) => Some(open_audit(path, metrics.redis.clone())?),
        None => None,
    };
    let traces = Arc::new(Mutex::new(TraceWindow::new(WindowConfig::default())));
    operate::start_intake(listen(config.otlp_listen).await?, Arc::clone(&traces), shutdown.clone());

    let policy = Box::new(LearnedPolicy::new(policy));
    let settings = config.settings(name).map_err(bad_input)?;
    let controller = Controller::new(settings, node, localizer, policy).await?;
    let acting = if arguments.dry_run || config.dry_run { Acting::Observe } else { Acting::Act };
    let tell = |report: &StepReport| tell(report, audit.as_ref(), arguments.json);
    let stop = shutdown.clone();
    let control = operate::control(controller, traces, metrics.store, acting, &SystemClock, shutdown, tell);
    let (released, ()) = tokio::join!(control, async move {
        wait_for_signal().await;
        stop.cancel();
    });
    if let Some(writer) = metrics.redis_writer {
        writer.await.context("writing the last decisions to Redis")?;
    }
    released?;
    Ok(Exit::Done)
}

pub(super) fn load_config(path: &Path) -> Result<RunConfig, Failure> {
    let text = fs::read_to_string(path).map_err(|error| bad_input(format!("{}: {error}", path.display())))?;
    text.parse::<RunConfig>().map_err(|error| bad_input(format!("{}: {error}", path.display())))
}

fn bad_input(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::BadInput, error)
}

/// A floor above what the node has would make every plan impossible.
fn check_capacity(config: &RunConfig, info: &NodeInfo) -> Result<(), Failure> {
    let floor = config.guards.min_cores;
    match info.capacity.cpu {
        Some(capacity) if floor > capacity.get() => Err(bad_input(format!(
            "guards.min_cores is {floor}, but node {} has {capacity}: no limit could satisfy both",
            info.name
        ))),
        _ => Ok(()),
    }
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(
            Exit::PortInUse,
            format!("{address} is in use by another program; set otlp_listen to a free port"),
        ),
        io::ErrorKind::PermissionDenied => Failure::new(
            Exit::NotAllowed,
            format!(
                "{address} may not be listened on: set otlp_listen to a port from 1024 on, or run as root"
            ),
        ),
        _ => Failure::new(Exit::Failed, format!("listening on {address}: {error}")),
    })
}

/// The audit log at `path`, its lines also in Redis where there is one.
pub(super) fn open_audit(path: &Path, redis: Option<RedisStore>) -> Result<AuditLog, Failure> {
    AuditLog::open(path, Arc::new(SystemClock), redis).map_err(bad_input)
}

/// Puts a decision into the audit log. A log that fails stops no control.
pub(super) fn record(audit: Option<&AuditLog>, report: &StepReport) {
    if let Some(Err(error)) = audit.map(|audit| audit.append("step", report)) {
        tracing::error!(%error, "a decision is missing in the audit log");
    }
}

/// Every decision goes into the audit log; on the terminal only those steps in which something happened.
fn tell(report: &StepReport, audit: Option<&AuditLog>, json: bool) {
    record(audit, report);
    if json {
        match serde_json::to_string(report) {
            Ok(line) => print_line(&line),
            Err(error) => tracing::error!(%error, "a report has no JSON"),
        }
    } else if report.violated || !report.decision.changes.is_empty() {
        print_line(crate::report::step(report));
    }
}
