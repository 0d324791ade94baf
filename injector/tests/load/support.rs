//! The program run on a URL, and its report.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::shared::{self, PROGRAM};

/// `ballast-injector load URL`, with more arguments in one string.
pub(crate) fn command(url: &str, arguments: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["load", url]).args(arguments.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A load that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) started: Value,
    output: BufReader<ChildStdout>,
}

pub(crate) fn start(url: &str, arguments: &str) -> Running {
    let mut child = command(url, arguments).arg("--json").spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let started: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(started["event"], "started", "{line}");
    Running { child, started, output }
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        shared::signal(self.child.id(), signal);
    }

    /// The exit code and the report.
    pub(crate) fn end(mut self) -> (Option<i32>, Value) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let report: Value = serde_json::from_str(&rest).unwrap();
        assert_eq!(report["event"], "ended", "{rest}");
        assert_adds_up(&report);
        (self.child.wait().unwrap().code(), report)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only what a failed test leaves; an error means that it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The report of a load that runs to its end.
pub(crate) fn report(url: &str, arguments: &str) -> Value {
    let (code, report) = start(url, arguments).end();
    assert_eq!((code, report["ending"].as_str()), (Some(0), Some("completed")), "{report}");
    report
}

pub(crate) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn sum(object: &Value) -> u64 {
    object.as_object().unwrap().values().map(count).sum()
}

/// Every request that was due is answered, or among the errors; so in each second's column.
fn assert_adds_up(report: &Value) {
    let (requested, answered) = (count(&report["requested"]), count(&report["answered"]));
    assert_eq!(requested, answered + sum(&report["errors"]), "{report}");
    assert_eq!(answered, sum(&report["statuses"]), "{report}");
    for (column, total) in [
        ("requested", requested),
        ("sent", count(&report["sent"])),
        ("answered", answered),
        ("failed", requested - answered),
    ] {
        let seconds = report["each_second"].as_array().unwrap();
        assert_eq!(seconds.iter().map(|second| count(&second[column])).sum::<u64>(), total, "{column}");
    }
}
