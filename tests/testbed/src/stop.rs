//! When to stop: SIGINT, SIGTERM, or the end of standard input. Must not know what is being stopped.

use std::{io, io::BufRead, thread};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

/// Cancelled at the first SIGINT or SIGTERM, from now on.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signals() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signals = signal(kind).context("installing a signal handler")?;
        let token = token.clone();
        tokio::spawn(async move {
            signals.recv().await;
            token.cancel();
        });
    }
    Ok(token)
}

/// Cancels `token` when standard input ends. The first line, if any, comes out of the receiver.
///
/// A thread of its own: a blocking read must not hold one of the runtime's threads, nor delay its end.
pub fn on_end_of_stdin(token: CancellationToken) -> oneshot::Receiver<String> {
    let (first_line, receiver) = oneshot::channel();
    thread::spawn(move || {
        let mut lines = io::stdin().lock().lines();
        if let Some(Ok(line)) = lines.next() {
            // Whoever does not want the line has dropped the receiver.
            let _ = first_line.send(line);
        }
        while let Some(Ok(_)) = lines.next() {}
        token.cancel();
    });
    receiver
}
