//! The life of a service: what ends it from outside, where it is found meanwhile, and how its connections end.
//!
//! Must not know what else has to end, nor in which order.

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use axum::Router;
use ballast_api::with_causes;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    access::{Access, AccessSettings},
    connections,
    metrics::Metrics,
};

/// How long open connections may take to finish once everything else has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// Is cancelled when a signal asks for the end of this process; also, where `until_stdin_closes`, when its standard input is
/// closed: whoever started it is gone.
///
/// # Errors
/// When signals cannot be waited for.
pub fn until_told(until_stdin_closes: bool) -> io::Result<CancellationToken> {
    let ends = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let (mut signal, ends) = (signal(kind)?, ends.clone());
        tokio::spawn(async move {
            signal.recv().await;
            ends.cancel();
        });
    }
    if until_stdin_closes {
        end_with_stdin(ends.clone());
    }
    Ok(ends)
}

/// On a thread of its own: a read of standard input cannot be called off, and must not hold the end up.
fn end_with_stdin(ends: CancellationToken) {
    thread::spawn(move || {
        // An error means as much as the end: nobody is there any more.
        if let Err(error) = io::copy(&mut io::stdin(), &mut io::sink()) {
            warn!(error = with_causes(&error), "standard input cannot be read");
        }
        ends.cancel();
    });
}

/// Where a service that listens on `address` is found. Warns where what is sent there can be overheard.
#[must_use]
pub fn url(address: SocketAddr, access: &AccessSettings) -> String {
    let scheme = if access.tls.is_some() { "https" } else { "http" };
    if access.tls.is_none() && !address.ip().is_loopback() {
        warn!("tokens can be overheard on their way here: give --tls-cert-file and --tls-key-file");
    }
    format!("{scheme}://{address}")
}

/// Connections that are served, and the files that say who is let in, which are looked at meanwhile.
#[derive(Debug)]
pub struct Serving {
    connections: JoinHandle<()>,
    watching: JoinHandle<()>,
    stop: CancellationToken,
}

impl Serving {
    /// Serves `router` on `listener`, secured as `access` says, until [`Self::end`] or `stop`.
    #[must_use]
    pub fn begin(
        listener: TcpListener,
        router: Router,
        access: Arc<Access>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        let watching = tokio::spawn(Arc::clone(&access).keep(metrics.clone(), stop.clone()));
        let connections = tokio::spawn(connections::serve(listener, router, access, metrics, stop.clone()));
        Self { connections, watching, stop }
    }

    /// Waits for `ends`, and takes nothing down yet.
    ///
    /// # Errors
    /// When serving ended by itself before that.
    pub async fn until(&mut self, ends: &CancellationToken) -> Result<(), JoinError> {
        tokio::select! {
            () = ends.cancelled() => Ok(()),
            ended = &mut self.connections => ended,
        }
    }

    /// Lets the requests at work finish for a while, and cuts what is still open then.
    pub async fn end(mut self) {
        self.stop.cancel();
        if !self.connections.is_finished() && timeout(DRAIN, &mut self.connections).await.is_err() {
            warn!(after_seconds = DRAIN.as_secs(), "connections still open are cut");
            self.connections.abort();
        }
        // It ends at its next look at the token.
        let _ = self.watching.await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::access::TlsFiles;

    async fn serving() -> (Serving, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, access) = (listener.local_addr().unwrap(), Access::open(&AccessSettings::default()));
        let (router, access) = (Router::new(), Arc::new(access.unwrap()));
        (Serving::begin(listener, router, access, Metrics::default(), CancellationToken::new()), address)
    }

    #[tokio::test]
    async fn it_ends_though_a_connection_does_not() {
        let (mut serving, address) = serving().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
        let ends = CancellationToken::new();
        ends.cancel();
        serving.until(&ends).await.unwrap();
        serving.end().await;
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
        assert!(matches!(stream.read_to_end(&mut Vec::new()).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn an_end_that_nobody_asked_for_is_an_error() {
        let (mut serving, _) = serving().await;
        serving.connections.abort();
        assert!(serving.until(&CancellationToken::new()).await.is_err());
        serving.end().await;
    }

    #[test]
    fn where_it_is_found_says_whether_it_is_secured() {
        let files = TlsFiles { certificate: "c".into(), key: "k".into(), client_ca: None };
        let [open, secured] = [None, Some(files)].map(|tls| {
            url(([127, 0, 0, 1], 7400).into(), &AccessSettings { tls, ..AccessSettings::default() })
        });
        assert_eq!((open.as_str(), secured.as_str()), ("http://127.0.0.1:7400", "https://127.0.0.1:7400"));
    }
}
