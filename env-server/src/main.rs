//! The env-server as a program: reads flags, starts, waits for the end, answers with an exit code.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use ballast_api::with_causes;
use ballast_env_server::{
    Failure,
    cli::{Cli, Command, RestoreFlags, ServeFlags},
    privileges, run, start,
};
use ballast_gate::life;
use clap::Parser;
use tracing::{info, level_filters::LevelFilter};
use tracing_subscriber::EnvFilter;

/// Threads that wait for files: the lender's is one at a time, and the others look at few.
const BLOCKING: usize = 16;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.serve.json_logs);
    let outcome = match &cli.command {
        Some(Command::Restore(flags)) => restore(flags),
        None => serve(&cli.serve),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "ballast-env-server: {}", with_causes(&failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn log_to_stderr(json: bool) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if json {
        log.json().init();
    } else {
        log.with_ansi(io::stderr().is_terminal()).init();
    }
}

fn serve(flags: &ServeFlags) -> Result<(), Failure> {
    let settings = start::settings(flags)?;
    privileges::take_open_files();
    let prepared = start::prepare(&settings)?;
    // Before the runtime: its threads inherit what this one has.
    privileges::give_up(prepared.limits_networks()).map_err(Failure::Privileges)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build();
    runtime.map_err(Failure::Serving)?.block_on(async {
        let shutdown = life::until_told(flags.until_stdin_closes).map_err(Failure::Serving)?;
        let started = start::start(&settings, prepared)?;
        let address = started.listener.local_addr().map_err(Failure::Serving)?;
        let url = life::url(address, &settings.access);
        say(&serde_json::json!({ "listening": url, "node": settings.node }));
        info!(%address, node = %settings.node, state_dir = %settings.state_dir.display(), "ready");
        run(started.listener, started.node, started.metrics, started.access, shutdown).await?;
        drop((started.state_dir, started.naming));
        info!("every limit is restored");
        Ok(())
    })
}

fn restore(flags: &RestoreFlags) -> Result<(), Failure> {
    let state_dir = start::state_dir(flags)?;
    privileges::give_up(true).map_err(Failure::Privileges)?;
    let (restored, failed) = start::restore(&state_dir)?;
    if flags.json {
        say(&serde_json::json!({ "restored": restored, "failed": failed }));
    } else {
        say(&format_args!("{restored} limits restored, {} not", failed.len()));
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::NotRestored(failed)) }
}

/// A reader that went away is no reason to fail.
fn say(line: &dyn std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
