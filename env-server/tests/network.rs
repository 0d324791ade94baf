//! A container's network, limited by the real program: found through its namespace, given back to the last byte. Needs
//! root. The test plays the host in a network namespace of its own: the machine's interfaces are never touched.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{path::Path, time::Duration};

use ballast_api::{ContainerState, HttpNode, NodeAgent};
use ballast_kernel::{Interface, NetworkControl};
use nix::sys::signal::Signal;
use support::{
    Scratch, Server, name,
    stage::{Networked, mbits, mbits_free, network, on_a_host, plan, run, state},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

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
        // That of another env-server, or it would be a leftover.
        let elsewhere = tempfile::tempdir().unwrap();
        let _other = Server::start(&scratch, &["--state-dir", elsewhere.path().to_str().unwrap()]);
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

/// Replaces the cgroup and the process of `geo`, as when a container of a pod is restarted: the namespace stays.
fn restart_in(scratch: &Scratch, sandbox: &Networked) -> Networked {
    scratch.kill("geo");
    scratch.remove("geo");
    scratch.add("geo");
    let restarted = Networked::beside(sandbox.id());
    scratch.attach("geo", restarted.id());
    restarted
}

/// Asks until it is so: a container may be found before its first process, and is looked at again after a while.
async fn until(node: &HttpNode, container: &str, is_so: impl Fn(&ContainerState) -> bool) -> ContainerState {
    for _ in 0..150 {
        let state = state(node, container).await;
        if is_so(&state) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never is so of {container}: {:?}", state(node, container).await);
}

#[test]
fn a_restarted_container_of_a_pod_does_not_inherit_limits() {
    on_a_host("a_restarted_container_of_a_pod_does_not_inherit_limits", async |scratch| {
        let before = network();
        let sandbox = Networked::beside(scratch.pid("geo"));
        let mut server = Server::start(&scratch, &[]);
        let node = server.node();
        node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        let _second = restart_in(&scratch, &sandbox);
        let geo = until(&node, "geo", |geo| geo.limits.network.is_some()).await;
        assert_eq!((geo.limits.network, geo.baseline.network), (mbits_free(), mbits_free()));
        assert_eq!(geo.lease_remaining_seconds, None);
        assert_eq!(network(), before);

        // And while nobody is there to see it.
        node.apply(&plan(2, mbits(20.0, 50.0))).await.unwrap();
        server.signal(Signal::SIGKILL);
        server.wait();
        let _third = restart_in(&scratch, &sandbox);
        assert_ne!(network(), before);
        let server = Server::start(&scratch, &[]);
        assert_eq!(network(), before);
        assert_eq!(state(&server.node(), "geo").await.limits.network, mbits_free());
    });
}

#[test]
fn containers_that_share_a_network_are_left_alone_there() {
    on_a_host("containers_that_share_a_network_are_left_alone_there", async |scratch| {
        let before = network();
        let second = Networked::beside(scratch.pid("geo"));
        scratch.attach("rate", second.id());
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        for (container, other) in [("geo", "rate"), ("rate", "geo")] {
            let state = state(&node, container).await;
            assert_eq!(state.limits.network, None);
            assert_eq!(state.missing.network.unwrap(), format!("it shares its network with {other}"));
        }
        let refused = node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap_err();
        assert!(refused.to_string().contains("it shares its network with rate"), "{refused}");
        assert_eq!(network(), before);
        scratch.kill("rate");
        scratch.remove("rate");
        assert_eq!(state(&node, "geo").await.limits.network, mbits_free(), "it is alone now");
    });
}

#[test]
fn who_joins_a_network_that_is_lent_waits_for_its_end() {
    on_a_host("who_joins_a_network_that_is_lent_waits_for_its_end", async |scratch| {
        let before = network();
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        let late = Networked::beside(scratch.pid("geo"));
        scratch.add("late");
        scratch.attach("late", late.id());
        let shares = |with: &'static str| {
            move |state: &ContainerState| {
                state.missing.network.as_ref().is_some_and(|reason| reason.ends_with(with))
            }
        };
        until(&node, "late", shares("it shares its network with geo")).await;
        node.apply(&plan(2, mbits(30.0, 50.0))).await.unwrap();
        node.restore(&name("geo")).await.unwrap();
        assert_eq!(network(), before);
        until(&node, "geo", shares("it shares its network with late")).await;
        assert_eq!(network(), before);
    });
}

#[test]
fn a_limit_that_no_journal_knows_of_is_removed_by_who_is_alone() {
    on_a_host("a_limit_that_no_journal_knows_of_is_removed_by_who_is_alone", async |scratch| {
        let before = network();
        let mut server = Server::start(&scratch, &[]);
        server.node().apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        let lent = network();
        let elsewhere = tempfile::tempdir().unwrap();
        let start_another = || Server::start(&scratch, &["--state-dir", elsewhere.path().to_str().unwrap()]);
        let another = start_another();
        assert_eq!(network(), lent, "it is known to the first");
        drop(another);
        server.signal(Signal::SIGKILL);
        server.wait();
        let another = start_another();
        assert_eq!(network(), before);
        assert_eq!(state(&another.node(), "geo").await.limits.network, mbits_free());
    });
}

#[test]
fn what_an_interface_leaves_is_swept_away_though_its_container_stays() {
    on_a_host("what_an_interface_leaves_is_swept_away_though_its_container_stays", async |scratch| {
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        run("ip", "link delete dev veth-geo");
        node.restore(&name("geo")).await.unwrap();
        gone("ballast").await;
    });
}
