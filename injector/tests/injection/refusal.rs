//! Bad requests: a sentence, a code, and nothing done.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Output},
};

use crate::{shared::PROGRAM, support::Stage};

pub(crate) fn refused(command: &mut Command, code: i32, told: &str) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(told), "{stderr:?} does not say {told:?}");
    assert!(stdout.is_empty());
}

#[test]
fn requests_out_of_range_are_bad_usage() {
    let Some(stage) = Stage::set("range") else { return };
    let log = stage.folder.path().join("truth.jsonl");
    for (intensity, duration, more, told) in [
        ("0%", "1s", &[][..], "out of range"),
        ("10001%", "1s", &[], "out of range"),
        ("-1", "1s", &[], "out of range"),
        ("much", "1s", &[], "write a percentage such as 80%"),
        ("9999", "1s", &[], "of this node"),
        ("50%", "2h", &[], "at most 1h"),
        ("50%", "1ms", &[], "at least 100ms"),
        ("50%", "soon", &[], "write 20s"),
        ("50%", "1s", &["--threads", "0"], "not in 1..=1024"),
        ("50%", "1s", &["--frobnicate"], "--frobnicate"),
    ] {
        refused(stage.command(intensity, duration, more).arg("--log").arg(&log), 2, told);
    }
    assert!(!log.exists(), "the log of nothing");
    assert!(!stage.state_dir().exists(), "something was begun");
}

#[test]
fn an_unknown_target_is_named() {
    let Some(stage) = Stage::set("unknown") else { return };
    let cpu = |target: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["cpu", "--intensity", "50%", "--duration", "1s", "--target", target, "--state-dir"]);
        command.arg(stage.state_dir());
        command
    };
    refused(&mut cpu("ballast-test-none/geo"), 3, "there is no cgroup \"ballast-test-none/geo\"");
    refused(&mut cpu("../etc"), 2, "not a cgroup path");
    refused(&mut cpu("/docker/x"), 2, "not a cgroup path");
    let log = stage.folder.path().join("truth.jsonl");
    refused(cpu("ballast-test-none").arg("--log").arg(&log), 3, "there is no cgroup");
    assert!(!log.exists(), "the log of nothing");
    refused(
        cpu(stage.cgroup.path().as_str()).args(["--log", "/nowhere/x"]),
        1,
        "cannot open the log /nowhere/x",
    );
    assert!(!stage.state_dir().exists(), "something was begun");
}

#[test]
fn a_user_without_rights_is_told() {
    const NOBODY: u32 = 65534;
    let Some(stage) = Stage::set("nobody") else { return };
    let reachable = Command::new(PROGRAM).arg("--version").uid(NOBODY).output();
    if !reachable.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED a_user_without_rights_is_told: another user cannot reach the program");
        return;
    }
    for told in ["ermission denied", "this user is not root"] {
        refused(stage.command("50%", "1s", &[]).uid(NOBODY), 4, told);
    }
    assert!(!stage.state_dir().exists(), "something was begun");
}
