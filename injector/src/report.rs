//! What was asked, what was achieved, how it ended: the ground truth about one injection.
//!
//! Pure, but for appending to a log. Must not know how load is made.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use crate::{error::InjectorError, kinds::Dose};

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
    /// A guard stopped it.
    Guarded,
    /// Whoever gave it could not go on.
    Failed,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Completed => "completed",
            Self::StdinClosed => "standard input was closed",
            Self::Interrupted => "interrupted by a signal",
            Self::TargetGone => "the target is gone, or has no process any more",
            Self::WorkerKilled => "the worker was killed from outside",
            Self::Guarded => "a guard stopped it",
            Self::Failed => "it failed in the midst",
        })
    }
}

/// One injection, known as soon as its dose begins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Injection {
    /// Unique on this machine.
    pub id: String,
    /// As its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `inside`, `beside` or `node`.
    pub place: &'static str,
    /// The cgroup concerned; absent for the whole node.
    pub target: Option<String>,
    /// What was asked.
    #[serde(flatten)]
    pub dose: Dose,
    /// As asked.
    pub duration_requested_seconds: f64,
    /// Its first moment.
    pub started_unix_nanos: u64,
}

/// One injection that is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was asked.
    #[serde(flatten)]
    pub injection: Injection,
    /// Its last moment.
    pub ended_unix_nanos: u64,
    /// From the first moment to the last.
    pub duration_seconds: f64,
    /// What was given, in the dose's unit, on the average of that time.
    pub achieved: f64,
    /// The same for each full second.
    pub achieved_each_second: Vec<f64>,
    /// Why it ended.
    pub ending: Ending,
    /// What the guard saw that stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, self.place) {
            (Some(target), "inside") => write!(f, "{} injection into {target}", self.dose.kind),
            (Some(target), place) => write!(f, "{} injection {place} {target}", self.dose.kind),
            (None, _) => write!(f, "{} injection on the node", self.dose.kind),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dose { intensity, intensity_basis, unit, requested, .. } = &self.injection.dose;
        let share = self.achieved / requested;
        let guard = self.guard.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(f, "{}: {}{guard}", self.injection, self.ending)?;
        writeln!(f, "  requested  {} ({intensity}, {intensity_basis})", unit.show(*requested))?;
        write!(f, "  achieved   {}, {:.1} % of the dose", unit.show(self.achieved), 100.0 * share)?;
        let seconds = || self.achieved_each_second.iter().copied();
        if self.achieved_each_second.len() > 1 {
            let (least, most) = (seconds().fold(f64::INFINITY, f64::min), seconds().fold(0.0, f64::max));
            write!(f, "; each second {} to {}", unit.show(least), unit.show(most))?;
        }
        if share < REACHED {
            write!(f, "\n             the target's limits, its own work or the node's load left no more")?;
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
