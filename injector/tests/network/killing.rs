//! However an injection ends, the network is as it was before.

use std::time::Duration;

use ballast_injector::clocks;
use nix::sys::signal::Signal;

use crate::{
    delay::has_netem,
    shared::signal,
    stage::{FOREVER, Scene, dump, mbits, on_a_host},
    support::{NOBODY, await_true},
    traffic::{round_trips, with_echo},
};

/// One of each that this kernel can do.
fn kinds(test: &str) -> Vec<&'static str> {
    let netem =
        has_netem(&format!("{test} (with netem)")).then_some("net-delay --intensity 1ms --means netem");
    let others = ["net-bandwidth --intensity 10Mbit/s", "net-delay --intensity 1ms --means relay"];
    others.into_iter().chain(netem).collect()
}

fn limited(scene: &Scene, kind: &str) -> String {
    if kind.starts_with("net-bandwidth") {
        scene.control().set_limit(mbits(40.0, 80.0)).unwrap();
    } else {
        scene.control().set_limit(mbits(0.0, 0.0)).unwrap();
    }
    scene.dump()
}

#[test]
fn a_killed_supervisor_leaves_nothing() {
    on_a_host("supervisor", |scene| {
        for kind in kinds("supervisor") {
            let before = limited(scene, kind);
            let running = scene.start(kind, FOREVER);
            let pids = running.pids();
            signal(pids[0], Signal::SIGKILL);
            let took = scene.stage.assert_nothing_left(pids);
            eprintln!("{kind}: supervisor killed, nothing left after {took:?}");
            scene.assert_same(&before);
            assert_eq!(running.end().code, None);
            round_trips(scene, 1);
        }
    });
}

#[test]
fn after_supervisor_and_janitor_were_killed_one_restore_leaves_nothing() {
    on_a_host("restore", |scene| {
        for kind in kinds("restore") {
            let before = limited(scene, kind);
            let running = scene.start(kind, FOREVER);
            let pids = running.pids();
            signal(running.janitor, Signal::SIGKILL);
            signal(pids[0], Signal::SIGKILL);
            drop(running);
            let restored = scene.stage.restore();
            assert_eq!(restored["removed"].as_array().unwrap().len(), 1, "{restored}");
            scene.assert_as_before(&before, pids);
            // Once more, there is nothing to do.
            assert_eq!(scene.stage.restore()["removed"].as_array().unwrap().len(), 0);
            round_trips(scene, 1);
        }
    });
}

#[test]
fn killed_at_any_moment_of_its_beginning_it_leaves_nothing_after_one_restore() {
    on_a_host("beginning", |scene| {
        for kind in kinds("beginning") {
            let before = limited(scene, kind);
            for delay_us in (0..40_000).step_by(4000) {
                let what: Vec<_> = kind.split_whitespace().chain(["--target"]).collect();
                let mut supervisor = scene.stage.command_of(&what, FOREVER, &[]).spawn().unwrap();
                clocks::sleep_until(clocks::monotonic() + Duration::from_micros(delay_us));
                supervisor.kill().unwrap();
                supervisor.wait().unwrap();
                scene.stage.restore();
                scene.assert_as_before(&before, [supervisor.id(), NOBODY, NOBODY]);
            }
        }
    });
}

#[test]
fn how_long_a_killed_relay_leaves_the_target_without_network() {
    on_a_host("hole", |scene| {
        let running = scene.start("net-delay --intensity 1ms --means relay", FOREVER);
        let (hole, _) = with_echo(scene, |echo| {
            echo.round_trip(u32::MAX, Duration::from_secs(5)).unwrap();
            let killed = clocks::monotonic();
            signal(running.supervisor.id(), Signal::SIGKILL);
            let back = (0..1000).any(|number| echo.round_trip(number, Duration::from_millis(5)).is_some());
            assert!(back);
            clocks::monotonic() - killed
        });
        eprintln!("relay killed: the target was without network for {hole:?} at most");
        scene.stage.assert_nothing_left(running.pids());
    });
}

#[test]
fn a_container_that_ends_in_the_midst_takes_everything_with_it() {
    for kind in kinds("midst") {
        on_a_host("midst", |scene| {
            let running = scene.start(kind, FOREVER);
            let pids = running.pids();
            scene.end_container();
            let ended = running.end();
            assert_eq!((ended.code, &ended.report["ending"]), (Some(5), &"target_gone".into()), "{kind}");
            scene.stage.assert_nothing_left(pids);
            let only_loopback = || {
                dump().lines().next().is_some()
                    && !dump().contains("veth")
                    && !dump().contains("ballast")
                    && !dump().contains("detour")
            };
            await_true("only the loopback interface is left", only_loopback, dump);
        });
    }
}
