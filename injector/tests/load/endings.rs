//! How a load ends, and what is told then.

use std::{fs, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    server::{OK, Reply, Server},
    shared::{number, pause},
    support::{command, count, start},
};

#[test]
fn signals_end_it_and_what_was_done_is_reported() {
    let server = Server::start(|_, _| Reply::keep(OK));
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let load = start(&server.url(), "--rate 100 --duration 1m");
        pause(Duration::from_millis(500));
        load.signal(signal);
        let (code, report) = load.end();
        assert_eq!((code, report["ending"].as_str()), (Some(7), Some("interrupted")), "{report}");
        let lasted = number(&report["duration_seconds"]);
        assert!((0.4..30.0).contains(&lasted), "{report}");
        assert!(count(&report["answered"]) > 10, "{report}");
    }
}

#[test]
fn answers_that_are_owed_at_a_signal_are_unfinished() {
    let server = Server::start(|_, _| Reply::keep(""));
    let load = start(&server.url(), "--rate 100 --duration 1m --connections 10 --timeout 1m");
    pause(Duration::from_millis(500));
    load.signal(Signal::SIGINT);
    let (code, report) = load.end();
    let errors = &report["errors"];
    assert_eq!((code, count(&errors["unfinished"])), (Some(7), 10), "{report}");
    assert_eq!(count(&errors["unsent"]), count(&report["requested"]) - 10, "{report}");
}

#[test]
fn a_signal_ends_the_wait_for_answers_too() {
    let server = Server::start(|_, _| Reply::keep(""));
    let load = start(&server.url(), "--rate 100 --duration 100ms --timeout 1m");
    pause(Duration::from_millis(500));
    load.signal(Signal::SIGINT);
    let (code, report) = load.end();
    assert_eq!((code, report["duration_seconds"].as_f64()), (Some(7), Some(0.1)), "{report}");
    assert_eq!(count(&report["errors"]["unfinished"]), count(&report["requested"]), "{report}");
}

#[test]
fn the_end_of_standard_input_ends_it_when_asked_for() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let mut load = start(&server.url(), "--rate 100 --duration 1m --until-stdin-closes");
    drop(load.child.stdin.take());
    let (code, report) = load.end();
    assert_eq!((code, report["ending"].as_str()), (Some(0), Some("stdin_closed")), "{report}");
}

#[test]
fn a_guard_ends_it_and_says_why() {
    let server = Server::start(|_, _| Reply::keep(OK));
    // Well when it is asked before the load begins, and never again.
    let failing = Server::start(|number, _| {
        if number == 0 {
            Reply::keep(OK)
        } else {
            Reply::close("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        }
    });
    let guard = format!("--probe {} --probe-within 1s --probe-misses 1", failing.url());
    let (code, report) = start(&server.url(), &format!("--rate 100 --duration 1m {guard}")).end();
    assert_eq!((code, report["ending"].as_str()), (Some(10), Some("guarded")), "{report}");
    assert!(report["guard"].as_str().unwrap().contains("missed"), "{report}");
    // Nobody listens there any more.
    let gone = Server::start(|_, _| Reply::keep(OK)).url();
    for guard in ["--min-memory 1e18B".to_owned(), format!("--probe {gone} --probe-within 1s")] {
        let refused = command(&server.url(), &format!("--rate 1 --duration 1s {guard}")).output().unwrap();
        assert_eq!(refused.status.code(), Some(9), "{refused:?}");
    }
}

#[test]
fn json_lines_and_the_log_hold_the_ground_truth() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("truth.jsonl");
    for _ in 0..2 {
        let arguments = format!("--rate 100 --ramp-to 300 --duration 500ms --log {}", log.display());
        let load = start(&server.url(), &arguments);
        let started = load.started.clone();
        assert_eq!((started["kind"].as_str(), started["shape"].as_str()), (Some("load"), Some("ramp")));
        assert_eq!((started["from"].as_f64(), started["to"].as_f64()), (Some(100.0), Some(300.0)));
        assert_eq!(started["target"], server.url());
        let (_, mut ended) = load.end();
        for times in ["latency_seconds", "service_seconds", "send_error_seconds"] {
            let at: Vec<f64> =
                ["p50", "p90", "p99", "p99_9", "max"].map(|name| number(&ended[times][name])).into();
            assert!(at.is_sorted() && at[0] >= 0.0, "{times}: {at:?}");
        }
        let nanos = count(&ended["ended_unix_nanos"]) - count(&started["started_unix_nanos"]);
        assert_eq!(nanos, 500_000_000);
        let last = fs::read_to_string(&log).unwrap();
        let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
        ended.as_object_mut().unwrap().remove("event");
        assert_eq!(last, ended);
    }
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

#[test]
fn a_rate_is_told_each_second() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let arguments = "--rate 100 --gaps uniform --duration 2500ms --json --live";
    let output = command(&server.url(), arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "progress", "progress", "ended"], "{text}");
    assert!(lines[1..3].iter().all(|line| (50.0..150.0).contains(&number(&line["lately"]))), "{text}");
}

#[test]
fn people_read_a_summary() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let output = command(&server.url(), "--rate 100 --gaps uniform --duration 1100ms").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for told in [
        "completed",
        "requested   110 requests, 100.0/s",
        "110 2xx",
        "errors      none",
        "p99.9",
        "until       requested",
    ] {
        assert!(text.contains(told), "{told:?} is not in {text}");
    }
    // No terminal, no progress line.
    assert!(output.stderr.is_empty());
}
