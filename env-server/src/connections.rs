//! Connections, within bounds: how many there are, how many of one peer, and how long a peer may take to ask.
//!
//! Tells each request who its [`Peer`] is; must not know what is asked.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;
use tracing::{debug, warn};

use crate::access::{Access, Peer, Role, network, tls};

/// How long a peer may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a peer may take for the head of a request; also, how long a connection is kept between two.
const HEAD: Duration = Duration::from_secs(5);

/// How long a peer may leave an answer unread before the connection is cut.
const UNREAD: Duration = Duration::from_secs(20);

/// Connections at a time. More wait until one ends.
const CONNECTIONS: usize = 256;

/// Connections of one peer at a time, so that one alone cannot keep the others out. More are cut.
const PER_PEER: usize = 64;

/// Header lines in one request.
const HEADERS: usize = 64;

/// Bytes of the head of one request, with all its headers.
const HEAD_BYTES: usize = 16 << 10;

/// Rest after the system could not give another connection: its cause, such as too many open files, does not pass at
/// once.
const REST: Duration = Duration::from_millis(200);

/// Serves `router` on `listener`, secured as `access` says, until `stop`, then lets the requests at work finish.
pub async fn serve(listener: TcpListener, router: Router, access: Arc<Access>, stop: CancellationToken) {
    let (room, peers, tasks) =
        (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Peers::default()), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
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
        let Some(place) = peers.enter(network(ip)) else {
            debug!(%ip, "too many connections of one peer: this one is cut");
            continue;
        };
        let connection = connection(stream, ip, router.clone(), access.tls(), stop.clone());
        tasks.spawn(async move {
            connection.await;
            drop((permit, place));
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
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

async fn connection(
    stream: TcpStream,
    ip: IpAddr,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
) {
    // Without them a call waits for more to send, or a peer that reads nothing holds its place for good.
    let _ = stream.set_nodelay(true);
    let unread = u32::try_from(UNREAD.as_millis()).unwrap_or(u32::MAX);
    let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::TcpUserTimeout, &unread);
    let Some(tls) = tls else {
        return requests(stream, Peer { ip, role: None }, router, stop).await;
    };
    match timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => {
            let role = role_of(&stream);
            requests(stream, Peer { ip, role }, router, stop).await;
        }
        Ok(Err(error)) => debug!(%error, %ip, "no agreement on TLS"),
        Err(_) => debug!(%ip, "no agreement on TLS in time"),
    }
}

/// What the peer's own certificate, the first one that it sent, gives it.
fn role_of(stream: &TlsStream<TcpStream>) -> Option<Role> {
    stream.get_ref().1.peer_certificates()?.first().and_then(tls::role_of)
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    router: Router,
    stop: CancellationToken,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        // A router is always ready.
        router.clone().call(request.map(axum::body::Body::new) as Request)
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
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, ip = %peer.ip, "a connection ended early");
    }
}

/// How many connections each peer, an address or a network, has. Holds nobody who has none.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

impl Peers {
    fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = peers.entry(ip).or_default();
        if *connections >= PER_PEER {
            return None;
        }
        *connections += 1;
        Some(Place { peers: Arc::clone(self), ip })
    }
}

/// One connection of a peer, as long as it lasts.
struct Place {
    peers: Arc<Peers>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get_mut(&self.ip) {
            Some(connections) if *connections > 1 => *connections -= 1,
            _ => _ = peers.remove(&self.ip),
        }
    }
}

#[cfg(test)]
mod tests;
