//! A share of the packets lost.

use crate::{
    delay::means,
    stage::{FOREVER, end, on_a_host},
    traffic::{round_trips, shower},
};

const SENT: u32 = 6000;
/// Four standard deviations of 5 % of so many, and a little for a busy machine.
const MARGIN: f64 = 0.015;

#[test]
fn the_share_that_is_lost_is_the_one_asked_for_each_way() {
    on_a_host("share", |scene| {
        let before = scene.dump();
        round_trips(scene, 1);
        for means in means("share") {
            for (way, there, back) in [("both", 0.05, 0.05), ("ingress", 0.05, 0.0), ("egress", 0.0, 0.05)] {
                let running = scene
                    .start(&format!("net-loss --intensity 5% --direction {way} --means {means}"), FOREVER);
                let pids = running.pids();
                let fared = shower(scene, SENT);
                let lost = fared.lost();
                eprintln!(
                    "net-loss 5 %, {way}, {means}: lost {:.2} % there and {:.2} % back of {SENT}",
                    100.0 * lost.0,
                    100.0 * lost.1
                );
                assert!(
                    (lost.0 - there).abs() < MARGIN && (lost.1 - back).abs() < MARGIN,
                    "{way}: {fared:?}"
                );
                end(running);
                scene.assert_as_before(&before, pids);
            }
        }
    });
}

#[test]
fn all_of_it_is_a_partition() {
    on_a_host("partition", |scene| {
        round_trips(scene, 1);
        for means in means("partition") {
            let running = scene
                .start(&format!("net-loss --intensity 100% --direction egress --means {means}"), FOREVER);
            let fared = shower(scene, 200);
            assert_eq!((fared.received, fared.returned), (200, 0));
            end(running);
            assert_eq!(shower(scene, 200).returned, 200);
        }
    });
}
