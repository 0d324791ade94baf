//! A container's network, limited by the real program: found through its namespace, given back to the last byte. Needs
//! root. The test plays the host in a network namespace of its own: the machine's interfaces are never touched.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_api::{
    BitsPerSecond, ContainerState, EgressIngress, HttpNode, Limit, LimitChange, Limits, NodeAgent, Plan,
};
use ballast_kernel::{Interface, NetworkControl};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};
use support::{Scratch, Server, name};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

/// A process in a network namespace of its own, joined to the host's by the veth `name`. It ends with its input.
struct Networked(Child);

impl Networked {
    fn start(name: &str) -> Self {
        Self::start_at(name, None)
    }

    /// With this index of the host's side.
    fn start_at(name: &str, index: Option<u32>) -> Self {
        let child = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let this = Self(child);
        let namespace = || std::fs::read_link(format!("/proc/{}/ns/net", this.0.id())).unwrap();
        let host = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while namespace() == host {
            std::thread::yield_now();
        }
        let index = index.map_or_else(String::new, |index| format!("index {index}"));
        run("ip", &format!("link add {name} {index} type veth peer name eth0 netns {}", this.0.id()));
        run("ip", &format!("link set dev {name} up"));
        this
    }
}

impl Drop for Networked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program in the namespace of this thread and answers what it says.
fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everything of the host's network that a limit may touch.
fn network() -> String {
    ["link show", "qdisc show", "filter show dev veth-geo ingress"]
        .map(|what| if what.starts_with("link") { run("ip", what) } else { run("tc", what) })
        .concat()
}

fn mbits(egress: f64, ingress: f64) -> Limits {
    let at = |mbits: f64| Limit::At(BitsPerSecond::new(mbits * 1e6).unwrap());
    Limits { network: Some(EgressIngress { egress: at(egress), ingress: at(ingress) }), ..Limits::default() }
}

fn plan(generation: u64, limits: Limits) -> Plan {
    let change = LimitChange { container: name("geo"), limits };
    Plan { generation, lease_seconds: 60.0, dry_run: false, changes: vec![change] }
}

async fn state(node: &HttpNode, container: &str) -> ContainerState {
    let containers = node.containers().await.unwrap();
    containers.into_iter().find(|state| state.name == name(container)).unwrap()
}

/// Runs `test` in a private network namespace, with the container `geo` on the veth `veth-geo`.
fn on_a_host(test: &str, work: impl AsyncFnOnce(Scratch) + Send) {
    let Some(scratch) = Scratch::new(test) else { return };
    if Command::new("tc").arg("-V").output().is_err() || Command::new("unshare").arg("-V").output().is_err() {
        eprintln!("SKIPPED {test}: it needs the programs tc and unshare, to set the stage and to look at it");
        return;
    }
    std::thread::scope(|scope| {
        let played = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip", "link set dev lo up");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let networked = Networked::start("veth-geo");
            scratch.attach("geo", networked.0.id());
            runtime.block_on(work(scratch));
        });
        if let Err(panicked) = played.join() {
            std::panic::resume_unwind(panicked);
        }
    });
}

#[test]
fn a_container_is_limited_both_ways_and_freed_to_the_last_byte() {
    on_a_host("a_container_is_limited_both_ways_and_freed_to_the_last_byte", async |scratch| {
        let before = network();
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        assert_eq!(network(), before, "looking touches nothing");
        let rate = state(&node, "rate").await;
        assert_eq!(rate.limits.network, None, "it has no process");
        assert!(rate.missing.network.unwrap().contains("no process"));

        let outcome = node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        assert_eq!(outcome.applied[0].applied, mbits(20.0, 50.0));
        assert_eq!(state(&node, "geo").await.limits.network, mbits(20.0, 50.0).network);
        assert_ne!(network(), before);
        node.apply(&plan(2, mbits(40.0, 50.0))).await.unwrap();
        assert_eq!(node.restore(&name("geo")).await.unwrap().network, mbits_free());
        assert_eq!(network(), before);
    });
}

#[test]
fn after_kill_9_the_next_start_frees_the_network() {
    on_a_host("after_kill_9_the_next_start_frees_the_network", async |scratch| {
        let before = network();
        let mut server = Server::start(&scratch, &[]);
        server.node().apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        server.signal(Signal::SIGKILL);
        server.wait();
        assert_ne!(network(), before, "nobody was there to restore");
        let server = Server::start(&scratch, &[]);
        assert_eq!(network(), before);
        assert_eq!(state(&server.node(), "geo").await.limits.network, mbits_free());
    });
}

