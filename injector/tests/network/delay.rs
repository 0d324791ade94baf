//! Every packet later.

use std::time::Duration;

use ballast_kernel::network::Netem;

use crate::{
    stage::{FOREVER, Scene, end, mbits, on_a_host},
    traffic::{TCP_SHARE, To, round_trips, tcp_rate},
};

const MS: Duration = Duration::from_millis(1);

fn median(times: &[Duration]) -> Duration {
    times[times.len() / 2]
}

/// Says so where the kernel has no netem.
pub(crate) fn has_netem(test: &str) -> bool {
    Netem::probe("/proc".as_ref()).inspect_err(|reason| eprintln!("SKIPPED {test}: {reason}")).is_ok()
}

/// The relay is tested everywhere, netem where it is. Where software emulates the processors, the relay would take minutes
/// and show nothing that it does not show on real ones.
pub(crate) fn means(test: &str) -> Vec<&'static str> {
    let netem = has_netem(&format!("{test} (with netem)")).then_some("netem");
    let emulated = std::fs::read_to_string("/proc/cpuinfo").unwrap().contains("QEMU TCG");
    let relay = (netem.is_none() || !emulated).then_some("relay");
    relay.into_iter().chain(netem).collect()
}

/// The median is the quietest moment's on a busy machine: it may be late, never early.
fn assert_later(what: &str, scene: &Scene, by: Duration) -> Vec<Duration> {
    let times = round_trips(scene, 40);
    eprintln!("{what}: {:?} there and back ({:?} to {:?})", median(&times), times[0], times[times.len() - 1]);
    assert!(times[0] >= by && times[0] < by + 10 * MS, "{what}: {times:?}");
    times
}

#[test]
fn each_way_adds_its_delay_and_then_everything_is_as_before() {
    on_a_host("each-way", |scene| {
        let before = scene.dump();
        let without = median(&round_trips(scene, 40));
        eprintln!("without injection: {without:?} there and back");
        for means in means("each-way") {
            for (way, delays) in [("both", 2), ("egress", 1), ("ingress", 1)] {
                let running = scene
                    .start(&format!("net-delay --intensity 20ms --direction {way} --means {means}"), FOREVER);
                let pids = running.pids();
                assert_eq!(running.started["details"]["means"].as_str(), Some(means));
                assert_later(&format!("net-delay 20 ms, {way}, {means}"), scene, 20 * MS * delays);
                end(running);
                scene.assert_as_before(&before, pids);
            }
        }
        assert!(round_trips(scene, 40)[0] < 10 * MS);
    });
}

#[test]
fn jitter_is_around_the_delay() {
    on_a_host("jitter", |scene| {
        for means in means("jitter") {
            let running = scene.start(
                &format!("net-delay --intensity 20ms --jitter 15ms --direction egress --means {means}"),
                FOREVER,
            );
            let times = round_trips(scene, 60);
            eprintln!("net-delay 20 ms +- 15 ms, {means}: {:?} to {:?}", times[0], times[times.len() - 1]);
            assert!(times[0] >= 5 * MS && times[0] < 15 * MS, "{times:?}");
            assert!(times[times.len() - 1] > 25 * MS, "{times:?}");
            end(running);
        }
    });
}

#[test]
fn segmented_sends_pass_the_relay() {
    on_a_host("segmented", |scene| {
        let without = tcp_rate(scene, To::Container, Duration::from_secs(1));
        let running = scene.start("net-delay --intensity 2ms --means relay", FOREVER);
        let rates = [To::Container, To::Host].map(|to| tcp_rate(scene, to, Duration::from_secs(1)));
        eprintln!(
            "TCP's data in Mbit/s: {:.0} without a relay, {:.0} and {:.0} with one",
            without / 1e6,
            rates[0] / 1e6,
            rates[1] / 1e6
        );
        // Without segments TCP would carry a full frame for each of its timeouts.
        assert!(rates.iter().all(|rate| *rate > 1e6), "{rates:?}");
        end(running);
    });
}

#[test]
fn limits_in_force_go_on_holding() {
    on_a_host("holding", |scene| {
        // What the target receives is held at the host's end, before the delay with netem, after it with the relay.
        scene.control().set_limit(mbits(0.0, 20.0)).unwrap();
        let before = scene.dump();
        for means in means("holding") {
            let running = scene.start(&format!("net-delay --intensity 10ms --means {means}"), FOREVER);
            let pids = running.pids();
            assert_later(&format!("with a limit of ingress, {means}"), scene, 20 * MS);
            let rate = tcp_rate(scene, To::Container, Duration::from_secs(1));
            eprintln!("with a limit of 20 Mbit/s, {means}: {:.3} Mbit/s of TCP's data", rate / 1e6);
            assert!(rate < 1.1 * 20e6 * TCP_SHARE, "{rate}");
            end(running);
            scene.assert_as_before(&before, pids);
        }
        // What it sends is held where the host receives it: a relay of egress alone fits in beside.
        scene.control().set_limit(mbits(20.0, 20.0)).unwrap();
        let before = scene.dump();
        let running = scene.start("net-delay --intensity 10ms --direction egress --means relay", FOREVER);
        let pids = running.pids();
        assert_later("with limits both ways, egress, relay", scene, 10 * MS);
        end(running);
        scene.assert_as_before(&before, pids);
    });
}
