//! Delays that others make with netem, as chaos tools do: kept, and no hindrance where they are not in the way.

use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use crate::{
    others::assert_untouched,
    rates::{assert_within_five_percent, limit},
    stage::{Container, HOST_ADDRESS, NONE, dump, on_a_host, on_a_limiting_host, run},
    transfer::{Transfer, Way, now},
};

const DELAY: Duration = Duration::from_millis(30);

/// As [`on_a_limiting_host`], where the kernel has netem.
fn with_netem(test: &str, work: impl FnOnce() + Send) {
    let mut has_netem = false;
    on_a_host(test, || {
        let attempt = Command::new("tc").args(["qdisc", "add", "dev", "lo", "root", "netem"]).output();
        has_netem = attempt.is_ok_and(|attempt| attempt.status.success());
        if !has_netem {
            eprintln!("SKIPPED {test}: this kernel has no netem");
        }
    });
    if has_netem {
        work();
    }
}

#[test]
fn a_netem_of_others_where_a_limit_would_go_is_untouched() {
    with_netem("a_netem_of_others_where_a_limit_would_go_is_untouched", || {
        let command = "qdisc add dev host0 root handle 7: netem delay 30ms";
        assert_untouched(&[command], "ingress", "the qdisc netem 7:");
    });
}

#[test]
fn a_delay_at_the_containers_own_end_stays_and_the_rate_holds() {
    let test = "a_delay_at_the_containers_own_end_stays_and_the_rate_holds";
    with_netem(test, || {
        on_a_limiting_host(test, || {
            let container = Container::with_network("host0", 1000);
            container.inside(|| run("tc", "qdisc add dev eth0 root handle 7: netem delay 30ms limit 10000"));
            // Not what the link says of its carrier, which comes a while after the other end.
            let theirs = || container.inside(|| run("tc", "qdisc show"));
            let both_ends = || (dump(), theirs());
            let (control, before) = (container.control(), both_ends());
            for way in Way::BOTH {
                control.set_limit(limit(way, 20.0)).unwrap();
                assert_eq!(theirs(), before.1, "theirs changes with no limit of ours");
                println!(
                    "{test}: asked for a delay of {DELAY:?}, connected in {:?}",
                    time_to_connect(&container)
                );
                let transfer = Transfer::start(&container, way);
                let measure = || transfer.measure(&control, way, Duration::from_secs(4));
                assert_within_five_percent(way, 20.0, measure);
                drop(transfer);
                control.set_limit(NONE).unwrap();
                assert_eq!(both_ends(), before);
            }
        });
    });
}

/// The first packet of the container waits; the answer does not.
fn time_to_connect(container: &Container) -> Duration {
    let listener = TcpListener::bind((HOST_ADDRESS, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let time = container.inside(|| {
        let began = now();
        TcpStream::connect(address).unwrap();
        began.elapsed()
    });
    assert!(time >= DELAY, "{time:?}");
    time
}
