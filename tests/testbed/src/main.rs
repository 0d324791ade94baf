//! `ballast-testbed`: parses the arguments and runs one subcommand. Must not know how any of them works.

use std::{io::Write as _, process::ExitCode};

use ballast_testbed::{load, refusal, service, supervisor};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples (as root; needs the Debian packages memcached and util-linux, redis-server for --with-redis):
  ballast-testbed up --cgroup-parent hotel --otlp http://127.0.0.1:4318
      runs the hotel-reservation topology until Ctrl-C; prints one JSON line once it is ready
  ballast-testbed load --url http://127.0.0.1:PORT --rate 30 --duration 60s
      sends it requests and prints their latencies
  ballast-testbed sweep --cgroup-parent hotel
      removes what a killed `up` left behind

Exit codes:
  0 done   1 began but failed   2 bad usage   3 a program is missing   4 no cgroups   5 in use already";

/// Real microservices to control: a topology file becomes processes in cgroups, under an open-loop load
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole topology: every service and store a process in its own cgroup
    Up(supervisor::UpArgs),
    /// Send requests at a steady rate, whatever becomes of them, and measure from when each was due
    Load(load::LoadArgs),
    /// Kill and remove what an `up` of that name left behind
    Sweep(supervisor::SweepArgs),
    /// Run one service of a topology (`up` starts these)
    Service(service::ServiceArgs),
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Whoever read the messages may have gone.
            let _ = writeln!(std::io::stderr(), "ballast-testbed: {error:#}");
            refusal::exit_code(&error)
        }
    }
}

/// Everything runs on this one thread, computing apart: small programs stay small, and the kernel ties the life of
/// `up`'s children to this thread.
fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = || -> std::io::Result<Runtime> { Builder::new_current_thread().enable_all().build() };
    match command {
        Command::Up(args) => runtime()?.block_on(supervisor::up(&args))?,
        Command::Sweep(args) => supervisor::sweep(&args)?,
        Command::Service(args) => runtime()?.block_on(service::run(args))?,
        Command::Load(args) => {
            let summary = runtime()?.block_on(load::run(&args))?;
            // Not `print!`: it panics when whoever wanted to read has gone.
            let mut stdout = std::io::stdout();
            if args.json {
                writeln!(stdout, "{}", serde_json::to_string(&summary)?)?;
            } else {
                write!(stdout, "{summary}")?;
            }
            if summary.completed == 0 {
                anyhow::bail!("no request was answered with success");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
