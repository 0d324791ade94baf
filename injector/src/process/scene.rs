//! What makes sure that an injection leaves nothing: the journal entry and the janitor. In this order, and back.
//!
//! Must not know what the load is.

use std::process::{Child, Stdio};

use super::worker_handle::own_program;
use crate::{
    error::InjectorError,
    journal::{Entry, EntryLock, Journal},
    restore::clean_up,
};

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
    pub(super) fn set(journal: &Journal, entry: Entry) -> Result<Self, InjectorError> {
        let lock = journal.add(&entry)?;
        let mut scene = Self { journal: journal.clone(), entry, janitor: None, _lock: lock };
        match scene.start_janitor() {
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

    fn start_janitor(&self) -> Result<Child, InjectorError> {
        let arguments = [
            "janitor".as_ref(),
            "--state-dir".as_ref(),
            self.journal.folder().as_os_str(),
            self.entry.id.as_str().as_ref(),
        ];
        own_program(&arguments)?
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
