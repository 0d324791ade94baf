//! `ballast collect`.

use std::sync::Arc;

use anyhow::Context;
use ballast_api::{NodeName, SystemClock};
use tokio_util::sync::CancellationToken;

use super::{Exit, Failure, console::print_line, wait_for_signal};
use crate::{
    collect::{CadvisorSource, Collector, Naming, NodeSource, Source, collector::DEFAULT_INTERVAL},
    operate::{NodeFiles, open_redis},
    store::MetricStore,
};

/// Feeds container metrics into Redis, once a second, until it is stopped: from cAdvisor, or from an env-server's own
/// samples where there is no cAdvisor. Losing Redis or the source stops nothing: it goes on when they are back.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ballast collect --node n1 --cadvisor http://127.0.0.1:8080 --cgroup-parent mysvc --store redis://127.0.0.1:6379
  ballast collect --node n1 --env-server http://127.0.0.1:7400 --store redis://127.0.0.1:6379")]
pub(super) struct Arguments {
    /// The node's name in the store.
    #[arg(long)]
    node: NodeName,
    /// Base URL of cAdvisor.
    #[arg(long, value_name = "URL", requires = "cgroup_parent", required_unless_present = "env_server")]
    cadvisor: Option<String>,
    /// A cgroup whose children are containers; may be given several times.
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Vec<String>,
    /// Base URL of an env-server, instead of cAdvisor.
    #[arg(long, value_name = "URL", conflicts_with = "cadvisor")]
    env_server: Option<String>,
    #[command(flatten)]
    files: NodeFiles,
    /// Where the metrics go.
    #[arg(long, value_name = "redis://HOST:PORT")]
    store: String,
}

/// Runs the command.
///
/// # Errors
/// When an address is wrong or Redis does not answer at the start.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let shutdown = CancellationToken::new();
    let source = source(arguments)?;
    let (redis, writer) = open_redis(&arguments.store, shutdown.clone()).await?.ok_or_else(|| {
        Failure::new(Exit::BadInput, "the memory store ends with this program: name a Redis with --store")
    })?;
    let stores: Vec<Arc<dyn MetricStore>> = vec![Arc::new(redis.clone())];
    let collector = Collector::new(vec![source], stores, DEFAULT_INTERVAL);
    tokio::join!(collector.run(shutdown.clone()), async {
        wait_for_signal().await;
        shutdown.cancel();
    });
    // The last samples are written, or counted as lost.
    writer.await.context("writing the last samples")?;
    print_line(serde_json::json!(redis.counts()));
    Ok(Exit::Done)
}

fn source(arguments: &Arguments) -> Result<Box<dyn Source>, Failure> {
    let node = arguments.node.clone();
    if let Some(url) = &arguments.env_server {
        let client = arguments.files.client(url).map_err(|error| Failure::new(Exit::BadInput, error))?;
        return Ok(Box::new(NodeSource::new(Arc::new(client), node)));
    }
    let url = arguments.cadvisor.as_deref().unwrap_or_default();
    let naming = Naming::children_of(&arguments.cgroup_parent);
    let source = CadvisorSource::new(url, node, naming, Arc::new(SystemClock));
    Ok(Box::new(source.map_err(|error| Failure::new(Exit::BadInput, error))?))
}
