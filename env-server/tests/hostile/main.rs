//! Ten thousand hostile requests against the real program on real cgroups: all are refused, no limit changes, and
//! others are served meanwhile. Needs root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod requests;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ballast_api::{Credentials, HttpNode, Limit, LimitChange, Limits, NodeAgent, Plan};
use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use requests::{ACT, GENERATION, Hostile, OBSERVE, Then, draw, draw_slow};
use support::{Scratch, Server, cores, name};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");
const SEED: u64 = 20;
const REQUESTS: usize = 10_000;
/// Of them, those that take as long as the server lets them.
const SLOW: usize = 120;
/// At a time, beside the slow ones: within the server's bound on connections.
const AT_ONCE: usize = 64;
/// Addresses that requests come from. Each stays under the pace of one peer, or most requests would meet that only.
const PEERS: u8 = 250;
const PATIENCE: Duration = Duration::from_secs(15);
const BOUND: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_requests_change_nothing() {
    let Some(scratch) = Scratch::new("ten_thousand_hostile_requests_change_nothing") else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = [secret(&folder, "observe", OBSERVE), secret(&folder, "act", ACT)];
    let [observe, act] = files.each_ref().map(|path| path.to_str().unwrap());
    let mut server = Server::start(&scratch, &["--observe-token-file", observe, "--act-token-file", act]);
    let address: SocketAddr = server.address().parse().unwrap();
    let node = Arc::new(client(&format!("http://{address}")));
    node.apply(&plan(GENERATION, 0.2)).await.unwrap();
    let limits = || (scratch.cpu("geo").limit().unwrap(), scratch.cpu("rate").limit().unwrap());
    assert_eq!(limits(), (cores(0.2), cores(0.5)));

    let began = Instant::now();
    let good = tokio::spawn(good_neighbour(Arc::clone(&node)));
    let outcomes = attack(address).await;
    let took = began.elapsed();
    good.abort();
    assert!(good.await.is_err_and(|error| error.is_cancelled()), "the good neighbour was not served");

    eprintln!("{REQUESTS} hostile requests in {:.1} s: {outcomes:?}", took.as_secs_f64());
    assert_eq!(outcomes.values().sum::<usize>(), REQUESTS);
    assert_eq!(limits(), (cores(0.2), cores(0.5)), "a limit changed");
    let geo = node.containers().await.unwrap().remove(0);
    assert_eq!(geo.generation, GENERATION, "a plan was taken");
    node.apply(&plan(GENERATION + 1, 0.3)).await.unwrap();
    assert_eq!(limits(), (cores(0.3), cores(0.5)));
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    assert_eq!(limits(), (Limit::Max, cores(0.5)));
    assert!(took < BOUND, "it took {took:?}");
}

/// Sends everything, and answers how often each status came; "cut" where the connection ended instead.
async fn attack(address: SocketAddr) -> BTreeMap<String, usize> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut sending = JoinSet::new();
    let mut outcomes = BTreeMap::new();
    for i in 0..REQUESTS {
        let hostile = if i < SLOW { draw_slow(&mut rng) } else { draw(&mut rng) };
        let peer = Ipv4Addr::new(127, 1, rng.random_range(0..4), 1 + rng.random_range(0..PEERS));
        let permit = if hostile.then == Then::Drip {
            None
        } else {
            Some(Arc::clone(&room).acquire_owned().await.unwrap())
        };
        sending.spawn(async move {
            let outcome = send(address, peer, &hostile).await;
            drop(permit);
            judge(&hostile, outcome)
        });
        while let Some(judged) = sending.try_join_next() {
            *outcomes.entry(judged.unwrap()).or_default() += 1;
        }
    }
    while let Some(judged) = sending.join_next().await {
        *outcomes.entry(judged.unwrap()).or_default() += 1;
    }
    outcomes
}

fn judge(hostile: &Hostile, outcome: Option<u16>) -> String {
    match outcome {
        Some(status @ 400..=499) => status.to_string(),
        None if hostile.may_be_cut => "cut".to_owned(),
        other => panic!("{}: {other:?} after {:?}", hostile.kind, String::from_utf8_lossy(&hostile.bytes)),
    }
}

/// The status of the answer; absent when the connection ended without one.
async fn send(address: SocketAddr, peer: Ipv4Addr, hostile: &Hostile) -> Option<u16> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((peer, 0).into()).unwrap();
    let mut stream = timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap();
    // The server may have had enough before all is written.
    let _ = timeout(PATIENCE, write(&mut stream, hostile)).await.unwrap();
    let mut answer = Vec::new();
    // As may be reset after the answer, with the rest of the request unread.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1).and_then(|status| status.parse().ok())
}

async fn write(stream: &mut TcpStream, hostile: &Hostile) -> std::io::Result<()> {
    stream.write_all(&hostile.bytes).await?;
    let began = Instant::now();
    while hostile.then == Then::Drip && began.elapsed() < PATIENCE {
        // Until the server answers, or ends.
        let mut byte = [0];
        if timeout(Duration::from_millis(250), stream.peek(&mut byte)).await.is_ok() {
            return Ok(());
        }
        stream.write_all(b"a").await?;
    }
    if hostile.then == Then::End { stream.shutdown().await } else { Ok(()) }
}

/// Somebody who asks what they may, all the while.
async fn good_neighbour(node: Arc<HttpNode>) {
    loop {
        node.containers().await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
}

fn client(url: &str) -> HttpNode {
    let credentials = Credentials { token: Some(ACT.to_owned()), ..Credentials::default() };
    HttpNode::with_credentials(url, &credentials).unwrap()
}

fn plan(generation: u64, limit: f64) -> Plan {
    let change = LimitChange { container: name("geo"), limits: Limits::of_cpu(cores(limit)) };
    Plan { generation, lease_seconds: 3600.0, dry_run: false, changes: vec![change] }
}

fn secret(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
