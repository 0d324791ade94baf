//! Connections, within bounds: how many there are, how many of one peer, and how long a peer may take to ask.
//!
//! Tells each request who its [`Peer`] is; must not know what is asked.

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header::CONNECTION},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;
use tracing::{debug, warn};

use crate::{
    access::{Access, Peer, Role, network, tls},
    metrics::{Cut, Metrics},
};
use peers::{Peers, Place};

mod peers;

/// How long a peer may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a peer may take for the head of a request; also, how long a connection is kept between two.
const HEAD: Duration = Duration::from_secs(5);

/// How long a peer may leave an answer unread before the connection is cut.
const UNREAD: Duration = Duration::from_secs(20);

/// Connections at a time. More wait until one ends.
const CONNECTIONS: usize = 256;

/// How long a connection goes on being used: then the next answer is its last. What a certificate gave its owner holds no
/// longer, and nobody holds a place for good.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Header lines in one request.
const HEADERS: usize = 64;

/// Bytes of the head of one request, with all its headers.
const HEAD_BYTES: usize = 16 << 10;

/// Rest after the system could not give another connection: its cause, such as too many open files, does not pass at
/// once.
const REST: Duration = Duration::from_millis(200);

/// Serves `router` on `listener`, secured as `access` says, until `stop`, then lets the requests at work finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    access: Arc<Access>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let (room, tasks) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    let peers = Arc::new(Peers::new(metrics.connections.clone()));
    let front = Front { router, access, metrics, stop };
    loop {
        let accepted = tokio::select! {
            () = front.stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, ip, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(REST).await;
                continue;
            }
        };
        let place = match place(&peers, &front.access, ip, room.available_permits()) {
            Ok(place) => place,
            Err(reason) => {
                debug!(%ip, ?reason, "too many connections of one peer: this one is cut");
                front.metrics.cut(reason);
                continue;
            }
        };
        let connection = front.clone().connection(stream, ip);
        tasks.spawn(async move {
            connection.await;
            drop((permit, place));
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Before anything is done for the peer, and before TLS.
fn place(peers: &Arc<Peers>, access: &Access, ip: IpAddr, free: usize) -> Result<Place, Cut> {
    if !access.connects(ip) {
        return Err(Cut::Pace);
    }
    peers.enter(network(ip), free).ok_or(Cut::Peer)
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip().to_canonical(), permit))
}

/// What every connection needs.
#[derive(Clone)]
struct Front {
    router: Router,
    access: Arc<Access>,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Front {
    async fn connection(self, stream: TcpStream, ip: IpAddr) {
        // Without them a call waits for more to send, or a peer that reads nothing holds its place for good.
        let _ = stream.set_nodelay(true);
        let unread = u32::try_from(UNREAD.as_millis()).unwrap_or(u32::MAX);
        let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::TcpUserTimeout, &unread);
        let clients = self.access.clients();
        let Some(tls) = self.access.tls() else {
            return self.requests(stream, Peer { ip, role: None }, clients).await;
        };
        match timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => {
                let role = role_of(&stream);
                return self.requests(stream, Peer { ip, role }, clients).await;
            }
            Ok(Err(error)) => debug!(%error, %ip, "no agreement on TLS"),
            Err(_) => debug!(%ip, "no agreement on TLS in time"),
        }
        self.metrics.cut(Cut::Handshake);
    }

    /// Ends early when `clients` changes: who vouched for this peer may do so no more.
    async fn requests(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: Peer,
        mut clients: watch::Receiver<Vec<CertificateDer<'static>>>,
    ) {
        let (router, vouched, old) = (self.router, clients.clone(), Instant::now() + MAX_AGE);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let role = peer.role.filter(|_| !vouched.has_changed().unwrap_or(true));
            request.extensions_mut().insert(Peer { role, ..peer });
            // A router is always ready.
            let answer = router.clone().call(request.map(axum::body::Body::new) as Request);
            async move {
                let mut answer = answer.await?;
                // With an answer, so that no request meets the end of its connection.
                if Instant::now() >= old {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            Ok(()) = clients.changed() => {
                self.metrics.cut(Cut::Revoked);
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, ip = %peer.ip, "a connection ended early");
            if error.is_parse() {
                self.metrics.cut(Cut::Malformed);
            }
        }
    }
}

/// What the peer's own certificate, the first one that it sent, gives it.
fn role_of(stream: &TlsStream<TcpStream>) -> Option<Role> {
    stream.get_ref().1.peer_certificates()?.first().and_then(tls::role_of)
}

#[cfg(test)]
mod tests;
