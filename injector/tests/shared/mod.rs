//! What the test programs share: the program, processes as the kernel shows them, real time, and a cgroup of a test's own.
//!
//! Must not know what is injected.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_injector::clocks;
use ballast_kernel::{Cgroup, CgroupTree, Hierarchy};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-injector");

/// A cgroup of a test's own, which the caller removes. `None`, after saying why, where this machine cannot do it.
pub(crate) fn own_cgroup(test: &str) -> Option<(CgroupTree, Cgroup)> {
    let skipped = |reason: &str| {
        eprintln!("SKIPPED {test}: {reason}");
        None
    };
    if !geteuid().is_root() {
        return skipped("it needs root");
    }
    let tree = match Hierarchy::find(Path::new("/proc/self/mountinfo")) {
        Ok(hierarchy) => CgroupTree::new(hierarchy),
        Err(error) => return skipped(&error.to_string()),
    };
    match tree.create(&format!("ballast-test-{}-{test}", std::process::id())) {
        Ok(cgroup) => Some((tree, cgroup)),
        Err(error) => skipped(&format!("{:#}", anyhow::Error::from(error))),
    }
}

/// Starts a program that lives in this cgroup until it is killed.
pub(crate) fn occupy(cgroup: &Cgroup, program: &str, arguments: &[&str]) -> Child {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap();
    if let Err(error) = cgroup.attach(child.id()) {
        let _ = (child.kill(), child.wait());
        panic!("{error}");
    }
    child
}

/// A number of a report.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// For whom somebody else may have ended meanwhile.
pub(crate) fn kill_if_there(pid: u32) {
    match kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("{pid}: {error}"),
    }
}

pub(crate) fn pause(time: Duration) {
    clocks::sleep_until(clocks::monotonic() + time);
}

/// State and parent of a process, from /proc/PID/stat; the name in parentheses may hold anything.
fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// A zombie is dead: only its parent has not looked yet.
pub(crate) fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != "Z")
}

pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| state_and_parent(*pid).is_some_and(|(_, its)| its == parent)).collect()
}
