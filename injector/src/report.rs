//! What was asked, what was achieved, how it ended: the ground truth about one injection.
//!
//! Pure, but for appending to a log. Must not know how load is made.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use ballast_api::{Cores, Limit};
use serde::Serialize;

use crate::{error::InjectorError, intensity::Basis};

/// Below this share of the dose the report says that the dose was not reached.
const REACHED: f64 = 0.98;

/// Why an injection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The time asked for was over.
    Completed,
    /// Standard input was closed, and this was asked for as a sign to end.
    StdinClosed,
    /// A signal asked for the end.
    Interrupted,
    /// The target's processes ended, or the target was removed.
    TargetGone,
    /// The worker was killed from outside.
    WorkerKilled,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Completed => "completed",
            Self::StdinClosed => "standard input was closed",
            Self::Interrupted => "interrupted by a signal",
            Self::TargetGone => "the target is gone, or has no process any more",
            Self::WorkerKilled => "the worker was killed from outside",
        })
    }
}

/// One injection, known as soon as its load begins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Injection {
    /// What kind of load: `cpu`.
    pub kind: &'static str,
    /// Unique on this machine.
    pub id: String,
    /// The cgroup whose share it takes.
    pub target: String,
    /// As the user wrote it.
    pub intensity: String,
    /// What a percentage was of.
    pub intensity_basis: Basis,
    /// The dose.
    pub intensity_requested_cores: Cores,
    /// The target's CPU limit at the start.
    pub target_limit_cores: Limit<Cores>,
    /// How many threads share the dose.
    pub threads: usize,
    /// As asked.
    pub duration_requested_seconds: f64,
    /// Begin of the first burn.
    pub started_unix_nanos: u64,
}

/// One injection that is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was asked.
    #[serde(flatten)]
    pub injection: Injection,
    /// End of the last burn.
    pub ended_unix_nanos: u64,
    /// From the first burn to the last.
    pub duration_seconds: f64,
    /// The worker's CPU time over that time.
    pub achieved_cores: Cores,
    /// The same for each full second.
    pub achieved_cores_each_second: Vec<Cores>,
    /// Why it ended.
    pub ending: Ending,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Injection { kind, target, intensity, intensity_basis, intensity_requested_cores: asked, .. } =
            &self.injection;
        let share = self.achieved_cores.get() / asked.get();
        writeln!(f, "{kind} injection into {target}: {}", self.ending)?;
        writeln!(f, "  requested  {asked:.4} ({intensity}, {intensity_basis})")?;
        write!(f, "  achieved   {:.4}, {:.1} % of the dose", self.achieved_cores, 100.0 * share)?;
        let seconds = || self.achieved_cores_each_second.iter().map(|cores| cores.get());
        if self.achieved_cores_each_second.len() > 1 {
            let (least, most) = (seconds().fold(f64::INFINITY, f64::min), seconds().fold(0.0, f64::max));
            write!(f, "; each second {least:.4} to {most:.4}")?;
        }
        if share < REACHED {
            write!(f, "\n             the target's CPU limit, its own work or the node's load left no more")?;
        }
        let asked_seconds = self.injection.duration_requested_seconds;
        write!(f, "\n  duration   {:.3} s of {asked_seconds:.3} s", self.duration_seconds)
    }
}

/// A file that takes one JSON line for each injection.
#[derive(Debug)]
pub struct Log {
    file: File,
}

impl Log {
    /// Opens the log at `path` for appending; makes it when it is missing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> Result<Self, InjectorError> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|source| {
            InjectorError::File { operation: "open the log", path: path.to_owned(), source }
        })?;
        Ok(Self { file })
    }

    /// Appends a line, in one write, so that concurrent injections do not mix theirs.
    ///
    /// # Errors
    /// When the disk is full, for instance.
    pub fn append(&mut self, report: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}
