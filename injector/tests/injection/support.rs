//! A target of one's own, the program run on it, and a look at what is left.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ballast_api::{Cores, Limit};
use ballast_injector::clocks;
use ballast_kernel::{Cgroup, CgroupTree, CpuControl};
use serde_json::Value;
use tempfile::TempDir;

use crate::shared::{self, PROGRAM, children_of, is_alive, number, own_cgroup, pause};

/// The worker of an injection that has none, or of one that is over: no process of that id can be.
pub(crate) const NOBODY: u32 = i32::MAX.cast_unsigned();

/// Loads of several tests at once would take each other's CPU time.
static ALONE: Mutex<()> = Mutex::new(());

/// A cgroup and a journal of one test's own; gone with everything in them at its end.
pub(crate) struct Stage {
    pub(crate) tree: CgroupTree,
    pub(crate) cgroup: Cgroup,
    pub(crate) folder: TempDir,
    occupants: Vec<Child>,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// `None`, after saying why, where this machine cannot do it.
    pub(crate) fn set(test: &str) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (tree, cgroup) = own_cgroup(test)?;
        // The machine may be busy with other things; a test of doses needs the CPU.
        for (file, largest) in [("cpu.shares", "262144"), ("cpu.weight", "10000")] {
            let path = tree.hierarchy().cpu_folder(cgroup.path()).join(file);
            if path.exists() {
                fs::write(path, largest).unwrap();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        Some(Self { tree, cgroup, folder, occupants: Vec::new(), _alone: alone })
    }

    pub(crate) fn cpu(&self) -> CpuControl {
        CpuControl::new(self.tree.hierarchy(), self.cgroup.path())
    }

    pub(crate) fn limit(&self, cores: f64) {
        self.cpu().set_limit(Limit::At(Cores::new(cores).unwrap())).unwrap();
    }

    /// Starts a program that lives in the target, and answers its process id.
    pub(crate) fn occupy(&mut self, program: &str, arguments: &[&str]) -> u32 {
        let child = shared::occupy(&self.cgroup, program, arguments);
        let pid = child.id();
        self.occupants.push(child);
        pid
    }

    /// Kills everything that lives in the target.
    pub(crate) fn evict(&mut self) {
        for mut occupant in self.occupants.drain(..) {
            occupant.kill().unwrap();
            occupant.wait().unwrap();
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `ballast-injector cpu` in this target.
    pub(crate) fn command(&self, intensity: &str, duration: &str, more: &[&str]) -> Command {
        self.command_of(&["cpu", "--intensity", intensity, "--target"], duration, more)
    }

    /// An injection of any kind; the target comes last in `what`.
    pub(crate) fn command_of(&self, what: &[&str], duration: &str, more: &[&str]) -> Command {
        self.command_on_node(&[what, &[self.cgroup.path().as_str()]].concat(), duration, more)
    }

    /// An injection of any kind, wherever `what` says.
    pub(crate) fn command_on_node(&self, what: &[&str], duration: &str, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(what)
            .args(["--json", "--duration", duration])
            .arg("--state-dir")
            .arg(self.state_dir())
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    /// Starts an injection of CPU load and waits until it runs.
    pub(crate) fn inject(&self, intensity: &str, duration: &str, more: &[&str]) -> Running {
        self.start(&["cpu", "--intensity", intensity, "--target"], duration, more)
    }

    /// Starts an injection of any kind, as in [`Self::command_of`], and waits until it runs.
    pub(crate) fn start(&self, what: &[&str], duration: &str, more: &[&str]) -> Running {
        Running::start(self.command_of(what, duration, more))
    }

    /// The same, wherever `what` says.
    pub(crate) fn start_on_node(&self, what: &[&str], duration: &str, more: &[&str]) -> Running {
        Running::start(self.command_on_node(what, duration, more))
    }

    /// Runs an injection to its end.
    pub(crate) fn inject_to_the_end(&self, intensity: &str, duration: &str, more: &[&str]) -> Ended {
        self.inject(intensity, duration, more).end()
    }

    /// Everything that is there and should not be, after an injection of these processes.
    pub(crate) fn left(&self, pids: [u32; 3]) -> Vec<String> {
        // No injection makes a cgroup; if one ever does, it must not stay.
        let cgroups = self.tree.hierarchy().children(self.cgroup.path()).unwrap();
        let mut left: Vec<_> = cgroups.into_keys().collect();
        if let Ok(entries) = fs::read_dir(self.state_dir()) {
            left.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        }
        left.extend(pids.into_iter().filter(|pid| is_alive(*pid)).map(|pid| format!("process {pid}")));
        left
    }

    /// Waits until nothing is left, and answers how long that took.
    pub(crate) fn assert_nothing_left(&self, pids: [u32; 3]) -> Duration {
        let since = clocks::monotonic();
        await_true("nothing is left", || self.left(pids).is_empty(), || format!("{:?}", self.left(pids)));
        clocks::monotonic() - since
    }

    pub(crate) fn restore(&self) -> Value {
        let output = Command::new(PROGRAM)
            .args(["restore", "--json", "--state-dir"])
            .arg(self.state_dir())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.evict();
        self.cgroup.kill_all().unwrap();
        self.cgroup.remove().unwrap();
    }
}

/// An injection whose load runs.
pub(crate) struct Running {
    pub(crate) supervisor: Child,
    pub(crate) worker: u32,
    pub(crate) janitor: u32,
    pub(crate) started: Value,
    output: BufReader<ChildStdout>,
}

/// An injection that is over.
pub(crate) struct Ended {
    /// The exit code; `None` when the supervisor was killed.
    pub(crate) code: Option<i32>,
    /// The last line; null when there was none.
    pub(crate) report: Value,
}

impl Running {
    /// Starts it and waits until its load runs.
    fn start(mut command: Command) -> Self {
        let mut supervisor = command.spawn().unwrap();
        let mut output = BufReader::new(supervisor.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(started["event"], "started", "{line}");
        let of = |role: &str| children_of(supervisor.id()).into_iter().find(|child| has_role(*child, role));
        // For a moment after its start a process has no command line yet; and a short injection may be over by now.
        let is_over = || !is_alive(supervisor.id());
        await_true("the janitor is there", || of("janitor").is_some() || is_over(), || line.clone());
        let [worker, janitor] = ["worker", "janitor"].map(|role| of(role).unwrap_or(NOBODY));
        Self { supervisor, worker, janitor, output, started }
    }

    pub(crate) fn pids(&self) -> [u32; 3] {
        [self.supervisor.id(), self.worker, self.janitor]
    }

    pub(crate) fn end(mut self) -> Ended {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.supervisor.wait().unwrap();
        assert!(status.code().is_some() || status.signal() == Some(9), "{status}");
        Ended { code: status.code(), report: serde_json::from_str(&rest).unwrap_or(Value::Null) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only what a failed test leaves; an error means that it is gone.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// That an injection lasted as long as was asked, to 50 ms.
pub(crate) fn assert_on_time(report: &Value) {
    let late = number(&report["duration_seconds"]) - number(&report["duration_requested_seconds"]);
    assert!(late.abs() < 0.050, "{late} s off: {report}");
}

/// Waits for a condition, at most five seconds.
pub(crate) fn await_true(what: &str, condition: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let end = clocks::monotonic() + Duration::from_secs(5);
    while !condition() {
        assert!(clocks::monotonic() < end, "not in time: {what}; but {}", otherwise());
        pause(Duration::from_millis(5));
    }
}

/// Whether it is the worker, or the janitor, of an injection.
pub(crate) fn has_role(pid: u32, role: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
}
