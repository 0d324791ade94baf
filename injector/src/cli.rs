//! The command line: what can be asked, with examples.
//!
//! Must not know how it is done.

use std::{path::PathBuf, time::Duration};

use ballast_api::ContainerName;
use clap::{Args, Parser, Subcommand};

use crate::{
    kinds::{
        Kind,
        cpu::Cpu,
        network::{bandwidth::NetBandwidth, delay::NetDelay, loss::NetLoss},
        pause::Pause,
    },
    place::Place,
    process::supervisor::Request,
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
  9  this machine, or this target, cannot have it: the message says what is missing
In every case but 8 no process and no file of the injection is left.";

const EXAMPLES: &str = "\
Examples:
  ballast-injector cpu --target ballast-demo/geo --intensity 80% --duration 20s
  ballast-injector cpu --beside docker/3f2a9c --intensity 0.4 --duration 5m --json
  ballast-injector pause --target docker/3f2a9c --duration 2s
  ballast-injector net-delay --target docker/3f2a9c --intensity 20ms --duration 30s
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

const PAUSE_EXAMPLES: &str = "\
Examples:
  Stop geo for five seconds:
    ballast-injector pause --target ballast-demo/geo --duration 5s
";

const NET_BANDWIDTH_EXAMPLES: &str = "\
Examples:
  Leave geo 10 Mbit/s each way for half a minute:
    ballast-injector net-bandwidth --target ballast-demo/geo --intensity 10Mbit/s --duration 30s
  Leave it a quarter of the limit in force of what it receives:
    ballast-injector net-bandwidth --target ballast-demo/geo --intensity 25% --direction ingress --duration 30s
";

const NET_DELAY_EXAMPLES: &str = "\
Examples:
  20 ms more each way, so 40 ms more for each request and answer:
    ballast-injector net-delay --target ballast-demo/geo --intensity 20ms --duration 30s
  100 ms, give or take 30, of what geo sends:
    ballast-injector net-delay --target ballast-demo/geo --intensity 100ms --jitter 30ms --direction egress --duration 1m
";

const NET_LOSS_EXAMPLES: &str = "\
Examples:
  Lose one packet in twenty each way:
    ballast-injector net-loss --target ballast-demo/geo --intensity 5% --duration 30s
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
    Cpu(Injection<Cpu>),
    /// Stop all processes of a container for a while, as if its machine hung
    ///
    /// The kernel's freezer stops them: they cannot notice. Whatever happens to this program, they go on afterwards.
    #[command(after_help = format!("{PAUSE_EXAMPLES}\n{EXIT_CODES}"))]
    Pause(Injection<Pause>),
    /// Hold a container's network to less bandwidth
    ///
    /// By the same limit that Ballast lends (HTB at the host's end of the container's veth). The limits in force before are
    /// in force again afterwards; one that was changed meanwhile is left as it is.
    #[command(after_help = format!("{NET_BANDWIDTH_EXAMPLES}\n{EXIT_CODES}"))]
    NetBandwidth(Injection<NetBandwidth>),
    /// Make every packet of a container late
    ///
    /// By the kernel's netem where it has it. Elsewhere every packet takes a detour through this program, which costs CPU
    /// time and sets a bound to the rate; the report says which it was.
    #[command(after_help = format!("{NET_DELAY_EXAMPLES}\n{EXIT_CODES}"))]
    NetDelay(Injection<NetDelay>),
    /// Lose a share of the packets of a container
    ///
    /// By the same means as net-delay. A segmented send (TCP's, up to 64 KiB) is one packet to netem, and many to the
    /// detour.
    #[command(after_help = format!("{NET_LOSS_EXAMPLES}\n{EXIT_CODES}"))]
    NetLoss(Injection<NetLoss>),
    /// Remove what injections left behind, where every one of their processes was killed
    ///
    /// Running injections are left alone. The next injection does the same when it starts.
    #[command(after_help = EXIT_CODES)]
    Restore(RestoreArgs),
    /// Makes the load: started by the kinds
    #[command(hide = true)]
    Worker,
    /// Cleans up after the supervisor: started by the kinds
    #[command(hide = true)]
    Janitor {
        /// The injection to clean up after.
        id: ContainerName,
        /// How many seconds to wait for the supervisor's end.
        #[arg(long)]
        at_most: u64,
        /// Where it is noted down.
        #[arg(long)]
        state_dir: PathBuf,
    },
}

/// Options of every kind.
#[derive(Debug, Args)]
pub struct Common {
    /// Where the injection is.
    #[command(flatten)]
    place: Place,
    /// How long, from the first moment of the load to the last: 20s, 1m 30s; 100ms to 1h
    #[arg(long, value_parser = parse_duration)]
    duration: Duration,
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

/// One injection: what every kind has, and what this one has.
#[derive(Debug, Args)]
pub struct Injection<K: Args> {
    /// What every kind has.
    #[command(flatten)]
    pub common: Common,
    /// What this one has.
    #[command(flatten)]
    pub kind: K,
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

impl Common {
    /// The injection asked for.
    #[must_use]
    pub fn request(&self, kind: Box<dyn Kind>) -> Request {
        Request {
            place: self.place.clone(),
            kind,
            duration: self.duration,
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
            S::Impossible,
        ];
        for status in all {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", status.code())), "{status:?}");
        }
    }
}
