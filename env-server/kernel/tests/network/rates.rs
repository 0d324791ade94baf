//! What TCP gets of a limit. Its frames are not counted where they arrive: that is what `datagrams` does.

use std::time::Duration;

use ballast_api::Limit;

use crate::{
    stage::{Container, HOST_ADDRESS, Limits, NONE, dump, mbits, on_a_limiting_host, run},
    transfer::{Achieved, Transfer, Way, sent_by_htb},
};

/// Of a full-size frame of 1514 bytes, 1448 are TCP's payload.
const PAYLOAD_SHARE: f64 = 1448.0 / 1514.0;

/// So often a rate is measured, at most.
const ATTEMPTS: usize = 4;

pub(crate) fn limit(way: Way, mbit: f64) -> Limits {
    match way {
        Way::Egress => mbits(mbit, 0.0),
        Way::Ingress => mbits(0.0, mbit),
    }
}

/// What was asked for, within 5 %; of payload, as much as fits into that. A machine that does something else meanwhile gives
/// less, never more: one measurement of several has to be right, and none may be above.
pub(crate) fn assert_within_five_percent(way: Way, mbit: f64, mut measure: impl FnMut() -> Achieved) {
    let mut less = Vec::new();
    for _ in 0..ATTEMPTS {
        match shortfall(way, mbit, measure()) {
            None => return,
            Some(shortfall) => less.push(shortfall),
        }
    }
    panic!("{way:?} {mbit}: less than asked: {less:?}");
}

fn shortfall(way: Way, mbit: f64, achieved: Achieved) -> Option<String> {
    let share = |rate: f64| rate / (mbit * 1e6);
    let (wire, interface, goodput) =
        (share(achieved.wire), share(achieved.interface), share(achieved.goodput));
    println!(
        "{way:?}: asked {mbit} Mbit/s, got {:.3} on the wire ({:+.2} %), {:.3} by the interface ({:+.2} %), \
         {:.3} of payload ({:+.2} %)",
        achieved.wire / 1e6,
        (wire - 1.0) * 100.0,
        achieved.interface / 1e6,
        (interface - 1.0) * 100.0,
        achieved.goodput / 1e6,
        (goodput - 1.0) * 100.0,
    );
    assert!(wire <= 1.05, "{way:?} {mbit}: {wire} on the wire");
    assert!(goodput / PAYLOAD_SHARE <= 1.05, "{way:?} {mbit}: {goodput} of payload");
    // A segmented send shows there with one set of headers: anything between payload and wire. Egress is counted before
    // it waits, and at low rates seconds' worth of it may.
    let counts_there = way == Way::Ingress || mbit >= 20.0;
    assert!(!counts_there || interface <= 1.05, "{way:?} {mbit}: {interface} by the interface");
    let is_short =
        wire < 0.95 || goodput / PAYLOAD_SHARE < 0.95 || counts_there && interface < PAYLOAD_SHARE * 0.95;
    is_short
        .then(|| format!("{wire:.3} on the wire, {interface:.3} by the interface, {goodput:.3} of payload"))
}

fn assert_tcp_gets(test: &str, rates: &[(f64, u64)]) {
    on_a_limiting_host(test, || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        for &(mbit, seconds) in rates {
            for way in Way::BOTH {
                assert_eq!(control.set_limit(limit(way, mbit)).unwrap(), limit(way, mbit));
                let transfer = Transfer::start(&container, way);
                let time = Duration::from_secs(seconds);
                assert_within_five_percent(way, mbit, || transfer.measure(&control, way, time));
                drop(transfer);
                control.set_limit(NONE).unwrap();
            }
        }
    });
}

#[test]
fn tcp_gets_the_rate_asked_for_both_ways() {
    assert_tcp_gets("tcp_gets_the_rate_asked_for_both_ways", &[(1.0, 10), (20.0, 3), (100.0, 3)]);
}

/// Apart, for emulated processors carry hardly more than that.
#[test]
fn tcp_gets_a_high_rate_both_ways() {
    assert_tcp_gets("tcp_gets_a_high_rate_both_ways", &[(400.0, 3)]);
}

#[test]
fn a_live_change_keeps_the_queue_and_its_counters() {
    on_a_limiting_host("a_live_change_keeps_the_queue_and_its_counters", || {
        for way in Way::BOTH {
            let container = Container::with_network("host0", 1000);
            let control = container.control();
            control.set_limit(limit(way, 20.0)).unwrap();
            let transfer = Transfer::start(&container, way);
            let measure = || transfer.measure(&control, way, Duration::from_secs(2));
            assert_within_five_percent(way, 20.0, measure);
            let sent = sent_by_htb(&control, way);
            control.set_limit(limit(way, 40.0)).unwrap();
            assert!(sent_by_htb(&control, way) >= sent, "the class began anew");
            assert_within_five_percent(way, 40.0, measure);
            drop(transfer);
            run("ip", "link del dev host0");
            ballast_kernel::network::sweep().unwrap();
        }
    });
}

#[test]
fn undoing_after_traffic_leaves_everything_as_it_was() {
    on_a_limiting_host("undoing_after_traffic_leaves_everything_as_it_was", || {
        for queue_length in [0, 1000, 77] {
            let container = Container::with_network("host0", queue_length);
            let control = container.control();
            let before = dump();
            let set = control.set_limit(mbits(50.0, 50.0)).unwrap();
            assert_eq!((set, control.limit().unwrap()), (mbits(50.0, 50.0), mbits(50.0, 50.0)));
            assert_ne!(dump(), before);
            let transfers = Way::BOTH.map(|way| Transfer::start(&container, way));
            let held = transfers[0].measure(&control, Way::Egress, Duration::from_secs(1));
            assert!(held.goodput < 55e6, "{held:?}");
            let free = control.set_limit(NONE).unwrap();
            assert_eq!(free, NONE);
            assert_eq!(dump(), before, "queue length {queue_length}");
            // And it does carry more again.
            let free = transfers[0].measure(&control, Way::Egress, Duration::from_secs(1));
            println!("without a limit again: {:.0} Mbit/s", free.goodput / 1e6);
            assert!(free.goodput > 200e6, "{free:?}");
            assert!(matches!(control.limit().unwrap().egress, Limit::Max));
            drop(transfers);
            run("ip", "link del dev host0");
        }
    });
}

#[test]
fn a_veth_in_a_bridge_is_limited_too() {
    on_a_limiting_host("a_veth_in_a_bridge_is_limited_too", || {
        // As Docker and most of Kubernetes connect containers.
        let container = Container::with_network("host0", 0);
        run("ip", &format!("address del {HOST_ADDRESS}/30 dev host0"));
        run("ip", "link add bridge0 type bridge");
        run("ip", "link set dev host0 master bridge0");
        run("ip", &format!("address add {HOST_ADDRESS}/30 dev bridge0"));
        run("ip", "link set dev bridge0 up");
        let control = container.control();
        control.set_limit(mbits(20.0, 20.0)).unwrap();
        for way in Way::BOTH {
            let transfer = Transfer::start(&container, way);
            let measure = || transfer.measure(&control, way, Duration::from_secs(2));
            assert_within_five_percent(way, 20.0, measure);
        }
    });
}
