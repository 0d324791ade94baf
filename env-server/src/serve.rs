//! From "listening" to "everything is given back": the life of an env-server.
//!
//! The caller owns the listener and says when to end; must not know about flags or signals.

use std::{sync::Arc, time::Duration};

use ballast_gate::{Access, connections};
use tokio::{net::TcpListener, task::JoinError, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{failure::Failure, http::router, metrics::Metrics, node::LinuxNode};

/// How long open connections may take to finish once everything is restored.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves `node` on `listener` to those whom `access` lets in, until `shutdown`, then restores every baseline.
///
/// # Errors
/// [`Failure::NotRestored`] when some baselines are not in force again, [`Failure::Serving`] when HTTP ended by itself.
pub async fn run(
    listener: TcpListener,
    node: LinuxNode,
    metrics: Arc<Metrics>,
    access: Arc<Access>,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    // However this ends, the other parts are to end too.
    let stop = shutdown.child_token();
    let keeping = tokio::spawn({
        let (node, stop) = (node.clone(), stop.clone());
        async move { node.keep(stop).await }
    });
    let gate = metrics.gate.clone();
    let watching = tokio::spawn(Arc::clone(&access).keep(gate.clone(), stop.clone()));
    let router = router(Arc::new(node.clone()), metrics, Arc::clone(&access));
    let mut serving = tokio::spawn(connections::serve(listener, router, access, gate, stop.clone()));
    let ended: Option<Result<(), JoinError>> = tokio::select! {
        () = shutdown.cancelled() => None,
        ended = &mut serving => Some(ended),
    };
    stop.cancel();
    // First of all: a client that does not let go of its connection must not keep limits lent.
    let not_restored = node.close().await;
    if ended.is_none() && timeout(DRAIN, &mut serving).await.is_err() {
        warn!(after_seconds = DRAIN.as_secs(), "connections still open are cut");
        serving.abort();
    }
    // They end at their next look at the token.
    let _ = tokio::join!(keeping, watching);
    match ended {
        _ if !not_restored.is_empty() => Err(Failure::NotRestored(not_restored)),
        Some(Err(error)) => Err(Failure::Serving(error.into())),
        None | Some(Ok(())) => Ok(()),
    }
}
