//! The command line: what can be asked, with examples.
//!
//! Must not know how it is done.

mod examples;
mod injection;

use std::path::PathBuf;

use ballast_api::ContainerName;
use clap::{Args, Parser, Subcommand};

use crate::{
    campaign::cli::CampaignArgs,
    kinds::{
        cpu::Cpu,
        disk::Disk,
        llc::Llc,
        memory::Memory,
        memory_bandwidth::MemoryBandwidth,
        network::{bandwidth::NetBandwidth, delay::NetDelay, loss::NetLoss},
        pause::Pause,
    },
    load::{self, cli::LoadArgs},
    place::Within,
    service::ServeArgs,
};

pub use injection::{Common, Injection};

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
  10 a guard stopped it in the midst
In every case but 8 no process and no file of the injection is left.";

const EXAMPLES: &str = "\
Examples:
  ballast-injector cpu --target ballast-demo/geo --intensity 80% --duration 20s
  ballast-injector cpu --beside docker/3f2a9c --intensity 0.4 --duration 5m --json
  ballast-injector disk --target docker/3f2a9c --intensity 80% --duration 20s
  ballast-injector membw --node --intensity 4GB/s --duration 20s
  ballast-injector llc --beside docker/3f2a9c --intensity 50% --duration 20s
  ballast-injector memory --target docker/3f2a9c --intensity 30% --duration 1m
  ballast-injector net-delay --target docker/3f2a9c --intensity 20ms --duration 30s
  ballast-injector pause --target docker/3f2a9c --duration 2s
  ballast-injector load http://127.0.0.1:8080/ --rate 200 --duration 20s
  ballast-injector campaign --random --kinds cpu=20%..90%,pause --targets docker/3f2a9c --duration 10m --dry-run
  ballast-injector serve --enable --targets ballast-demo
  ballast-injector restore
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
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::CPU))]
    Cpu(Injection<Cpu>),
    /// Read and write a disk past the page cache, at an exact rate of bytes or requests
    ///
    /// Inside a target, the requests count against the target's own limits of that disk; beside it and on the node, the
    /// disk itself is fought over. They go to a file without a name, written before the load begins: nothing stays of it.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::DISK))]
    Disk(Injection<Disk>),
    /// Move bytes between memory and processors at a rate, so that others find the memory bus busy
    ///
    /// Each byte of a buffer far larger than the caches is read and written back: both count. Takes CPU time, too: inside
    /// of a target, its CPU limit may leave less than was asked.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::MEMBW))]
    Membw(Injection<MemoryBandwidth>),
    /// Keep a part of the last-level cache in use, so that others' data are driven out of it
    ///
    /// Sweeps over a working set again and again, and changes a word of each line. Takes the CPU time of its threads.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::LLC))]
    Llc(Injection<Llc>),
    /// Hold memory, so that others have less of it
    ///
    /// The memory is filled before the time counts, and really there: what is achieved is what the kernel counts. Never
    /// takes the node below a floor of available memory: gives back what is missing of it.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::MEMORY))]
    Memory(Injection<Memory>),
    /// Stop all processes of a container for a while, as if its machine hung
    ///
    /// The kernel's freezer stops them: they cannot notice. Whatever happens to this program, they go on afterwards.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::PAUSE))]
    Pause(Injection<Pause, Within>),
    /// Hold a container's network to less bandwidth, or compete for it
    ///
    /// By the same limit that Ballast lends (HTB at the host's end of the container's veth). The limits in force before are
    /// in force again afterwards; one that was changed meanwhile is left as it is. With --traffic no limit is set: frames of an
    /// experimental type go over the veth, beside the container's own, to a socket that swallows them.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::NET_BANDWIDTH))]
    NetBandwidth(Injection<NetBandwidth, Within>),
    /// Make every packet of a container late
    ///
    /// By the kernel's netem where it has it. Elsewhere every packet takes a detour through this program, which costs CPU
    /// time and sets a bound to the rate; the report says which it was.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::NET_DELAY))]
    NetDelay(Injection<NetDelay, Within>),
    /// Lose a share of the packets of a container
    ///
    /// By the same means as net-delay. A segmented send (TCP's, up to 64 KiB) is one packet to netem, and many to the
    /// detour.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::NET_LOSS))]
    NetLoss(Injection<NetLoss, Within>),
    /// Many injections, planned in a file or drawn by chance
    ///
    /// Each is an injection of its own, with its own clean-up: what ends the campaign ends all of them. Every one is checked
    /// before the first begins; at most 64 may be there at a time. The progress line shows what each achieves at the moment.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::CAMPAIGN))]
    Campaign(CampaignArgs),
    /// Send HTTP requests at a given rate, whether or not they are answered in time: a change of the workload
    ///
    /// An open loop, as many users are one: each request is sent when it is due, and its latency counts from that moment,
    /// also while it waits for a free connection. So a service that stalls shows it in every request of that time. One
    /// thread; 20,000 requests/s and more where the machine has a core to spare.
    #[command(after_help = format!("{}\n{EXIT_CODES}", load::cli::EXAMPLES))]
    Load(Box<LoadArgs>),
    /// Run campaigns that somebody elsewhere asks for over HTTP, within what is allowed here
    ///
    /// Refused unless it is enabled. Everybody is asked who they are, as by the env-server; only the cgroups named here may be
    /// injected on; a campaign ends when its owner does not renew it, and all of them end with this.
    #[command(after_help = format!("{}\n{EXIT_CODES}", examples::SERVE), args_override_self = true)]
    Serve(Box<ServeArgs>),
    /// Remove what injections left behind, where every one of their processes was killed
    ///
    /// Running injections are left alone. The next injection does the same when it starts.
    #[command(after_help = EXIT_CODES)]
    Restore(RestoreArgs),
    /// Print the manual page, of the whole or of a subcommand
    ///
    /// To read it: `ballast-injector man cpu | man -l -`.
    Man {
        /// A subcommand
        subcommand: Option<String>,
    },
    /// Print what makes a shell complete this program's options
    ///
    /// For bash: `ballast-injector completions bash > /usr/share/bash-completion/completions/ballast-injector`.
    Completions {
        /// Whose
        shell: clap_complete::Shell,
    },
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

