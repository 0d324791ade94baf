//! Traffic that competes with the target's own.

use std::{fs, time::Duration};

use ballast_injector::clocks;
use nix::sys::signal::Signal;

use crate::{
    container::run,
    shared::{pause, signal},
    stage::{FOREVER, Scene, VETH, mbits, on_a_host},
    support::{Running, await_true},
    traffic::{TCP_SHARE, To, tcp_rate},
};

const MEASURED: Duration = Duration::from_secs(2);

/// A column of proc_net_dev(5) for an interface of this thread's namespace.
fn column(interface: &str, number: usize) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:"))).unwrap();
    line.split_whitespace().nth(number).unwrap().parse().unwrap()
}

/// Bytes that came from the container, and that went there.
fn carried() -> [u64; 2] {
    [column(VETH, 0), column(VETH, 8)]
}

/// What the veth carries of each way, egress and ingress, in bits per second.
fn carried_rates() -> [f64; 2] {
    let (before, began) = (carried(), clocks::monotonic());
    pause(MEASURED);
    let (after, took) = (carried(), (clocks::monotonic() - began).as_secs_f64());
    [0, 1].map(|way| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let bits = 8.0 * (after[way] - before[way]) as f64;
        bits / took
    })
}

/// Packets that the container's side counts as dropped or broken.
fn complaints(scene: &Scene) -> u64 {
    scene.inside(|| column("eth0", 2) + column("eth0", 3)) + column(VETH, 2) + column(VETH, 3)
}

/// Ends it, and answers what it says was achieved, as a share of what was asked.
fn share_at_the_end(running: Running) -> f64 {
    signal(running.supervisor.id(), Signal::SIGTERM);
    let ended = running.end();
    assert_eq!((ended.code, &ended.report["ending"]), (Some(7), &"interrupted".into()), "{}", ended.report);
    let [requested, achieved] = ["requested", "achieved"].map(|field| ended.report[field].as_f64().unwrap());
    achieved / requested
}

#[test]
fn as_much_arrives_as_was_asked_for_and_only_where_it_was() {
    on_a_host("traffic", |scene| {
        let before = scene.dump();
        let complained = complaints(scene);
        for (way, [egress, ingress]) in
            [("egress", [50e6, 0.0]), ("ingress", [0.0, 50e6]), ("both", [50e6; 2])]
        {
            let what = format!("net-bandwidth --traffic --intensity 50Mbit/s --direction {way}");
            let running = scene.start(&what, FOREVER);
            let pids = running.pids();
            assert_eq!(running.started["requested"], egress + ingress, "{}", running.started);
            let rates = carried_rates();
            eprintln!("{what}: {:.3} and {:.3} Mbit/s arrive", rates[0] / 1e6, rates[1] / 1e6);
            for (rate, asked) in rates.into_iter().zip([egress, ingress]) {
                assert!((rate - asked).abs() <= 0.05 * 50e6, "{way}: {rate} of {asked}");
            }
            let share = share_at_the_end(running);
            assert!((share - 1.0).abs() < 0.05, "{way}: {share}");
            scene.assert_as_before(&before, pids);
        }
        assert_eq!(complaints(scene), complained, "somebody had no use for the frames");
    });
}

#[test]
fn on_a_bridge_nobody_else_gets_any_of_it() {
    on_a_host("traffic-bridge", |scene| {
        // As Docker has it; the other port is another container's.
        run("ip", "link add br0 type bridge");
        run("ip", &format!("link set {VETH} master br0"));
        run("ip", "link add other type veth peer name others");
        run("ip", "link set other master br0");
        for link in ["br0", "other", "others"] {
            run("ip", &format!("link set {link} up"));
        }
        let sent_on = || column("br0", 8) + column("other", 8);
        let (before, dropped) = (sent_on(), complaints(scene) + column("br0", 2) + column("br0", 3));
        let running = scene.start("net-bandwidth --traffic --intensity 50Mbit/s", FOREVER);
        let rates = carried_rates();
        eprintln!("on a bridge: {:.3} and {:.3} Mbit/s arrive", rates[0] / 1e6, rates[1] / 1e6);
        for rate in rates {
            assert!((rate - 50e6).abs() <= 0.05 * 50e6, "{rate}");
        }
        assert!((share_at_the_end(running) - 1.0).abs() < 0.05);
        // The kernel itself says a word now and then.
        assert!(sent_on() - before < 20_000, "{} bytes went on", sent_on() - before);
        let complained = complaints(scene) + column("br0", 2) + column("br0", 3);
        assert_eq!(complained, dropped, "somebody had no use for the frames");
    });
}

#[test]
fn the_targets_own_traffic_gets_less() {
    on_a_host("competes", |scene| {
        scene.control().set_limit(mbits(20.0, 20.0)).unwrap();
        let before = scene.dump();
        for (to, way) in [(To::Host, "egress"), (To::Container, "ingress")] {
            let alone = tcp_rate(scene, to, MEASURED);
            let running =
                scene.start(&format!("net-bandwidth --traffic --intensity 80% --direction {way}"), FOREVER);
            let pids = running.pids();
            assert_eq!(
                (&running.started["target_limit"], &running.started["requested"]),
                (&20e6.into(), &16e6.into())
            );
            let beside = tcp_rate(scene, to, MEASURED);
            let share = share_at_the_end(running);
            let left = beside / (20e6 * TCP_SHARE);
            eprintln!(
                "{way}: TCP has {:.2} Mbit/s alone, {:.2} beside 16 Mbit/s ({:.0} % of the limit), of which {:.1} % are sent",
                alone / 1e6,
                beside / 1e6,
                100.0 * left,
                100.0 * share
            );
            assert!(beside < 0.6 * alone, "{way}: {beside} beside it, {alone} alone");
            scene.assert_as_before(&before, pids);
        }
    });
}

#[test]
fn a_killed_supervisor_sends_nothing_any_more() {
    on_a_host("traffic-killed", |scene| {
        let before = scene.dump();
        let running = scene.start("net-bandwidth --traffic --intensity 50Mbit/s", FOREVER);
        let pids = running.pids();
        signal(pids[0], Signal::SIGKILL);
        scene.assert_as_before(&before, pids);
        assert_eq!(running.end().code, None);
        let sent = carried();
        pause(Duration::from_millis(300));
        // The kernel itself says a word now and then.
        assert!(carried().iter().zip(sent).all(|(now, then)| now - then < 10_000), "it goes on");
    });
}

#[test]
fn it_ends_with_the_container() {
    on_a_host("traffic-gone", |scene| {
        let running = scene.start("net-bandwidth --traffic --intensity 50Mbit/s", FOREVER);
        let pids = running.pids();
        scene.end_container();
        let ended = running.end();
        assert_eq!(
            (ended.code, &ended.report["ending"]),
            (Some(5), &"target_gone".into()),
            "{}",
            ended.report
        );
        scene.stage.assert_nothing_left(pids);
        // No socket keeps its network.
        let is_gone = || !fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains(VETH);
        await_true("the veth is gone", is_gone, String::new);
    });
}

#[test]
fn too_little_or_a_share_of_nothing_is_refused() {
    on_a_host("traffic-refused", |scene| {
        for (what, told) in [("25%", "of what?"), ("99kbit/s", "100.000 kbit/s")] {
            let (code, said) = scene.refused(&format!("net-bandwidth --traffic --intensity {what}"));
            assert!(code == Some(2) && said.contains(told), "{said}");
        }
    });
}