/// The kernel removes a veth when it comes to it.
async fn gone(name: &str) {
    for _ in 0..100 {
        if !run("ip", "link show").contains(name) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} is still there");
}

/// Ends the container `geo` but for its cgroup; then another one, which is limited by somebody else, gets a veth of the
/// same name and both indices.
async fn a_stranger_instead(scratch: &Scratch) -> Networked {
    let interface = |pid| Interface::of_process(Path::new("/proc"), pid).unwrap();
    let before = interface(scratch.pid("geo"));
    scratch.kill("geo");
    gone("veth-geo").await;
    let stranger = Networked::start_at("veth-geo", Some(before.index));
    let after = interface(stranger.0.id());
    assert_eq!((after.index, after.peer_index), (before.index, before.peer_index));
    NetworkControl::new(after).set_limit(mbits(30.0, 30.0).network.unwrap()).unwrap();
    stranger
}

#[test]
fn what_a_dead_containers_index_was_given_to_is_untouched_by_the_next_start() {
    on_a_host("what_a_dead_containers_index_was_given_to", async |scratch| {
        let mut server = Server::start(&scratch, &[]);
        server.node().apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        server.signal(Signal::SIGKILL);
        server.wait();
        let _stranger = a_stranger_instead(&scratch).await;
        let before = network();
        let server = Server::start(&scratch, &[]);
        assert_eq!(network(), before);
        let geo = state(&server.node(), "geo").await;
        assert_eq!((geo.lease_remaining_seconds, geo.limits.network), (None, None), "nothing is owed");
        assert_eq!(network(), before);
    });
}

#[test]
fn what_a_dead_containers_index_was_given_to_is_untouched_by_plans_and_their_end() {
    on_a_host("what_a_dead_containers_index_was_given_to_is_untouched_by_plans", async |scratch| {
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        let _stranger = a_stranger_instead(&scratch).await;
        let before = network();
        let geo = state(&node, "geo").await;
        assert_eq!(geo.limits.network, None);
        assert!(geo.missing.network.unwrap().contains("veth-geo has it now"));
        let refused = node.apply(&plan(2, mbits(10.0, 10.0))).await.unwrap_err();
        assert!(refused.to_string().contains("veth-geo has it now"), "{refused}");
        assert_eq!(network(), before);
        node.restore(&name("geo")).await.unwrap();
        assert_eq!(state(&node, "geo").await.lease_remaining_seconds, None);
        assert_eq!(network(), before);
    });
}

#[test]
fn a_container_that_got_another_network_is_limited_there() {
    on_a_host("a_container_that_got_another_network_is_limited_there", async |scratch| {
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        assert_eq!(state(&node, "geo").await.limits.network, mbits_free());
        let second = a_stranger_instead(&scratch).await;
        scratch.attach("geo", second.0.id());
        for _ in 0..100 {
            if state(&node, "geo").await.limits.network == mbits(30.0, 30.0).network {
                node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("its network was not found again: {:?}", state(&node, "geo").await.missing);
    });
}

#[test]
fn a_qdisc_of_somebody_else_is_refused_and_stays() {
    on_a_host("a_qdisc_of_somebody_else_is_refused_and_stays", async |scratch| {
        run("tc", "qdisc add dev veth-geo root handle 7: tbf rate 10mbit burst 20kb latency 50ms");
        let before = network();
        let server = Server::start(&scratch, &[]);
        let refused = server.node().apply(&plan(1, mbits(20.0, 50.0))).await.unwrap_err();
        assert!(refused.to_string().contains("not Ballast's"), "{refused}");
        assert_eq!(network(), before);
    });
}

#[test]
fn what_a_vanished_container_leaves_is_swept_away() {
    on_a_host("what_a_vanished_container_leaves_is_swept_away", async |scratch| {
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        scratch.kill("geo");
        scratch.remove("geo");
        let leftovers = || run("ip", "link show").contains("ballast");
        // The kernel takes its time over the interface of a namespace that ended, and the env-server looks each second.
        for _ in 0..50 {
            if !leftovers() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("left behind: {}", run("ip", "link show"));
    });
}

fn mbits_free() -> Option<EgressIngress<Limit<BitsPerSecond>>> {
    Some(EgressIngress { egress: Limit::Max, ingress: Limit::Max })
}
