//! A changed workload: HTTP requests in an open loop, at a rate that follows a shape, with what became of them.
//!
//! Must not know what the requests are good for.
//!
//! One process and one thread that sends ([`engine`]); beside it threads that wait for a signal, for the end of standard
//! input or for a guard, or draw. Nothing is left however it ends: there is nothing but sockets.
//!
//! Times in the report, all of answered requests:
//!
//! | name | from | to |
//! | --- | --- | --- |
//! | latency | the moment at which the request was due | the end of the answer |
//! | service time | its first byte being sent | the end of the answer |
//! | send error | the moment at which it was due | its first byte being sent |
//!
//! A request that finds all connections busy waits in a queue, and its latency counts on. When the load ends, no more is
//! sent; what was sent already may be answered within the time-out.

pub mod cli;
pub mod engine;
pub mod error;
pub mod report;
pub mod response;
pub mod schedule;
pub mod shape;
pub mod stop;
pub mod tally;
pub mod target;
pub mod trace_file;

mod connection;
mod console;
mod pool;
mod ticker;

use ballast_api::Clock;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    InjectorError,
    error::ExitStatus,
    load::{
        cli::LoadArgs, console::Console, error::LoadError, report::Report, schedule::Schedule, stop::Stop,
        target::Target,
    },
    report::{Ending, Log},
};

/// What it is called, on the command line and in reports.
pub const KIND: &str = "load";

/// The highest rate accepted, in requests per second: far more than one thread can send.
pub const MOST_RATE: f64 = 1_000_000.0;

/// Open files that the program needs beside its connections.
const OWN_FILES: u64 = 32;

/// Makes one load from begin to end, and tells of it.
///
/// # Errors
/// Before anything is sent: when it cannot be made as asked.
pub fn run(arguments: &LoadArgs, clock: &dyn Clock) -> anyhow::Result<ExitStatus> {
    Ok(load(arguments, clock)?)
}

fn load(arguments: &LoadArgs, clock: &dyn Clock) -> Result<ExitStatus, InjectorError> {
    let plan = arguments.plan()?;
    let target = Target::find(&plan.asked)?;
    allow_files(plan.limits.connections)?;
    let stop = Stop::on_signals()?;
    arguments.guards.check()?;
    let log = arguments.log.as_deref().map(Log::open).transpose()?;
    if arguments.until_stdin_closes {
        stop.on_stdin_end();
    }
    stop.on_guards(&arguments.guards);
    raise_priority();
    let seconds = plan.limits.duration.as_secs_f64();
    let schedule = Schedule::new(&plan.shape, plan.gaps, seconds, plan.seed);
    let workload = report::Workload::new(arguments.label.clone(), &plan, &target, clock.now());
    let mut console = Console::new(arguments.json, arguments.live, log, plan.limits.duration);
    console.started(&workload);
    let outcome = engine::run(&target, &plan.limits, schedule, &stop, &mut console)
        .map_err(|source| LoadError::System { operation: "wait for answers", source })?;
    let ending = outcome.ending;
    console.ended(&Report::new(workload, &outcome, stop.guard().filter(|_| ending == Ending::Guarded)));
    Ok(ending.into())
}

/// A request is sent when it is due although others want the processor. Without the right to it, the report's send errors
/// tell what came of it.
fn raise_priority() {
    const HIGHEST: i32 = -20;
    let _ = rustix::process::setpriority_process(None, HIGHEST);
}

/// Raises the soft limit of open files as far as needed.
fn allow_files(connections: u32) -> Result<(), LoadError> {
    let failed = |operation| move |errno: nix::Error| LoadError::System { operation, source: errno.into() };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed("read the limit of open files"))?;
    let needed = u64::from(connections) + OWN_FILES;
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        return Err(LoadError::TooManyConnections {
            connections: connections as usize,
            needed,
            allowed: hard,
        });
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(failed("raise the limit of open files"))
}
