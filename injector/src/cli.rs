//! The command line: what can be asked, with examples.
//!
//! Must not know how it is done.

use std::{path::PathBuf, time::Duration};

use ballast_api::ContainerName;
use ballast_kernel::CgroupPath;
use clap::{Args, Parser, Subcommand};

use crate::{
    intensity::Intensity,
    load::{self, cli::LoadArgs},
    process::supervisor::{MOST_THREADS, Request},
};

/// The longest injection accepted: what runs longer is not an injection but a tenant.
const LONGEST: Duration = Duration::from_secs(3600);

/// The shortest injection accepted: one CFS period, below which no dose can be told.
const SHORTEST: Duration = Duration::from_millis(100);

const EXIT_CODES: &str = "\
Exit codes:
  0  done (also: standard input was closed, with --until-stdin-closes)
  1  failed for a reason that no other code names
  2  bad usage: unknown option, value out of range
  3  there is no such target
  4  not permitted: not root, cgroups not writable, or no usable cgroups at all
  5  the target's processes ended, or the target was removed, in the midst
  6  the worker was killed from outside, in the midst
  7  interrupted by SIGINT, SIGTERM or SIGHUP
  8  something could not be removed: run `ballast-injector restore`
In every case but 8 no process and no file of the injection is left.";

const EXAMPLES: &str = "\
Examples:
  ballast-injector cpu --target ballast-demo/geo --intensity 80% --duration 20s
  ballast-injector cpu --target docker/3f2a9c --intensity 0.4 --duration 5m --json
  ballast-injector load http://127.0.0.1:8080/ --rate 200 --duration 20s
  ballast-injector restore
";

const CPU_EXAMPLES: &str = "\
Examples:
  Take 80 % of what geo may use, for 20 seconds:
    ballast-injector cpu --target ballast-demo/geo --intensity 80% --duration 20s
  Take 0.4 core, tell a program when it began, end with it:
    ballast-injector cpu --target docker/3f2a9c --intensity 0.4 --duration 5m --json --until-stdin-closes
  Keep the ground truth:
    ballast-injector cpu --target ballast-demo/geo --intensity 80% --duration 20s --log truth.jsonl
";

/// Contention on purpose, with an exact dose and certain clean-up.
#[derive(Debug, Parser)]
#[command(version, after_help = format!("{EXAMPLES}\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Use CPU time inside a container's cgroup, so that its own quota is fought over
    ///
    /// The load runs in the target's cgroup at the highest priority: it counts against the target's limit, and takes its
    /// dose before the target's own work as far as the kernel's scheduler lets it. What was achieved is reported beside
    /// what was asked, each second and in total. However it ends (time over, Ctrl-C, even SIGKILL), no process and no
    /// file is left; only where supervisor and janitor are both killed, a journal entry stays until `restore`.
    #[command(after_help = format!("{CPU_EXAMPLES}\n{EXIT_CODES}"))]
    Cpu(CpuArgs),
    /// Send HTTP requests at a given rate, whether or not they are answered in time: a change of the workload
    ///
    /// An open loop, as many users are one: each request is sent when it is due, and its latency counts from that moment,
    /// also while it waits for a free connection. So a service that stalls shows it in every request of that time. One
    /// thread; 20,000 requests/s and more where the machine has a core to spare.
    #[command(after_help = format!("{}\n{EXIT_CODES}", load::cli::EXAMPLES))]
    Load(Box<LoadArgs>),
    /// Remove what injections left behind, where every one of their processes was killed
    ///
    /// Running injections are left alone. The next injection does the same when it starts.
    #[command(after_help = EXIT_CODES)]
    Restore(RestoreArgs),
    /// Makes the load: started by `cpu`
    #[command(hide = true)]
    Worker,
    /// Cleans up after the supervisor: started by `cpu`
    #[command(hide = true)]
    Janitor {
        /// The injection to clean up after.
        id: ContainerName,
        /// Where it is noted down.
        #[arg(long)]
        state_dir: PathBuf,
    },
}

/// Options of `cpu`.
#[derive(Debug, Args)]
pub struct CpuArgs {
    /// The cgroup, as a path below the root of the hierarchy, such as ballast-demo/geo
    #[arg(long, value_name = "CGROUP")]
    target: CgroupPath,
    /// How much: 80% of the target's CPU limit (of the node when it has none), or 0.4 cores
    ///
    /// More than 0 and at most 10000 %, or at most the node's cores. A percentage is turned into cores once, at the
    /// start.
    #[arg(long, value_name = "PERCENT|CORES", allow_hyphen_values = true)]
    intensity: Intensity,
    /// How long, from the first burn to the last: 20s, 1m 30s; 100ms to 1h
    #[arg(long, value_parser = parse_duration)]
    duration: Duration,
    /// How many threads share the dose [default: enough to compete on every processor, at least 4]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS as i64))]
    threads: Option<u16>,
    /// Print one JSON line when the load begins and one when it has ended
    #[arg(long)]
    pub json: bool,
    /// Append what was asked and achieved to this file, as one JSON line
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// End when standard input does: tie the injection to the program that started it
    #[arg(long)]
    until_stdin_closes: bool,
    /// Where running injections are noted down
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// Options of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Where running injections are noted down
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// Print one JSON line: {"removed":[...],"running":[...],"failed":[...]}
    #[arg(long)]
    pub json: bool,
}

const DEFAULT_STATE_DIR: &str = "/run/ballast/injector";

impl CpuArgs {
    /// The injection asked for.
    #[must_use]
    pub fn request(&self) -> Request {
        Request {
            target: self.target.clone(),
            intensity: self.intensity,
            duration: self.duration,
            threads: self.threads.map(usize::from),
            until_stdin_closes: self.until_stdin_closes,
            state_dir: self.state_dir.clone(),
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write 20s or 1m 30s"))?;
    if (SHORTEST..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err("it must be at least 100ms and at most 1h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::ExitStatus;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_bounds() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["0s", "99ms", "1h 1ms", "20", "-1s", "soon"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_exit_code_is_listed_in_the_help() {
        use ExitStatus as S;
        let all = [
            S::Done,
            S::Failed,
            S::Usage,
            S::NoSuchTarget,
            S::NotPermitted,
            S::TargetGone,
            S::WorkerKilled,
            S::Interrupted,
            S::LeftBehind,
        ];
        for status in all {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", status.code())), "{status:?}");
        }
    }
}
