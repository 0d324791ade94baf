//! Less bandwidth.

use std::time::Duration;

use ballast_api::{EgressIngress, Limit};
use ballast_kernel::network::{self, NetworkLimit, Presence};

use crate::{
    stage::{FOREVER, assert_completed, end, mbits, on_a_host, run},
    traffic::{TCP_SHARE, To, tcp_rate},
};

/// Of what is allowed: a busy machine gives less.
const AT_LEAST: f64 = 0.9;
const AT_MOST: f64 = 1.05;

fn assert_about(what: &str, rate: f64, allowed: f64) {
    let share = rate / (allowed * TCP_SHARE);
    eprintln!(
        "{what}: {:.3} Mbit/s of TCP's data, {:.1} % of what {allowed:.0} bit/s leave it",
        rate / 1e6,
        100.0 * share
    );
    assert!((AT_LEAST..=AT_MOST).contains(&share), "{what}: {rate} of {allowed}");
}

#[test]
fn what_is_left_is_what_was_asked_for_and_then_everything_is_as_before() {
    on_a_host("left", |scene| {
        let before = scene.dump();
        let running = scene.start("net-bandwidth --intensity 20Mbit/s", FOREVER);
        let pids = running.pids();
        assert_about(
            "net-bandwidth 20 Mbit/s, ingress",
            tcp_rate(scene, To::Container, Duration::from_secs(2)),
            20e6,
        );
        assert_about(
            "net-bandwidth 20 Mbit/s, egress",
            tcp_rate(scene, To::Host, Duration::from_secs(2)),
            20e6,
        );
        end(running);
        scene.assert_as_before(&before, pids);
    });
}

#[test]
fn who_sweeps_leftovers_leaves_a_running_injection_alone() {
    on_a_host("swept", |scene| {
        let running = scene.start("net-bandwidth --intensity 20Mbit/s", FOREVER);
        let proc = "/proc".as_ref();
        let (_, swept) = Presence::begin(proc, || network::sweep_limits(&[]).unwrap()).unwrap();
        assert_eq!((swept, scene.control().limit().unwrap()), (None, mbits(20.0, 20.0)));
        end(running);
        let (_, swept) = Presence::begin(proc, || network::sweep_limits(&[]).unwrap()).unwrap();
        assert_eq!(swept, Some(Vec::new()));
    });
}

#[test]
fn one_way_leaves_the_other_alone() {
    on_a_host("one-way", |scene| {
        let before = scene.dump();
        for (way, limits) in [("egress", mbits(10.0, 0.0)), ("ingress", mbits(0.0, 10.0))] {
            let running =
                scene.start(&format!("net-bandwidth --intensity 10Mbit/s --direction {way}"), "500ms");
            let pids = running.pids();
            assert_eq!(scene.control().limit().unwrap(), limits);
            assert_completed(&running.end());
            scene.assert_as_before(&before, pids);
        }
    });
}

#[test]
fn limits_that_were_in_force_are_in_force_again() {
    on_a_host("again", |scene| {
        scene.control().set_limit(mbits(40.0, 80.0)).unwrap();
        let before = scene.dump();
        let running = scene.start("net-bandwidth --intensity 25%", "500ms");
        let pids = running.pids();
        assert_eq!(running.started["target_limit"], 40e6, "{}", running.started);
        assert_eq!(scene.control().limit().unwrap(), mbits(10.0, 20.0));
        assert_completed(&running.end());
        scene.assert_as_before(&before, pids);
    });
}

#[test]
fn a_limit_that_was_changed_meanwhile_stays() {
    on_a_host("changed", |scene| {
        let before = scene.dump();
        let running = scene.start("net-bandwidth --intensity 10Mbit/s", "4s");
        let ours = scene.control().in_force().unwrap();
        let egress = NetworkLimit::lent(mbits(30.0, 0.0).egress);
        scene.control().put_in_force(EgressIngress { egress, ..ours }).unwrap();
        let ended = running.end();
        assert_eq!(ended.code, Some(0));
        // Half of the dose, for one of the two ways, as soon as it was changed.
        assert!(ended.report["achieved"].as_f64().unwrap() < 9e6, "{}", ended.report);
        assert_eq!(scene.control().limit().unwrap(), mbits(30.0, 0.0));
        scene.control().set_limit(mbits(0.0, 0.0)).unwrap();
        scene.assert_same(&before);
    });
}

#[test]
fn the_same_limit_is_not_ours_any_more_once_somebody_lends_it() {
    on_a_host("same", |scene| {
        let before = scene.dump();
        let running = scene.start("net-bandwidth --intensity 10Mbit/s", "2s");
        scene.control().set_limit(mbits(10.0, 10.0)).unwrap();
        let ended = running.end();
        assert!(ended.report["achieved"].as_f64().unwrap() < 9e6, "{}", ended.report);
        assert_eq!(scene.control().limit().unwrap(), mbits(10.0, 10.0));
        scene.control().set_limit(mbits(0.0, 0.0)).unwrap();
        scene.assert_same(&before);
    });
}

#[test]
fn what_an_injection_has_left_is_not_taken_for_the_targets_own() {
    on_a_host("leftover", |scene| {
        let left = NetworkLimit::injected(mbits(5.0, 0.0).egress);
        let free = NetworkLimit::lent(Limit::Max);
        scene.control().put_in_force(EgressIngress { egress: left, ingress: free }).unwrap();
        let before = scene.dump();
        let (code, said) = scene.refused("net-bandwidth --intensity 1Mbit/s");
        assert!(code == Some(9) && said.contains("ballast-injector restore"), "{said}");
        scene.assert_same(&before);
    });
}

#[test]
fn more_than_is_allowed_or_a_share_of_nothing_is_refused() {
    on_a_host("more", |scene| {
        let (code, said) = scene.refused("net-bandwidth --intensity 25%");
        assert!(code == Some(2) && said.contains("of what?"), "{said}");
        let (code, said) = scene.refused("net-bandwidth --intensity 50kbit/s");
        assert!(code == Some(2) && said.contains("the smallest limit is"), "{said}");
        scene.control().set_limit(mbits(5.0, 0.0)).unwrap();
        let before = scene.dump();
        let (code, said) = scene.refused("net-bandwidth --intensity 10Mbit/s");
        assert!(code == Some(9) && said.contains("would be more"), "{said}");
        scene.assert_same(&before);
    });
}

#[test]
fn what_others_have_there_stays_untouched() {
    on_a_host("others", |scene| {
        run("tc", "qdisc add dev veth-geo root tbf rate 100mbit burst 50k latency 50ms");
        let before = scene.dump();
        let (code, said) = scene.refused("net-bandwidth --intensity 10Mbit/s");
        assert!(
            code == Some(9) && said.contains("the qdisc tbf") && said.contains("stays untouched"),
            "{said}"
        );
        scene.assert_same(&before);
    });
}
