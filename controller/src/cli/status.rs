//! `ballast status`.

use ballast_api::NodeAgent;

use super::{Exit, Failure, console::print_line};
use crate::{operate::NodeFiles, report};

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
        print_line(report::node(&info, &containers).trim_end());
    }
    Ok(Exit::Done)
}
