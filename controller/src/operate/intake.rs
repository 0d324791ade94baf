//! Spans from the OTLP receiver into the window. Bounded by the receiver's queue and the window's own limits.

use std::sync::{Arc, Mutex, PoisonError};

use ballast_api::{Clock, SystemClock};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::traces::{TraceWindow, receiver};

/// Exports that may wait; beyond, senders are asked to come again.
const QUEUED_EXPORTS: usize = 256;

/// Receives on `listener` and fills `window` until `shutdown`.
pub fn start(listener: TcpListener, window: Arc<Mutex<TraceWindow>>, shutdown: CancellationToken) {
    let (queue, mut exports) = mpsc::channel(QUEUED_EXPORTS);
    tokio::spawn(async move {
        if let Err(error) = receiver::serve(listener, queue, Arc::default(), shutdown).await {
            tracing::error!(%error, "the OTLP receiver stopped");
        }
    });
    // Ends when the receiver has dropped its end of the queue.
    tokio::spawn(async move {
        while let Some(spans) = exports.recv().await {
            // A panic while the lock was held would have ended the process's only thread.
            window.lock().unwrap_or_else(PoisonError::into_inner).insert(spans, SystemClock.now());
        }
    });
}
