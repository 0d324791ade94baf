//! What peers that are slow, many or endless get to see.

use std::num::NonZeroU32;

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{peers::PER_PEER, *};
use crate::{access::AccessSettings, metrics::tests::told};

async fn start() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let (address, front, serving) = start_with(&AccessSettings::default()).await;
    (address, front.stop, serving)
}

fn front(settings: &AccessSettings) -> Front {
    Front {
        router: Router::new().route("/", get(|| async { "ok" })),
        access: Arc::new(Access::open(settings).unwrap()),
        metrics: Metrics::default(),
        stop: CancellationToken::new(),
    }
}

async fn start_with(settings: &AccessSettings) -> (std::net::SocketAddr, Front, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = front(settings);
    let Front { router, access, metrics, stop } = front.clone();
    (address, front, tokio::spawn(serve(listener, router, access, metrics, stop)))
}

async fn answer(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let (address, ..) = start().await;
    let many = "x: y\r\n".repeat(HEADERS + 1);
    let long = format!("x: {}\r\n", "y".repeat(2 * HEAD_BYTES));
    for headers in [many, long] {
        let told = answer(address, &format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n")).await;
        assert!(told.starts_with("HTTP/1.1 431"), "{told}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_costs_the_connection() {
    let (address, ..) = start().await;
    let began = Instant::now();
    assert_eq!(answer(address, "GET / HT").await, "");
    assert_eq!(answer(address, "").await, "");
    assert!(began.elapsed() >= HEAD && began.elapsed() < 4 * HEAD, "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_peer_has_so_many_connections_and_a_machine_is_one_peer() {
    let (address, front, _serving) = start_with(&AccessSettings::default()).await;
    let mut held = Vec::new();
    for i in 0..PER_PEER {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, u8::try_from(1 + i).unwrap()], 0).into()).unwrap();
        held.push(socket.connect(address).await.unwrap());
    }
    assert_eq!(answer(address, "GET / HTTP/1.0\r\n\r\n").await, "", "one too many");
    let told = told(&front.metrics);
    assert!(told.contains("ballast_connections 64\n"), "{told}");
    assert!(told.contains("ballast_connections_cut_total{reason=\"Peer\"} 1"), "{told}");
    drop(held.pop());
    let mut told = String::new();
    while told.is_empty() {
        told = answer(address, "GET / HTTP/1.0\r\n\r\n").await;
    }
    assert!(told.ends_with("ok"), "{told}");
}

#[tokio::test]
async fn connections_are_paced_whatever_is_asked() {
    let slow = AccessSettings { requests_per_second: NonZeroU32::MIN, ..AccessSettings::default() };
    let (address, front, _serving) = start_with(&slow).await;
    let mut malformed = 0;
    while answer(address, "no HTTP\r\n\r\n").await.starts_with("HTTP/1.1 400") {
        malformed += 1;
    }
    assert!(malformed >= 4, "{malformed}");
    let told = told(&front.metrics);
    for (reason, times) in [("Malformed", malformed), ("Pace", 1)] {
        let counted = format!("ballast_connections_cut_total{{reason=\"{reason}\"}} {times}\n");
        assert!(told.contains(&counted), "{counted} is missing in {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_old_ends_with_an_answer() {
    let front = front(&AccessSettings::default());
    let (mut client, server) = tokio::io::duplex(4096);
    let clients = front.access.clients();
    let peer = Peer { ip: [127, 0, 0, 1].into(), role: None };
    let serving = tokio::spawn(front.requests(server, peer, clients));
    let (began, mut answers, mut told) = (Instant::now(), 0, String::new());
    while !told.contains("connection: close") {
        assert!(!told.is_empty() || answers == 0, "it ended without being said to");
        // Less than is waited for a head.
        sleep(HEAD / 2).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut bytes = [0; 4096];
        let read = client.read(&mut bytes).await.unwrap();
        told = String::from_utf8_lossy(&bytes[..read]).into_owned();
        answers += 1;
    }
    assert!(answers > 20 && began.elapsed() >= MAX_AGE && began.elapsed() < 2 * MAX_AGE, "{answers}");
    serving.await.unwrap();
}

#[tokio::test]
async fn it_ends_when_told_and_lets_idle_peers_go() {
    let (address, stop, serving) = start().await;
    let _idle = TcpStream::connect(address).await.unwrap();
    assert!(answer(address, "GET / HTTP/1.0\r\n\r\n").await.ends_with("ok"));
    stop.cancel();
    timeout(Duration::from_secs(2), serving).await.unwrap().unwrap();
}
