//! Real Docker containers under the real env-server: by their names, lent what they were lent and no more, on the engine's
//! own bridge.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod engine;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use std::time::Duration;

use ballast_api::{BitsPerSecond, ContainerSource, ContainerState, EgressIngress, Limit, Limits};
use ballast_kernel::CgroupPath;
use engine::{Engine, HOST, parent};
use support::{
    cores, disk,
    exact::Everything,
    janitor::Janitor,
    measure::{achieves_cores, achieves_disk, achieves_rate},
    server::Server,
};
use tokio::time::sleep;
use traffic::{Ports, on_the_wire};

/// What `docker run` gave the busy container, and what it is lent, in cores.
const OWN_CORES: f64 = 0.5;
const LENT_CORES: f64 = 0.3;
/// Lent to the other one, in bytes/s and bits/s.
const READ: f64 = 8_000_000.0;
const WRITE: f64 = 4_000_000.0;
const EGRESS: f64 = 20_000_000.0;
const INGRESS: f64 = 50_000_000.0;

/// A container that has half a core and wants more.
fn run_geo(engine: &Engine<'_>) -> CgroupPath {
    let own = ["--cpus", "0.5", "--label", "app=search"];
    engine.run("geo", &own, "while :; do :; done")
}

/// A container that reads and writes its disk and the network as fast as it can, below a parent of its own.
fn run_store(engine: &Engine<'_>, ports: &Ports) -> CgroupPath {
    let copy = |what: &str| format!("while :; do dd bs=65536 count=256 {what} 2>/dev/null || exit 1; done");
    let script = format!(
        "dd if=/dev/zero of=/source bs=65536 count=256 conv=fsync 2>/dev/null; {} {} & {}",
        ports.script(),
        copy("if=/source of=/dev/null iflag=direct"),
        copy("if=/dev/zero of=/target oflag=direct conv=notrunc"),
    );
    engine.run("store", &[&format!("--cgroup-parent=/{}", parent())], &script)
}

/// Lent to `store`; no disk limits where this machine or the container has none.
fn store_limits(store: &ContainerState) -> Limits {
    let at = |rate: f64| Limit::At(BitsPerSecond::new(rate).unwrap());
    let network = Some(EgressIngress { egress: at(EGRESS), ingress: at(INGRESS) });
    let disk = match &store.missing.disk {
        Some(reason) => {
            eprintln!("SKIPPED end_to_end_docker disk limits: {reason}");
            None
        }
        None => disk(READ, WRITE),
    };
    Limits { disk, network, ..Limits::default() }
}

fn is_fresh(state: &ContainerState) -> bool {
    state.lease_remaining_seconds.is_none() && state.generation == 0 && state.limits == state.baseline
}

/// Answers what is said of `store`.
async fn both_are_there(server: &Server) -> ContainerState {
    let geo = server.wait_for("geo", is_fresh).await;
    assert_eq!((geo.source, geo.labels["app"].as_str()), (ContainerSource::Docker, "search"));
    assert_eq!(geo.limits.cpu, cores(OWN_CORES).cpu, "as docker run --cpus says");
    let store = server.wait_for("store", |state| is_fresh(state) && state.limits.network.is_some()).await;
    assert_eq!(store.labels.len(), 0);
    store
}

async fn the_network_is_limited(ports: &Ports, store: &CgroupPath) {
    let interval = Duration::from_secs(4);
    // Slow start is over by then, and the first burst is spent.
    let warm_up = Duration::from_secs(1);
    let transfer = ports.egress().await;
    sleep(warm_up).await;
    achieves_rate("egress, bit/s", EGRESS, interval, || on_the_wire(transfer.moved())).await;
    drop(transfer);
    let _transfer = ports.ingress().await;
    sleep(warm_up).await;
    achieves_rate("ingress, bit/s", INGRESS, interval, || on_the_wire(ports.received_in(store))).await;
}

