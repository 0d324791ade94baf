//! Campaigns: what was scheduled happens, is told, and ends with the campaign.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    shared::{PROGRAM, pause, signal},
    support::{Stage, await_true},
};

/// Two injections of the stage's own target, at once and half a second later.
fn plan(stage: &Stage, first_lasts: &str) -> String {
    let target = stage.cgroup.path();
    let path = stage.folder.path().join("campaign.toml");
    let text = format!(
        "name = \"two\"\nduration = \"1m\"\n\
         [[injection]]\nat = \"0s\"\nkind = \"cpu\"\ntarget = \"{target}\"\nintensity = \"20%\"\nduration = \"{first_lasts}\"\n\
         [[injection]]\nat = \"500ms\"\nkind = \"pause\"\ntarget = \"{target}\"\nduration = \"300ms\"\n"
    );
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn campaign(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("campaign").args(arguments).arg("--state-dir").arg(stage.state_dir());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is quick enough may end before what began first.
fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

fn assert_nothing_left(stage: &Stage) {
    let left = || stage.left([crate::support::NOBODY; 3]);
    await_true("nothing is left", || left().is_empty(), || format!("{:?}", left()));
}

#[test]
fn what_is_planned_happens_and_is_the_ground_truth() {
    let Some(mut stage) = Stage::set("campaign") else { return };
    stage.occupy("sleep", &["600"]);
    let (file, log) = (plan(&stage, "1s"), stage.folder.path().join("truth.jsonl"));
    let output = campaign(&stage, &[&file, "--json", "--log", log.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = lines(&output);
    let number = |line: &Value| line["number"].as_u64().unwrap_or_default();
    let events: Vec<_> =
        told.iter().map(|line| (line["event"].as_str().unwrap().to_owned(), number(line))).collect();
    let expected = [("started", 1), ("started", 2), ("ended", 1), ("ended", 2), ("campaign_ended", 0)];
    assert_eq!(sorted(events), sorted(expected.map(|(event, of)| (event.to_owned(), of)).to_vec()));
    assert_eq!((&told[4]["completed"], &told[4]["failed"]), (&Value::from(2), &Value::from(0)));
    let began = |of| told.iter().find(|line| line["event"] == "started" && number(line) == of).unwrap();
    let nanos = |of| began(of)["started_unix_nanos"].as_u64().unwrap();
    let apart = nanos(2) - nanos(1);
    assert!((300_000_000..900_000_000).contains(&apart), "{apart} ns from one begin to the next");
    let truth = fs::read_to_string(&log).unwrap();
    let label =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["label"].as_str().unwrap().to_owned();
    let labels: Vec<_> = truth.lines().map(label).collect();
    assert_eq!(sorted(labels), ["two#1", "two#2"]);
    assert_nothing_left(&stage);
}

#[test]
fn one_that_is_cut_short_is_not_completed() {
    let Some(mut stage) = Stage::set("campaign_cut_short") else { return };
    stage.occupy("sleep", &["600"]);
    let child = begin_a_long_one(&stage);
    // The second one is over by then, as asked.
    pause(Duration::from_secs(2));
    signal(child.id(), Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let last = lines(&output).pop().unwrap();
    let counts = ["scheduled", "begun", "completed", "failed"].map(|key| last[key].as_u64().unwrap());
    assert_eq!(counts, [2, 2, 1, 1], "{last}");
    assert_nothing_left(&stage);
}

#[test]
fn a_log_that_cannot_be_written_is_told_before_anything_begins() {
    let Some(stage) = Stage::set("campaign_log") else { return };
    let output = campaign(&stage, &[&plan(&stage, "1s"), "--json", "--log", "/nowhere/truth.jsonl"]).output();
    let output = output.unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("cannot open the log /nowhere/truth.jsonl"), "{errors}");
    assert!(!stage.state_dir().exists(), "something was begun");
}

fn begin_a_long_one(stage: &Stage) -> Child {
    let child = campaign(stage, &[&plan(stage, "10m"), "--json"]).spawn().unwrap();
    await_true("it is there", || stage.cgroup.pids().unwrap().len() > 1, || "not begun".to_owned());
    child
}

#[test]
fn whatever_ends_a_campaign_ends_all_of_it() {
    let Some(mut stage) = Stage::set("campaigns_end") else { return };
    let inhabitant = stage.occupy("sleep", &["600"]);
    for (asked, code) in [(Signal::SIGINT, Some(7)), (Signal::SIGKILL, None)] {
        let mut child = begin_a_long_one(&stage);
        signal(child.id(), asked);
        assert_eq!(child.wait().unwrap().code(), code, "{asked}");
        await_true(
            "the target is alone",
            || stage.cgroup.pids().unwrap() == [inhabitant],
            || format!("{:?}", stage.cgroup.pids()),
        );
        assert_nothing_left(&stage);
    }
}

#[test]
fn a_dry_run_is_the_same_each_time_and_does_nothing() {
    let Some(stage) = Stage::set("dry") else { return };
    let run = |seed: &str| {
        let random = ["--random", "--kinds", "cpu=20%..90%,pause", "--targets", "a,b", "--duration", "10m"];
        let output = campaign(&stage, &[&random[..], &["--seed", seed, "--dry-run", "--json"]].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        lines(&output)
    };
    let first = run("5");
    assert!(first.len() > 5 && first == run("5"));
    assert_ne!(first, run("6"));
    assert!(!stage.state_dir().exists(), "something was begun");
}

#[test]
fn one_that_fails_is_told_and_the_others_go_on() {
    let Some(stage) = Stage::set("campaign_fails") else { return };
    let text = fs::read_to_string(plan(&stage, "300ms")).unwrap();
    let path = stage.folder.path().join("fails.toml");
    // The second target is not there.
    let (head, tail) = text.split_at(text.rfind("target = ").unwrap());
    let tail = tail.replacen(stage.cgroup.path().as_str(), "ballast-test-none", 1);
    fs::write(&path, format!("{head}{tail}")).unwrap();
    let output = campaign(&stage, &[path.to_str().unwrap(), "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let last = lines(&output).pop().unwrap();
    assert_eq!((&last["completed"], &last["failed"]), (&Value::from(1), &Value::from(1)), "{last}");
    assert_nothing_left(&stage);
}
