//! What peers that are slow, many or endless get to see.

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::*;
use crate::access::AccessSettings;

async fn start() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { "ok" }));
    let access = Arc::new(Access::open(&AccessSettings::default()).unwrap());
    let stop = CancellationToken::new();
    (address, stop.clone(), tokio::spawn(serve(listener, router, access, stop)))
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
async fn one_peer_has_so_many_connections_and_others_still_come_in() {
    let (address, ..) = start().await;
    let mut held = Vec::new();
    for _ in 0..PER_PEER {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(answer(address, "GET / HTTP/1.0\r\n\r\n").await, "", "one too many");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(address).await.unwrap();
    other.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut told = String::new();
    other.read_to_string(&mut told).await.unwrap();
    assert!(told.ends_with("ok"), "{told}");
}

#[tokio::test]
async fn it_ends_when_told_and_lets_idle_peers_go() {
    let (address, stop, serving) = start().await;
    let _idle = TcpStream::connect(address).await.unwrap();
    assert!(answer(address, "GET / HTTP/1.0\r\n\r\n").await.ends_with("ok"));
    stop.cancel();
    timeout(Duration::from_secs(2), serving).await.unwrap().unwrap();
}
