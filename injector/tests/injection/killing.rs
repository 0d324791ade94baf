//! However an injection ends, nothing is left.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{
    shared::{kill_if_there, pause, signal},
    support::{Stage, await_true},
};

/// Long enough that only the kill can end it.
const FOREVER: &str = "10m";

#[test]
fn a_polite_signal_ends_it_and_is_told() {
    let Some(stage) = Stage::set("polite") else { return };
    for asked in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let running = stage.inject("0.3", FOREVER, &[]);
        let pids = running.pids();
        signal(pids[0], asked);
        let ended = running.end();
        assert_eq!((ended.code, &ended.report["ending"]), (Some(7), &"interrupted".into()), "{asked}");
        assert_eq!(stage.left(pids), Vec::<String>::new(), "{asked}");
    }
}

#[test]
fn the_end_of_standard_input_ends_it_if_asked_for() {
    let Some(stage) = Stage::set("stdin") else { return };
    let mut running = stage.inject("0.3", FOREVER, &["--until-stdin-closes"]);
    let pids = running.pids();
    drop(running.supervisor.stdin.take());
    let ended = running.end();
    assert_eq!((ended.code, &ended.report["ending"]), (Some(0), &"stdin_closed".into()));
    assert_eq!(stage.left(pids), Vec::<String>::new());
}

#[test]
fn a_killed_supervisor_leaves_nothing() {
    let Some(stage) = Stage::set("supervisor") else { return };
    // Throttled, the worker itself would be slow to end.
    stage.limit(0.05);
    for delay_ms in [0, 7, 50, 130] {
        let running = stage.inject("1", FOREVER, &[]);
        let pids = running.pids();
        pause(Duration::from_millis(delay_ms));
        signal(pids[0], Signal::SIGKILL);
        let took = stage.assert_nothing_left(pids);
        eprintln!("supervisor killed: nothing left after {took:?}");
        assert_eq!(running.end().code, None);
    }
}

#[test]
fn a_supervisor_killed_while_it_begins_leaves_nothing_after_one_restore() {
    let Some(stage) = Stage::set("beginning") else { return };
    for delay_us in (0..15_000).step_by(500) {
        let mut supervisor = stage.command("0.3", FOREVER, &[]).spawn().unwrap();
        pause(Duration::from_micros(delay_us));
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        // The janitor, if there is one yet, may be at it too: nobody disturbs the other.
        stage.restore();
        stage.assert_nothing_left([supervisor.id(); 3]);
        await_true(
            "the target is empty",
            || stage.cgroup.pids().unwrap().is_empty(),
            || format!("{:?}", stage.cgroup.pids()),
        );
    }
}

#[test]
fn a_killed_worker_is_told_and_cleaned_up() {
    let Some(stage) = Stage::set("worker") else { return };
    let running = stage.inject("0.3", FOREVER, &[]);
    let pids = running.pids();
    pause(Duration::from_millis(300));
    signal(running.worker, Signal::SIGKILL);
    let ended = running.end();
    assert_eq!((ended.code, &ended.report["ending"]), (Some(6), &"worker_killed".into()));
    assert!(ended.report["achieved"].as_f64().unwrap() > 0.0, "{}", ended.report);
    assert_eq!(stage.left(pids), Vec::<String>::new());
}

#[test]
fn without_janitor_the_supervisor_cleans_up() {
    let Some(stage) = Stage::set("janitor") else { return };
    let running = stage.inject("0.3", "1s", &[]);
    let pids = running.pids();
    signal(running.janitor, Signal::SIGKILL);
    assert_eq!(running.end().code, Some(0));
    assert_eq!(stage.left(pids), Vec::<String>::new());
}

#[test]
fn killed_supervisor_and_worker_leave_nothing() {
    let Some(stage) = Stage::set("both") else { return };
    for supervisor_first in [true, false] {
        let running = stage.inject("0.3", FOREVER, &[]);
        let pids = running.pids();
        let order = if supervisor_first { [pids[0], pids[1]] } else { [pids[1], pids[0]] };
        // Once the first is dead, the janitor kills the other one too, and may be faster.
        order.iter().for_each(|pid| kill_if_there(*pid));
        stage.assert_nothing_left(pids);
        assert_eq!(stage.restore()["removed"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn after_all_three_were_killed_one_restore_leaves_nothing() {
    let Some(stage) = Stage::set("all") else { return };
    let running = stage.inject("0.3", FOREVER, &[]);
    let pids = running.pids();
    // The janitor first, so that it cannot clean up.
    [running.janitor, pids[0], running.worker].into_iter().for_each(kill_if_there);
    drop(running);
    await_true(
        "the journal entry is left alone",
        || stage.left(pids).len() == 1,
        || format!("{:?}", stage.left(pids)),
    );
    let restored = stage.restore();
    assert_eq!(restored["removed"][0]["target"], stage.cgroup.path().as_str(), "{restored}");
    stage.assert_nothing_left(pids);
}

#[test]
fn a_worker_without_supervisor_and_janitor_ends_by_itself() {
    let Some(stage) = Stage::set("orphan") else { return };
    let running = stage.inject("0.3", FOREVER, &[]);
    let [supervisor, worker, janitor] = running.pids();
    signal(janitor, Signal::SIGKILL);
    signal(supervisor, Signal::SIGKILL);
    await_true(
        "the worker has ended",
        || stage.cgroup.pids().unwrap().is_empty(),
        || format!("worker {worker} has not"),
    );
    drop(running);
    // The next injection does what `restore` does.
    assert_eq!(stage.inject_to_the_end("0.3", "200ms", &[]).code, Some(0));
    assert_eq!(stage.left([supervisor, worker, janitor]), Vec::<String>::new());
}

#[test]
fn a_stopped_supervisor_does_not_prolong_the_load() {
    let Some(stage) = Stage::set("frozen") else { return };
    let running = stage.inject("0.3", "1s", &[]);
    let pids = running.pids();
    signal(pids[0], Signal::SIGSTOP);
    pause(Duration::from_millis(1200));
    let usage = stage.cpu().counters().unwrap().usage;
    pause(Duration::from_millis(300));
    assert_eq!(stage.cpu().counters().unwrap().usage, usage);
    signal(pids[0], Signal::SIGCONT);
    assert_eq!(running.end().code, Some(0));
    assert_eq!(stage.left(pids), Vec::<String>::new());
}

#[test]
fn restore_leaves_running_injections_alone() {
    let Some(stage) = Stage::set("alone") else { return };
    // On a slow machine, a start takes its time.
    let running = stage.inject("0.3", "3s", &[]);
    let pids = running.pids();
    let restored = stage.restore();
    assert_eq!(restored["running"], serde_json::json!([running.started["id"]]), "{restored}");
    assert_eq!(running.end().code, Some(0));
    assert_eq!(stage.left(pids), Vec::<String>::new());
}
