//! `ballast status`.

use ballast_api::{Capability, ContainerState, Limit, NodeAgent, NodeInfo};

use super::{Exit, Failure, console::print_line};
use crate::operate::NodeFiles;

/// Shows a node: its capacity, what it can control, its containers and the limits in force.
#[derive(clap::Args)]
#[command(after_help = "Example:
  ballast status --node http://127.0.0.1:7400
  ballast status --node https://n1:7400 --ca-file ca.pem --token-file token")]
pub(super) struct Arguments {
    /// Base URL of the env-server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7400")]
    node: String,
    #[command(flatten)]
    files: NodeFiles,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the node does not answer.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let node =
        arguments.files.client(&arguments.node).map_err(|error| Failure::new(Exit::BadInput, error))?;
    let info = node.node().await?;
    let containers = node.containers().await?;
    if arguments.json {
        print_line(serde_json::json!({ "node": info, "containers": containers }));
    } else {
        print_node(&info);
        print_containers(&containers);
    }
    Ok(Exit::Done)
}

fn print_node(info: &NodeInfo) {
    let capacity = info.capacity.cpu.map_or_else(|| "unknown".to_owned(), |cores| format!("{cores:.1}"));
    print_line(format_args!(
        "node {}, env-server {}, CPU capacity {capacity}",
        info.name, info.software_version
    ));
    for (resource, capability) in info.capabilities.iter() {
        match capability {
            Capability::Available { mechanism } => print_line(format_args!("  {resource:<17} {mechanism}")),
            Capability::Unavailable { reason } => {
                print_line(format_args!("  {resource:<17} not available: {reason}"));
            }
        }
    }
}

fn print_containers(containers: &[ContainerState]) {
    print_line(format_args!(
        "\n{:<28} {:>9} {:>9} {:>9} {:>10} {:>8}",
        "container", "usage", "limit", "baseline", "throttled", "lease"
    ));
    for state in containers {
        let usage = state.usage.and_then(|usage| usage.cpu);
        let usage = usage.map_or_else(|| "-".to_owned(), |cores| format!("{:.3}", cores.get()));
        let throttled = state.throttling.map_or_else(
            || "-".to_owned(),
            |throttling| format!("{:.0} %", throttling.throttled_share * 100.0),
        );
        let lease =
            state.lease_remaining_seconds.map_or_else(|| "-".to_owned(), |left| format!("{left:.0} s"));
        let (limit, baseline) = (limit_text(state.limits.cpu), limit_text(state.baseline.cpu));
        print_line(format_args!(
            "{:<28} {usage:>9} {limit:>9} {baseline:>9} {throttled:>10} {lease:>8}",
            state.name
        ));
    }
    print_line("(CPU usage, limit and baseline in cores)");
}

fn limit_text(limit: Option<Limit<ballast_api::Cores>>) -> String {
    match limit {
        None => "-".to_owned(),
        Some(Limit::Max) => "max".to_owned(),
        Some(Limit::At(cores)) => format!("{:.3}", cores.get()),
    }
}
