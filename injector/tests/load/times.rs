//! Latency counts from the moment at which a request was due.

use std::time::Duration;

use crate::{
    server::{OK, Reply, Server},
    shared::number,
    support::{count, report, start},
};

#[test]
fn a_stall_shows_in_every_request_that_was_due_meanwhile() {
    let server = Server::start(|_, _| Reply::keep(OK));
    // 400 requests, 120 of them due within the stall; one connection, so that service times alone would show it once.
    let load = start(&server.url(), "--rate 400 --gaps uniform --duration 1s --connections 1");
    server.stall(Duration::from_millis(300), Duration::from_millis(300));
    let (_, report) = load.end();
    assert_eq!(count(&report["answered"]), 400, "{report}");
    let (latency, service) = (&report["latency_seconds"], &report["service_seconds"]);
    // 40 of 400 waited at least 200 ms, which is the tenth that p90 begins; half of the stalled at least 150 ms.
    assert!(number(&latency["p90"]) > 0.15, "{report}");
    assert!(number(&latency["max"]) > 0.25, "{report}");
    // The one request that was under way is all that service times tell of it.
    assert!(number(&service["p90"]) < 0.1 && number(&service["max"]) > 0.25, "{report}");
    assert!(number(&report["send_error_seconds"]["p90"]) > 0.15, "{report}");
}

#[test]
fn a_stall_of_a_server_with_enough_connections_shows_in_the_service_time() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let load = start(&server.url(), "--rate 400 --gaps uniform --duration 1s --connections 400");
    server.stall(Duration::from_millis(300), Duration::from_millis(300));
    let (_, report) = load.end();
    assert_eq!(count(&report["answered"]), 400, "{report}");
    assert!(number(&report["latency_seconds"]["p90"]) > 0.15, "{report}");
    assert!(number(&report["service_seconds"]["p90"]) > 0.15, "{report}");
}

#[test]
fn shapes_are_sent_as_asked() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let requested = |arguments: &str| {
        let report = report(&server.url(), &format!("{arguments} --gaps uniform"));
        report["each_second"].as_array().unwrap()[..2]
            .iter()
            .map(|second| count(&second["requested"]))
            .collect()
    };
    let ramp: Vec<u64> = requested("--rate 0 --ramp-to 200 --duration 2s");
    assert_eq!(ramp, [50, 150]);
    let diurnal: Vec<u64> = requested("--rate 50 --diurnal-to 150 --period 1s --duration 2s");
    assert_eq!(diurnal, [100, 100]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    std::fs::write(&file, "# requests per second\n30\n70\n").unwrap();
    let trace: Vec<u64> = requested(&format!("--trace {}", file.display()));
    assert_eq!(trace, [30, 70]);
}

#[test]
fn the_same_seed_sends_the_same_number_each_second() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let bursty = "--rate 50 --burst-to 500 --burst-length 100ms --burst-gap 200ms --duration 1s --seed";
    let requested = |seed: u64| count(&report(&server.url(), &format!("{bursty} {seed}"))["requested"]);
    assert_eq!(requested(5), requested(5));
    assert_ne!([requested(5), requested(5)], [requested(6), requested(7)]);
}
