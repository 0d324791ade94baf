//! `ballast status`.

use std::{path::PathBuf, time::Duration};

use ballast_api::{Clock, NodeError, SystemClock};

use super::{
    Exit, Failure,
    console::{clear_screen, show_line, warn_line},
    run::load_config,
    wait_for_signal,
};
use crate::{
    operate::{self, NodeClient, NodeFiles, NodeView},
    report,
};

/// Asked when nobody is named.
const DEFAULT_NODE: &str = "http://127.0.0.1:7400";

/// Shows nodes: capacity, what can be limited and how, their containers and the limits in force.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ballast status --node http://127.0.0.1:7400
  ballast status --node https://n1:7400 --node https://n2:7400 --ca-file ca.pem --token-file token
  ballast status --config ballast.toml --watch 5

A baseline is shown where a limit is lent, and when a container was sampled
where that is 5 s ago or more: its usage may be another by now.
A node that does not answer within 3 s is told on standard error, and the
others are shown.

Exit codes:
  0    all answered; or --watch was ended
  1    a node answers with an error of its own
  3    an address, a file or a configuration is wrong
  4    a node does not answer, whatever the others do
  7    a node does not let this program in")]
pub(super) struct Arguments {
    /// Base URL of an env-server; may be given several times [default: http://127.0.0.1:7400]
    #[arg(long, value_name = "URL")]
    node: Vec<String>,
    /// Configuration of `ballast run`: its node, with the files that let the controller in; may be given several times
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["node", "token_file", "ca_file", "cert_file", "key_file"]
    )]
    config: Vec<PathBuf>,
    #[command(flatten)]
    files: NodeFiles,
    /// Print JSON for machines: one line each time.
    #[arg(long)]
    json: bool,
    /// Show again every so many seconds (2, when none are given), until Ctrl-C.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = pause)]
    watch: Option<Duration>,
}

/// Runs the command.
///
/// # Errors
/// When an address, a file or a configuration is wrong. Nodes that do not answer are told, and are an exit code.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let nodes = clients(arguments)?;
    let Some(pause) = arguments.watch else {
        let views = operate::view(&nodes).await;
        // Whoever reads may have gone; the code is for somebody else.
        let _ = show(&views, arguments.json);
        return Ok(exit_of(&views));
    };
    tokio::select! {
        () = watch(&nodes, arguments.json, pause) => {}
        () = wait_for_signal() => {}
    }
    Ok(Exit::Done)
}

fn clients(arguments: &Arguments) -> Result<Vec<NodeClient>, Failure> {
    let client =
        |files: &NodeFiles, url: &str| files.client(url).map_err(|error| Failure::new(Exit::BadInput, error));
    if !arguments.config.is_empty() {
        let configs = arguments.config.iter().map(|path| load_config(path));
        return configs.map(|config| config.and_then(|it| client(&it.node_files(), &it.node))).collect();
    }
    match arguments.node.as_slice() {
        [] => Ok(vec![client(&arguments.files, DEFAULT_NODE)?]),
        urls => urls.iter().map(|url| client(&arguments.files, url)).collect(),
    }
}

/// Ends when nobody reads any more.
async fn watch(nodes: &[NodeClient], json: bool, pause: Duration) {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let views = operate::view(nodes).await;
        if !json {
            clear_screen();
        }
        if show(&views, json).is_err() {
            return;
        }
    }
}

fn show(views: &[NodeView], json: bool) -> std::io::Result<()> {
    let shown = if json {
        show_line(serde_json::json!({ "nodes": views }))
    } else {
        match report::nodes(views, SystemClock.now()) {
            nothing if nothing.is_empty() => Ok(()),
            text => show_line(text.trim_end()),
        }
    };
    for view in views {
        match &view.error {
            // These name the node themselves.
            Some(error @ (NodeError::Unreachable { .. } | NodeError::Protocol { .. })) => warn_line(error),
            Some(error) => warn_line(format!("{}: {error}", view.url)),
            None => {}
        }
    }
    shown
}

/// Who does not answer comes first: nothing is known of that node.
fn exit_of(views: &[NodeView]) -> Exit {
    let exits: Vec<Exit> = views.iter().filter_map(|view| view.error.as_ref()).map(Exit::from).collect();
    let weighty = [Exit::NodeUnreachable, Exit::NotAllowed].into_iter().find(|exit| exits.contains(exit));
    weighty.or(exits.first().copied()).unwrap_or(Exit::Done)
}

/// The time between two looks.
fn pause(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "it must be a number of seconds from 0.1 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(error: Option<NodeError>) -> NodeView {
        NodeView { url: "http://n1".to_owned(), node: None, containers: None, error }
    }

    #[test]
    fn the_code_tells_of_the_node_of_which_least_is_known() {
        let detail = String::new;
        let refused = view(Some(NodeError::Unauthenticated { detail: detail() }));
        let failing = view(Some(NodeError::Internal { detail: detail() }));
        let gone = view(Some(NodeError::Unreachable { url: detail(), detail: detail() }));
        let fine = view(None);
        for (views, exit) in [
            (vec![&fine, &fine], Exit::Done),
            (vec![&fine, &failing], Exit::Failed),
            (vec![&failing, &refused, &fine], Exit::NotAllowed),
            (vec![&refused, &gone, &failing], Exit::NodeUnreachable),
        ] {
            let views: Vec<NodeView> = views.into_iter().cloned().collect();
            assert_eq!(exit_of(&views), exit, "{views:?}");
        }
    }

    #[test]
    fn a_pause_is_some_time_and_not_for_ever() {
        assert_eq!(pause("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "-1", "nan", "inf", "1e9", "5s"] {
            assert!(pause(bad).is_err(), "{bad}");
        }
    }
}
