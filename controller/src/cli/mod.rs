//! The command line: one thin file for each subcommand. Must not decide anything that a library user would miss.

// A closed pipe must not end a controller: see `console`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod collect;
mod console;
mod demo;
mod exit;
mod inject;
mod run;
mod status;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use console::warn_line;
pub use exit::{Exit, Failure};

use crate::{operate::MetricsError, store::StoreError};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    it ran, but did not reach what it was for (the demo did not recover)
  2    the command line is wrong
  3    a configuration, a name or a value is wrong
  4    a node does not answer (status: one of them at least; what the others say is shown)
  5    the store does not answer
  6    a port is in use
  7    not allowed: an address needs more rights, or a node does not let this program in
  8    a program or a part that is needed is missing
  130  interrupted; everything was put back first";

/// Keeps request latency within its objective on machines that many microservices share.
#[derive(Parser)]
#[command(name = "ballast", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What to log on standard error, as `tracing` filters: error, warn, info, debug, or per module.
    #[arg(long, global = true, default_value = "warn", value_name = "FILTER")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the whole loop on real processes: train, contend, find the culprit, mitigate, clean up.
    Demo(demo::Arguments),
    /// Trains a policy, in the simulator or on a known answer.
    Train(train::Arguments),
    /// Controls a node until it is stopped, then gives every limit back.
    Run(run::Arguments),
    /// Feeds container metrics into a store.
    Collect(collect::Arguments),
    /// Runs a campaign of contention on nodes whose injectors serve, and collects the ground truth.
    Inject(inject::Arguments),
    /// Shows nodes, their capabilities, their containers and the limits in force.
    Status(status::Arguments),
}

/// Parses, runs, and turns every failure into one sentence and an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = start_logging(&arguments.log).and_then(|()| start(arguments.command));
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            warn_line(&failure);
            failure.exit.into()
        }
    }
}

fn start_logging(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::new(Exit::Usage, format!("--log {filter:?}: {error}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

fn start(command: Command) -> Result<Exit, Failure> {
    // One thread: companions that die with the thread that started them (PR_SET_PDEATHSIG) then die with the process,
    // and the controller needs a few milliseconds of CPU a second.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("the runtime does not start: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Demo(arguments) => demo::run(&arguments).await,
            Command::Train(arguments) => train::run(&arguments),
            Command::Run(arguments) => run::run(&arguments).await,
            Command::Collect(arguments) => collect::run(&arguments).await,
            Command::Inject(arguments) => inject::run(&arguments).await,
            Command::Status(arguments) => status::run(&arguments).await,
        }
    })
}

/// Ends with the first SIGINT or SIGTERM.
async fn wait_for_signal() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be noticed: only Ctrl-C stops this program in order");
            return drop(tokio::signal::ctrl_c().await);
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl From<MetricsError> for Failure {
    fn from(error: MetricsError) -> Self {
        match error {
            MetricsError::Store(error) => error.into(),
            MetricsError::Source(error) => Self::new(Exit::BadInput, error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Url { .. } => Exit::BadInput,
            _ => Exit::StoreUnreachable,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
