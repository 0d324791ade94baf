//! The command line: flags and what `--help` says.
//!
//! Texts only; checking them is [`crate::settings`]'s, so that every problem is told at once.

use std::path::PathBuf;

use ballast_gate::AccessFlags;
use clap::{Args, Parser, Subcommand};

/// Where the journal is kept unless told otherwise.
pub const DEFAULT_STATE_DIR: &str = "/run/ballast/env-server";

const HELP_END: &str = "\
Examples:
  Control the containers of Docker on this node, by their names:
    ballast-env-server --docker-socket /run/docker.sock
  Control those of Kubernetes, called NAMESPACE.POD.CONTAINER:
    ballast-env-server --kubelet-url http://127.0.0.1:10255
  Try it on a cgroup of your own (cgroup v1; on v2 the folder is /sys/fs/cgroup/shop/geo):
    mkdir -p /sys/fs/cgroup/{cpu,cpuacct}/shop/geo
    ballast-env-server --cgroup-parent shop
  See the containers, and lend one half a core for a minute:
    curl -s http://127.0.0.1:7400/v1/containers
    curl -s http://127.0.0.1:7400/v1/plans -H 'content-type: application/json' -d \\
      '{\"generation\":1,\"lease_seconds\":60,\"changes\":[{\"container\":\"geo\",\"limits\":{\"cpu\":0.5}}]}'
  After a crash, without starting it again:
    ballast-env-server restore

When it is ready it prints one line of JSON: {\"listening\":\"http://127.0.0.1:7400\",\"node\":\"NAME\"}.
SIGTERM and Ctrl-C restore every limit, then end it. RUST_LOG=debug tells more on stderr.

Exit codes:
  0  done, every limit is restored
  1  it ran, but some limits could not be restored (the journal keeps them), or serving failed
  2  wrong flags or configuration
  3  the address cannot be listened on
  4  there are no usable cgroups, or no permission to write them
  5  the state directory cannot be used, or another env-server uses it
  6  the journal is damaged or cannot be read
  7  the rights that are not needed could not be given up";

/// Shows this node's containers, lends them limits, and undoes what it did.
#[derive(Debug, Parser)]
#[command(name = "ballast-env-server", version, after_help = HELP_END, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    /// What to do instead of serving.
    pub command: Option<Command>,
    #[command(flatten)]
    /// How to serve.
    pub serve: ServeFlags,
}

/// What else it can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Restore the limits that an env-server left lent (after kill -9), and end
    Restore(RestoreFlags),
}

/// Flags of serving, as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeFlags {
    /// Name of this node [default: the host name]
    #[arg(long)]
    pub node: Option<String>,
    /// Address and port to serve on; port 0 takes a free one, and one that is not loopback needs tokens or a client CA [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// A cgroup whose children are the containers; may be repeated. Those of Docker and Kubernetes are called by their
    /// folders, unless one of the following is given
    #[arg(long = "cgroup-parent", value_name = "CGROUP")]
    pub cgroup_parents: Vec<String>,
    /// Folder of the journal, for one env-server alone [default: /run/ballast/env-server]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Time between two samples of a container [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub sample_interval: Option<String>,
    /// What this node's memory delivers at most, in bytes per second (e.g. 40e9): processors that limit it in percent need
    /// that for limits in bytes
    #[arg(long, value_name = "BYTES")]
    pub memory_bandwidth_peak: Option<f64>,
    #[command(flatten)]
    /// Who is let in.
    pub access: AccessFlags,
    /// Control Docker's containers by their names, which this socket of its engine tells (/run/docker.sock). They are
    /// found below docker, system.slice and every --cgroup-parent
    #[arg(long, value_name = "SOCKET")]
    pub docker_socket: Option<PathBuf>,
    /// Control the containers of Kubernetes as NAMESPACE.POD.CONTAINER, which this kubelet tells: its read-only port,
    /// on loopback alone (http://127.0.0.1:10255), or, with the two files, the authenticated one (https://NODE:10250).
    /// They are found below kubepods, kubepods.slice and every --cgroup-parent
    #[arg(long, value_name = "URL")]
    pub kubelet_url: Option<String>,
    /// File with a bearer token for an https kubelet, read anew each time; its account may get nodes/proxy
    #[arg(long, value_name = "FILE")]
    pub kubelet_token_file: Option<PathBuf>,
    /// PEM file with the certificates that an https kubelet's is checked against, read anew each time
    #[arg(long, value_name = "FILE")]
    pub kubelet_ca_file: Option<PathBuf>,
    /// TOML file with the same settings (node, listen, cgroup_parents, state_dir, sample_interval, docker_socket,
    /// kubelet_url, ...); flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// End, as on SIGTERM, when standard input is closed: whoever started this is gone
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// Logs on stderr as JSON
    #[arg(long)]
    pub json_logs: bool,
}

/// Flags of `restore`.
#[derive(Debug, Args)]
pub struct RestoreFlags {
    /// Folder of the journal [default: the file's, or /run/ballast/env-server]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The env-server's TOML file, of which only `state_dir` counts here
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say what was done as JSON: {"restored":2,"failed":[]}
    #[arg(long)]
    pub json: bool,
}
