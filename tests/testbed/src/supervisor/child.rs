//! A process of the testbed, which does not outlive the supervisor.
//!
//! Must not know what the program is for.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use ballast_kernel::Cgroup;
use tokio::process::{self, ChildStdin, Command};

/// Lines of the log that are shown when a process dies.
const LAST_WORDS: usize = 5;

/// A program to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// What it is called in messages; also names its log.
    pub name: &'a str,
    /// The program.
    pub program: &'a OsStr,
    /// Its arguments.
    pub args: Vec<String>,
    /// Whether the supervisor talks with it over standard input and output.
    pub talks: bool,
    /// Where it belongs; absent for programs that are not controlled.
    pub cgroup: Option<&'a Cgroup>,
    /// Where its log goes.
    pub work_dir: &'a Path,
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    /// What it is called in messages.
    pub name: String,
    /// The process.
    pub process: process::Child,
    /// Open as long as the process shall live. Not left in `process`, which closes it before it waits.
    pub stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Launch<'_> {
    /// Starts the program and moves it into its cgroup. It is killed by the kernel when the calling thread dies, so the
    /// caller is the main thread.
    ///
    /// # Errors
    /// When it cannot be started or moved.
    pub fn start(self) -> anyhow::Result<Child> {
        let path = self.work_dir.join(format!("{}.log", self.name));
        let log = File::create(&path).with_context(|| format!("making the log {}", path.display()))?;
        let (stdin, stdout) = if self.talks {
            (Stdio::piped(), Stdio::piped())
        } else {
            (Stdio::null(), log.try_clone()?.into())
        };
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(self.program)
            .args(&self.args)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        let stdin = process.stdin.take();
        let child = Child { name: self.name.to_owned(), process, stdin, log: path };
        if let (Some(cgroup), Some(pid)) = (self.cgroup, child.process.id()) {
            cgroup.attach(pid).with_context(|| format!("moving {} into its cgroup", self.name))?;
        }
        Ok(child)
    }
}

impl Child {
    /// Waits for its end, and says how it came.
    pub async fn death(&mut self) -> String {
        let status = self.process.wait().await.ok();
        self.obituary(status)
    }

    /// What to say when it has ended.
    pub fn obituary(&self, status: Option<ExitStatus>) -> String {
        let how = status.map_or_else(|| "ended".to_owned(), |status| format!("ended with {status}"));
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join(" | ");
        if last.is_empty() { format!("{} {how}", self.name) } else { format!("{} {how}: {last}", self.name) }
    }

    /// Kills it, without waiting.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.start_kill();
    }
}
