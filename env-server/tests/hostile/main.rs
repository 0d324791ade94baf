//! Ten thousand hostile requests against the real program on real cgroups and a real network: all are refused, no limit
//! changes, and others are served meanwhile. Needs root. `BALLAST_TEST_SEED` draws others than the usual ones.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod plans;
mod requests;
#[path = "../support/mod.rs"]
mod support;

use std::{
    cell::Cell,
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ballast_api::{
    BitsPerSecond, BytesPerSecond, ContainerState, Credentials, EgressIngress, HttpNode, Limit, LimitChange,
    Limits, NodeAgent, Plan, ReadWrite, UnixNanos,
};
use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use requests::{ACT, GENERATION, Hostile, OBSERVE, Then, draw, draw_slow};
use support::{
    Scratch, Server, cores, name,
    stage::{everything, on_a_host, run},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");
const USUAL_SEED: u64 = 20;
const REQUESTS: usize = 10_000;
/// Of them, those that take as long as the server lets them.
const SLOW: usize = 120;
/// At a time, beside the slow ones: within the server's bound on connections.
const AT_ONCE: usize = 64;
/// Where the server listens, on a host whose network is played: addresses of loopback may count as one peer.
const LISTEN: &str = "10.77.0.1:0";
/// All of these are the host's own.
const NETWORK: &str = "10.77.0.0/16";
/// In each of four networks, addresses that requests come from. Each stays under the pace of one peer, or most requests
/// would meet that only.
const PEERS: u8 = 250;
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the neighbour looks at the containers, and in how many looks at every file and interface.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: usize = 5;
/// Of a neighbour that is served, however busy the machine is otherwise: an answer that takes seconds fails by itself.
const LEAST_LOOKS: usize = 10;

#[test]
fn ten_thousand_hostile_requests_change_nothing() {
    on_a_host("ten_thousand_hostile_requests_change_nothing", async |scratch| {
        run("ip", &format!("route add local {NETWORK} dev lo"));
        let own = everything(&scratch);
        let folder = tempfile::tempdir().unwrap();
        let files = [secret(&folder, "observe", OBSERVE), secret(&folder, "act", ACT)];
        let [observe, act] = files.each_ref().map(|path| path.to_str().unwrap());
        let tokens = ["--listen", LISTEN, "--observe-token-file", observe, "--act-token-file", act];
        let mut server = Server::start(&scratch, &tokens);
        let address: SocketAddr = server.address().parse().unwrap();
        let node = client(&format!("http://{address}"));
        let lent = lend_all(&node).await;
        assert_ne!(everything(&scratch), own);

        survive(&node, &scratch, address).await;
        node.apply(&plan(GENERATION + 1, Limits { cpu: Some(cores(0.3)), ..lent })).await.unwrap();
        assert_eq!(scratch.cpu("geo").limit().unwrap(), cores(0.3), "the server is as it was");
        server.signal(Signal::SIGTERM);
        assert!(server.wait().success());
        assert_eq!(everything(&scratch), own);
    });
}

/// Lends `geo` of each resource that this machine has, and answers what.
async fn lend_all(node: &HttpNode) -> Limits {
    let geo = &node.containers().await.unwrap()[0];
    let mbits = |mbits: f64| Limit::At(BitsPerSecond::new(mbits * 1e6).unwrap());
    let disk = ReadWrite { read: Limit::At(BytesPerSecond::new(8e6).unwrap()), write: Limit::Max };
    let all = Limits {
        cpu: Some(cores(0.2)),
        disk: Some(disk),
        network: Some(EgressIngress { egress: mbits(20.0), ingress: mbits(50.0) }),
        ..Limits::default()
    };
    let limits = all.among(&geo.limits);
    eprintln!("lent meanwhile: {limits}");
    let outcome = node.apply(&plan(GENERATION, limits)).await.unwrap();
    assert_eq!(outcome.applied[0].applied, limits);
    limits
}

/// Sends everything, and lives through it.
async fn survive(node: &HttpNode, scratch: &Scratch, address: SocketAddr) {
    let seed = std::env::var_os("BALLAST_TEST_SEED");
    let seed = seed.map_or(USUAL_SEED, |seed| seed.to_str().unwrap().parse().unwrap());
    eprintln!("seed {seed}");
    let (began, looks) = (Instant::now(), Cell::new(0));
    let outcomes = tokio::select! {
        outcomes = attack(address, seed) => outcomes,
        never = watch(node, scratch, &looks) => match never {},
    };
    let (took, looks) = (began.elapsed().as_secs_f64(), looks.get());
    eprintln!("{REQUESTS} hostile requests in {took:.1} s, looked at {looks} times: {outcomes:?}");
    assert_eq!(outcomes.values().sum::<usize>(), REQUESTS);
    assert!(looks >= LEAST_LOOKS, "the neighbour was hardly served");
}

/// Somebody who asks what they may, all the while, and looks whether anything has changed.
async fn watch(node: &HttpNode, scratch: &Scratch, looks: &Cell<usize>) -> Infallible {
    let (files, told) = (everything(scratch), states(node).await);
    loop {
        assert_eq!(states(node).await, told, "after {} looks", looks.get());
        looks.set(looks.get() + 1);
        if looks.get().is_multiple_of(LOOKS) {
            assert_eq!(everything(scratch), files, "after {} looks", looks.get());
        }
        sleep(LOOK).await;
    }
}

/// What is told of the containers, but for what time changes.
async fn states(node: &HttpNode) -> Vec<ContainerState> {
    let lasting = |state: ContainerState| {
        assert!(state.lease_remaining_seconds.is_none_or(|left| left > 3000.0), "a lease was shortened");
        let is_lent = state.lease_remaining_seconds.map(|_| 0.0);
        ContainerState {
            usage: None,
            throttling: None,
            sampled_at_unix_nanos: UnixNanos(0),
            lease_remaining_seconds: is_lent,
            ..state
        }
    };
    node.containers().await.unwrap().into_iter().map(lasting).collect()
}

/// Sends everything, and answers how often each status came; "cut" where the connection ended instead.
async fn attack(address: SocketAddr, seed: u64) -> BTreeMap<String, usize> {
    let mut rng = StdRng::seed_from_u64(seed);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut sending = JoinSet::new();
    let mut outcomes = BTreeMap::new();
    for i in 0..REQUESTS {
        let hostile = if i < SLOW { draw_slow(&mut rng) } else { draw(&mut rng) };
        let peer = Ipv4Addr::new(10, 77, rng.random_range(1..5), 1 + rng.random_range(0..PEERS));
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

fn client(url: &str) -> HttpNode {
    let credentials = Credentials { token: Some(ACT.to_owned()), ..Credentials::default() };
    HttpNode::with_credentials(url, &credentials).unwrap()
}

fn plan(generation: u64, limits: Limits) -> Plan {
    let change = LimitChange { container: name("geo"), limits };
    Plan { generation, lease_seconds: 3600.0, dry_run: false, changes: vec![change] }
}

fn secret(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