/// Whatever ends a loan, what it touched says afterwards what it said before, to the last byte.
async fn whatever_ends_a_loan_undoes_it(
    server: Server,
    start: impl AsyncFn() -> Server,
    lent: &[(&str, Limits)],
    look: impl Fn() -> Everything,
    own: &Everything,
) -> Server {
    for (name, _) in lent {
        server.give_back(name).await;
    }
    assert_eq!(look(), *own, "asked for");

    server.lend(2, 1.0, lent).await;
    for (name, _) in lent {
        server.wait_for(name, |state| state.lease_remaining_seconds.is_none()).await;
    }
    assert_eq!(look(), *own, "after the lease");

    server.lend(3, 600.0, lent).await;
    let changed = look();
    server.kill().await;
    assert_eq!(look().files, changed.files, "nobody was there to restore");
    let server = start().await;
    assert_eq!(look(), *own, "after kill -9");

    server.lend(4, 600.0, lent).await;
    server.end().await;
    assert_eq!(look(), *own, "at the end");
    start().await
}

/// A new container under the name, and the same one begun again: each with its own limits, and lent nothing.
async fn another_container_of_the_name_is_lent_nothing(engine: &Engine<'_>, server: &Server) -> CgroupPath {
    engine.docker(&["rm", "-f", "geo"]);
    let path = run_geo(engine);
    let own = |state: &ContainerState| is_fresh(state) && state.limits.cpu == cores(OWN_CORES).cpu;
    server.wait_for("geo", own).await;
    server.lend(10, 600.0, &[("geo", cores(0.2))]).await;
    engine.docker(&["restart", "-t", "0", "geo"]);
    server.wait_for("geo", own).await;
    path
}

async fn containers_are_lent_limits(janitor: &Janitor) {
    let engine = Engine::start(janitor).await;
    let ports = Ports::open(HOST);
    let (geo, store) = (run_geo(&engine), run_store(&engine, &ports));
    let (socket, parent) = (engine.socket().display().to_string(), parent().to_string());
    let arguments = ["--docker-socket", &socket, "--cgroup-parent", &parent];
    let start = async || Server::start(janitor.folder(), &arguments).await;
    let server = start().await;
    let of_store = both_are_there(&server).await;
    // They have connected: whatever their interfaces say in their first moments is said.
    drop((ports.egress().await, ports.ingress().await));
    let look = || Everything::of(&[geo.clone(), store.clone()]);
    let own = look();

    let lent = [("geo", cores(LENT_CORES)), ("store", store_limits(&of_store))];
    server.lend(1, 600.0, &lent).await;
    let has_disk = lent[1].1.disk.is_some();
    tokio::join!(achieves_cores(&geo, LENT_CORES), async {
        if has_disk {
            achieves_disk(&store, READ, WRITE).await;
        }
    });
    the_network_is_limited(&ports, &store).await;
    let told = engine.docker(&["inspect", "-f", "{{.HostConfig.NanoCpus}}", "geo"]);
    assert_eq!(told, "500000000", "Docker's own books are left alone");

    let server = whatever_ends_a_loan_undoes_it(server, start, &lent, look, &own).await;
    let geo = another_container_of_the_name_is_lent_nothing(&engine, &server).await;

    // Gone while lent: unknown, and nobody stumbles over it.
    engine.docker(&["rm", "-f", "store"]);
    server.does_not_know(11, "store", cores(0.2)).await;
    let own = Everything::of(std::slice::from_ref(&geo)).files;
    server.lend(11, 600.0, &[("geo", cores(0.2))]).await;
    assert_ne!(Everything::of(std::slice::from_ref(&geo)).files, own);
    server.end().await;
    assert_eq!(Everything::of(std::slice::from_ref(&geo)).files, own, "at the end");
}

#[test]
fn end_to_end_docker_containers_are_lent_limits_by_their_names() {
    match engine::missing() {
        Some(reason) => {
            eprintln!("SKIPPED end_to_end_docker_containers_are_lent_limits_by_their_names: {reason}");
        }
        None => support::play(containers_are_lent_limits),
    }
}
