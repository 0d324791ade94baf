//! What was asked, what was achieved, how it ended: the ground truth about one injection.
//!
//! Pure, but for appending to a log. Must not know how load is made.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, eaccess};
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
    path: PathBuf,
    /// Absent until the first line, where there was none before: what is refused, or comes to nothing, leaves none.
    file: Option<File>,
}

impl Log {
    /// The log at `path`, to be appended to. Where there is none, only whether it can be made is found out.
    ///
    /// # Errors
    /// When it cannot be written, as far as that can be told without writing.
    pub fn open(path: &Path) -> Result<Self, InjectorError> {
        let file = match OpenOptions::new().append(true).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => can_be_made(path).map(|()| None),
            Err(error) => Err(error),
        };
        let path = path.to_owned();
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(InjectorError::File { operation: "open the log", path, source }),
        }
    }

    /// Appends a line, in one write, so that concurrent injections do not mix theirs.
    ///
    /// # Errors
    /// When the disk is full, for instance.
    pub fn append(&mut self, report: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        let mut file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().create(true).append(true).open(&self.path)?,
        };
        let written = file.write_all(&line);
        self.file = Some(file);
        written
    }
}

/// Whether its folder is there, and this process may write it. A name that only a folder can have is told too.
fn can_be_made(path: &Path) -> io::Result<()> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_log_is_made_with_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.jsonl");
        let mut log = Log::open(&path).unwrap();
        assert!(!path.exists(), "nothing was done yet");
        log.append(&1).unwrap();
        log.append(&2).unwrap();
        Log::open(&path).unwrap().append(&3).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "1\n2\n3\n");
    }

    #[test]
    fn a_log_that_cannot_be_made_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for bad in ["none/truth.jsonl", "file/truth.jsonl", "none/", "."] {
            let error = Log::open(&folder.path().join(bad)).unwrap_err();
            assert!(error.to_string().contains("cannot open the log"), "{bad}: {error}");
        }
    }
}