impl Command {
    /// Whether it is one injection.
    #[must_use]
    pub fn is_injection(&self) -> bool {
        match self {
            Self::Cpu(_)
            | Self::Disk(_)
            | Self::Llc(_)
            | Self::Load(_)
            | Self::Membw(_)
            | Self::Memory(_)
            | Self::NetBandwidth(_)
            | Self::NetDelay(_)
            | Self::NetLoss(_)
            | Self::Pause(_) => true,
            Self::Campaign(_)
            | Self::Restore(_)
            | Self::Serve(_)
            | Self::Man { .. }
            | Self::Completions { .. }
            | Self::Worker
            | Self::Janitor { .. } => false,
        }
    }
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

/// Of every injection: as [`Common::live`] says.
pub(crate) const LIVE: &str = "--live";

pub(crate) const DEFAULT_STATE_DIR: &str = "/run/ballast/injector";

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
    fn what_is_done_to_a_container_itself_is_nowhere_else() {
        let parse = |kind: &str, place: &[&str]| {
            let line = [&["ballast-injector", kind, "--duration", "2s"], place].concat();
            let intensity = (kind != "pause").then_some("--intensity=10%");
            Cli::try_parse_from(line.into_iter().chain(intensity).filter(|word| !word.is_empty()))
        };
        for kind in ["pause", "net-bandwidth", "net-loss"] {
            assert!(parse(kind, &["--target", "shop/geo"]).is_ok(), "{kind}");
            assert!(
                parse(kind, &["--beside", "shop/geo"]).is_err() && parse(kind, &["--node"]).is_err(),
                "{kind}"
            );
        }
        assert!(parse("cpu", &["--beside", "shop/geo"]).is_ok() && parse("cpu", &["--node"]).is_ok());
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
            S::Guarded,
        ];
        for status in all {
            assert!(EXIT_CODES.contains(&format!("\n  {:<2} ", status.code())), "{status:?}");
        }
    }
}
