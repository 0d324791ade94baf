//! What makes sure that an injection leaves nothing: the journal entry and the janitor. In this order, and back.
//!
//! Must not know what the load is.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use crate::{
    error::InjectorError,
    journal::{Entry, EntryLock, Journal},
    program,
    restore::clean_up,
};

/// How long after the dose's time the janitor waits for the supervisor: longer than any start takes, and not for ever, for
/// a supervisor may be stopped.
const PATIENCE: Duration = Duration::from_secs(45);

/// Everything but the worker. Dropping it without [`Self::clear`] leaves the work to the janitor.
#[derive(Debug)]
pub(super) struct Scene {
    journal: Journal,
    entry: Entry,
    janitor: Option<Child>,
    _lock: EntryLock,
}

impl Scene {
    /// Sets up both, or nothing.
    pub(super) fn set(journal: &Journal, entry: Entry, duration: Duration) -> Result<Self, InjectorError> {
        let lock = journal.add(&entry)?;
        let mut scene = Self { journal: journal.clone(), entry, janitor: None, _lock: lock };
        match scene.start_janitor(duration + PATIENCE) {
            Ok(janitor) => {
                scene.janitor = Some(janitor);
                Ok(scene)
            }
            Err(error) => {
                scene.clear()?;
                Err(error)
            }
        }
    }

    fn start_janitor(&self, at_most: Duration) -> Result<Child, InjectorError> {
        let seconds = at_most.as_secs().to_string();
        program::again()
            .args(["janitor", "--at-most", &seconds, "--state-dir"])
            .arg(self.journal.folder())
            .arg(self.entry.id.as_str())
            // Who reads our standard output must see its end when we end.
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| InjectorError::Process { operation: "start the janitor", source })
    }

    /// Has the janitor clean up; does it itself where the janitor is dead or failed.
    pub(super) fn clear(mut self) -> Result<(), InjectorError> {
        // `wait` closes the janitor's standard input first: its sign to begin.
        let by_janitor = self.janitor.as_mut().map(Child::wait);
        if by_janitor.is_some_and(|ended| ended.is_ok_and(|status| status.success())) {
            return Ok(());
        }
        clean_up(&self.journal, &self.entry).map_err(|error| InjectorError::LeftBehind(Box::new(error)))
    }
}
