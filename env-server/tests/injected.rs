//! What an injection holds of a container's network, under the real program. Needs root. The test plays the host, and the
//! injector too, in a network namespace of its own: the machine's interfaces are never touched.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::path::Path;

use ballast_api::{EgressIngress, NodeAgent};
use ballast_kernel::{Interface, NetworkControl, network::NetworkLimit};
use nix::sys::signal::Signal;
use support::{
    Scratch, Server, name,
    stage::{mbits, mbits_free, network, on_a_host, plan, state},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

fn control_of(scratch: &Scratch) -> NetworkControl {
    NetworkControl::new(Interface::of_process(Path::new("/proc"), scratch.pid("geo")).unwrap())
}

/// Narrows both ways, as the injector does.
fn inject(scratch: &Scratch) {
    let injected = mbits(5.0, 10.0).network.unwrap().map(NetworkLimit::injected);
    control_of(scratch).put_in_force(injected).unwrap();
}

#[test]
fn plans_leave_it_alone() {
    on_a_host("plans_leave_it_alone", async |scratch| {
        let before = network();
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        let injected = mbits(5.0, 10.0);
        for (lent, generation) in [(None, 1), (Some(mbits(20.0, 50.0)), 4)] {
            if let Some(lent) = lent {
                node.apply(&plan(generation, lent)).await.unwrap();
            }
            inject(&scratch);
            let geo = state(&node, "geo").await;
            assert_eq!(
                (geo.limits.network, geo.baseline.network),
                (injected.network, lent.and(mbits_free()))
            );
            assert!(geo.drift.network.unwrap().starts_with("an injection holds its egress and ingress"));
            let outcome = node.apply(&plan(generation + 1, mbits(30.0, 60.0))).await.unwrap();
            assert_eq!(outcome.applied[0].applied, injected);
            assert_eq!(state(&node, "geo").await.lease_remaining_seconds.is_some(), lent.is_some());

            let after = lent.and_then(|lent| lent.network).or(mbits_free()).unwrap();
            control_of(&scratch).set_limit(after).unwrap();
            let geo = state(&node, "geo").await;
            assert_eq!((geo.limits.network, geo.drift.network), (Some(after), None));
            let outcome = node.apply(&plan(generation + 2, mbits(30.0, 60.0))).await.unwrap();
            assert_eq!(outcome.applied[0].applied, mbits(30.0, 60.0));
            node.restore(&name("geo")).await.unwrap();
            assert_eq!(network(), before);
        }
    });
}

#[test]
fn one_way_is_told_as_one_way() {
    on_a_host("one_way_is_told_as_one_way", async |scratch| {
        let server = Server::start(&scratch, &[]);
        let node = server.node();
        node.apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        let lent = control_of(&scratch).in_force().unwrap();
        let egress = NetworkLimit::injected(mbits(5.0, 5.0).network.unwrap().egress);
        control_of(&scratch).put_in_force(EgressIngress { egress, ..lent }).unwrap();
        let geo = state(&node, "geo").await;
        assert_eq!(geo.limits.network, mbits(5.0, 50.0).network);
        assert!(geo.drift.network.unwrap().starts_with("an injection holds its egress:"));
        assert!(geo.lease_remaining_seconds.is_some());
    });
}

#[test]
fn what_is_lent_is_given_back_however_the_loan_ends() {
    on_a_host("what_is_lent_is_given_back_however_the_loan_ends", async |scratch| {
        let before = network();
        let mut server = Server::start(&scratch, &[]);
        server.node().apply(&plan(1, mbits(20.0, 50.0))).await.unwrap();
        inject(&scratch);
        server.node().restore(&name("geo")).await.unwrap();
        assert_eq!(network(), before);
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            server.node().apply(&plan(2, mbits(20.0, 50.0))).await.unwrap();
            inject(&scratch);
            server.signal(signal);
            server.wait();
            server = Server::start(&scratch, &[]);
            assert_eq!(network(), before, "after {signal}");
        }
    });
}

#[test]
fn what_no_record_knows_of_is_taken_away_by_who_restores_the_container() {
    on_a_host("what_no_record_knows_of_is_taken_away", async |scratch| {
        let before = network();
        let server = Server::start(&scratch, &[]);
        inject(&scratch);
        assert_eq!(server.node().restore(&name("geo")).await.unwrap().network, mbits_free());
        assert_eq!(network(), before);
    });
}
