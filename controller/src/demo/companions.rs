//! The programs that the demo starts beside itself. Each holds the reading end of a pipe whose writing end is here:
//! when this process ends, however it ends, they see the end of their input, undo what they did, and leave.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long a program may take from its start to its first line: memcached, cAdvisor and a dozen services included.
const READY_WITHIN: Duration = Duration::from_secs(40);

/// How long a program may take to clean up.
const GONE_WITHIN: Duration = Duration::from_secs(15);

/// Ballast's own programs, which lie beside this one.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs in the folder of the running one.
    ///
    /// # Errors
    /// When the system does not say where this program lies.
    pub fn beside_this_one() -> Result<Self> {
        let myself = std::env::current_exe().context("finding the folder of this program")?;
        let folder = myself.parent().ok_or_else(|| anyhow!("{} has no folder", myself.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The path of the program of that name, if it is there.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(name);
        path.is_file().then_some(path)
    }
}

/// A program that ended before it was ready.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended before it was ready{}; what it said stands above", code.map_or_else(String::new, |code| format!(" (exit code {code})")))]
pub(super) struct EndedEarly {
    name: String,
    /// Absent when it was killed.
    pub(super) code: Option<i32>,
}

/// A running program. Dropping it closes its input, which makes it clean up and leave on its own.
#[derive(Debug)]
pub(super) struct Companion {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Companion {
    /// Starts a program. It must understand `--until-stdin-closes`, which is added.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut child = Command::new(program)
            .args(arguments)
            .arg("--until-stdin-closes")
            // Warnings only: what becomes of each limit is told in the report.
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal goes to the whole group: the companions must outlive it, to be stopped in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| anyhow!("{name} has no standard output"))?;
        Ok(Self { name, child, input, output: BufReader::new(output).lines() })
    }

    /// Starts a program and waits for its first line, which says where it can be reached.
    ///
    /// # Errors
    /// When it cannot be started, ends early, stays silent, or its line is not as expected.
    pub(super) async fn start_and_wait<T: DeserializeOwned>(
        program: &Path,
        arguments: &[String],
    ) -> Result<(Self, T)> {
        let mut companion = Self::start(program, arguments)?;
        let line = timeout(READY_WITHIN, companion.output.next_line())
            .await
            .map_err(|_| anyhow!("{} was not ready within {} s", companion.name, READY_WITHIN.as_secs()))?
            .with_context(|| format!("reading what {} says", companion.name))?;
        let Some(line) = line else {
            let status = companion.child.wait().await?;
            return Err(EndedEarly { name: companion.name, code: status.code() }.into());
        };
        let ready = serde_json::from_str(&line)
            .with_context(|| format!("{} said {line:?} instead of where it listens", companion.name))?;
        Ok((companion, ready))
    }

    /// The next line of its output; `None` after the last.
    ///
    /// # Errors
    /// When the pipe breaks or the line is no UTF-8.
    pub(super) async fn next_line(&mut self) -> Result<Option<String>> {
        self.output.next_line().await.with_context(|| format!("reading what {} says", self.name))
    }

    /// What it is called.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it runs.
    #[must_use]
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().with_context(|| format!("looking after {}", self.name))?.is_some())
    }

    /// Whether it has ended with a failure, or was killed.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn has_failed(&mut self) -> Result<bool> {
        let ended = self.child.try_wait().with_context(|| format!("looking after {}", self.name))?;
        Ok(ended.is_some_and(|status| !status.success()))
    }

    /// Closes its input and waits until it has cleaned up and left. One that does not leave is killed, and said.
    ///
    /// # Errors
    /// When it had to be killed, or left with a failure.
    pub(super) async fn stop(mut self) -> Result<()> {
        drop(self.input.take());
        match timeout(GONE_WITHIN, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                if status.success() { Ok(()) } else { bail!("{} left with {status}", self.name) }
            }
            Err(_) => {
                self.child.kill().await?;
                bail!("{} did not leave within {} s and was killed", self.name, GONE_WITHIN.as_secs());
            }
        }
    }
}
