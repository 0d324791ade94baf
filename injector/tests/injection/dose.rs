//! The dose and the time are what was asked.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::{
    shared::number,
    support::{Ended, Stage, assert_on_time},
};

/// Percentage points by which a dose may be off on a busy machine; what was measured is printed.
const TOLERANCE: f64 = 0.05;

fn assert_dose(ended: &Ended, asked_cores: f64) {
    let Ended { code, report } = ended;
    assert_eq!((*code, report["ending"].as_str()), (Some(0), Some("completed")), "{report}");
    let achieved = number(&report["achieved"]);
    eprintln!("dose {asked_cores} cores: achieved {achieved:.4}");
    assert!((number(&report["requested"]) - asked_cores).abs() < 1e-9, "{report}");
    assert!((achieved - asked_cores).abs() < TOLERANCE, "{report}");
    assert_on_time(report);
}

#[test]
fn a_free_running_dose_is_exact() {
    let Some(stage) = Stage::set("dose") else { return };
    for cores in [0.2, 0.5, 0.8] {
        let usage_before = stage.cpu().counters().unwrap().usage;
        let ended = stage.inject_to_the_end(&cores.to_string(), "3s", &[]);
        assert_dose(&ended, cores);
        // The kernel's count for the target agrees: the load was inside.
        let counted = (stage.cpu().counters().unwrap().usage - usage_before).as_secs_f64() / 3.0;
        assert!((counted - number(&ended.report["achieved"])).abs() < 0.02, "{counted} counted");
        let seconds = ended.report["achieved_each_second"].as_array().unwrap();
        assert_eq!(seconds.len(), 3, "{seconds:?}");
    }
}

#[test]
fn a_percentage_is_of_the_limit() {
    let Some(stage) = Stage::set("percent") else { return };
    stage.limit(0.5);
    let ended = stage.inject_to_the_end("80%", "3s", &[]);
    assert_eq!(ended.report["intensity_basis"], "target_limit");
    assert_eq!(ended.report["target_limit"], 0.5);
    assert_dose(&ended, 0.4);
}

#[test]
fn a_throttled_dose_ends_on_time_and_says_what_it_got() {
    let Some(stage) = Stage::set("throttled") else { return };
    stage.limit(0.1);
    let Ended { code, report } = stage.inject_to_the_end("1", "2s", &[]);
    assert_eq!(code, Some(0), "{report}");
    assert_on_time(&report);
    let achieved = number(&report["achieved"]);
    assert!((0.05..0.2).contains(&achieved), "{report}");
}

#[test]
fn a_busy_target_loses_its_share_to_the_load() {
    let Some(mut stage) = Stage::set("contended") else { return };
    stage.limit(0.2);
    stage.occupy("sh", &["-c", "while :; do :; done"]);
    let usage_before = stage.cpu().counters().unwrap().usage;
    let Ended { report, .. } = stage.inject_to_the_end("80%", "5s", &[]);
    let used = (stage.cpu().counters().unwrap().usage - usage_before).as_secs_f64();
    let injected = number(&report["achieved"]) * number(&report["duration_seconds"]);
    let (load, target) = (injected / 5.0, (used - injected) / 5.0);
    eprintln!("limit 0.2, dose 0.16: the load took {load:.4} cores, the target {target:.4}");
    // Alone, it used all of its 0.2.
    assert!(load > 0.12, "{report}");
    assert!(target < 0.10, "{target}");
}

#[test]
fn what_is_achieved_is_told_each_second() {
    let Some(stage) = Stage::set("live") else { return };
    let output = stage.command("0.3", "2500ms", &["--live"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "progress", "progress", "ended"], "{text}");
    for (line, second) in lines[1..3].iter().zip([1.0, 2.0]) {
        assert!((second..second + 1.0).contains(&number(&line["elapsed_seconds"])), "{line}");
        assert!((number(&line["lately"]) - 0.3).abs() < TOLERANCE, "{line}");
    }
}

#[test]
fn the_ground_truth_is_appended_to_the_log() {
    let Some(stage) = Stage::set("log") else { return };
    let log = stage.folder.path().join("truth.jsonl");
    for _ in 0..2 {
        let before = stage.inject("0.1", "300ms", &["--log", log.to_str().unwrap(), "--threads", "1"]);
        let started = before.started.clone();
        let ended = before.end();
        let lines = fs::read_to_string(&log).unwrap();
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(last["kind"], "cpu");
        assert_eq!(last["target"], stage.cgroup.path().as_str());
        assert_eq!(last["started_unix_nanos"], started["started_unix_nanos"]);
        assert_eq!(last["achieved"], ended.report["achieved"]);
        let nanos = |key: &str| Duration::from_nanos(last[key].as_u64().unwrap());
        let lasted = nanos("ended_unix_nanos") - nanos("started_unix_nanos");
        assert!((lasted.as_secs_f64() - number(&last["duration_seconds"])).abs() < 1e-6, "{last}");
    }
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}
