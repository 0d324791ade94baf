//! A container's network, limited by the real program: found through its namespace, given back to the last byte. Needs
//! root. The test plays the host in a network namespace of its own: the machine's interfaces are never touched.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{path::Path, time::Duration};

use ballast_api::{
    BitsPerSecond, ContainerState, EgressIngress, HttpNode, Limit, LimitChange, Limits, NodeAgent, Plan,
};
use ballast_kernel::{Interface, NetworkControl};
use nix::sys::signal::Signal;
use support::{
    Scratch, Server, name,
    stage::{Networked, network, on_a_host, run},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

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
    let stranger = Networked::start_at(Some(before.index));
    let after = interface(stranger.id());
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
        scratch.attach("geo", second.id());
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
