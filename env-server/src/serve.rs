//! From "listening" to "everything is given back": the life of an env-server.
//!
//! The caller owns the listener and says when to end; must not know about flags or signals.

use std::sync::Arc;

use ballast_gate::{Access, life::Serving};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{failure::Failure, http::router, metrics::Metrics, node::LinuxNode};

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
    let router = router(Arc::new(node.clone()), metrics, Arc::clone(&access));
    let mut serving = Serving::begin(listener, router, access, gate, stop.clone());
    let ended = serving.until(&shutdown).await;
    stop.cancel();
    // First of all: a client that does not let go of its connection must not keep limits lent.
    let not_restored = node.close().await;
    serving.end().await;
    // It ends at its next look at the token.
    let _ = keeping.await;
    if !not_restored.is_empty() {
        return Err(Failure::NotRestored(not_restored));
    }
    ended.map_err(|error| Failure::Serving(error.into()))
}
