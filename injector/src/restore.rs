//! Removing what injections left behind. Any number of processes may do it at once.
//!
//! Must not know how injections are run.

use serde::Serialize;

use crate::{
    error::InjectorError,
    journal::{Entry, Found, Journal},
    undo::Undo,
};

/// Takes back all that an entry names, and then removes the entry. Goes on where a step fails.
///
/// # Errors
/// The first step's that failed; then the entry is kept.
pub fn clean_up(journal: &Journal, entry: &Entry) -> Result<(), InjectorError> {
    let steps: Vec<_> = entry.undo.iter().map(Undo::carry_out).collect();
    steps.into_iter().collect::<Result<(), _>>()?;
    journal.remove(&entry.id)
}

/// What [`restore`] found and did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Injections that had been left behind and are gone now.
    pub removed: Vec<Entry>,
    /// Ids of injections that are running; they are left alone.
    pub running: Vec<String>,
    /// One sentence for each that could not be removed.
    pub failed: Vec<String>,
}

/// Cleans up after every injection whose supervisor is dead.
///
/// # Errors
/// When the journal cannot be listed.
pub fn restore(journal: &Journal) -> Result<Restored, InjectorError> {
    let mut restored = Restored::default();
    for found in journal.entries()? {
        match found {
            Ok(Found::Running(id)) => restored.running.push(id.to_string()),
            Ok(Found::LeftBehind(entry)) => match clean_up(journal, &entry) {
                Ok(()) => restored.removed.push(entry),
                Err(error) => restored.failed.push(with_cause(error)),
            },
            Err(error) => restored.failed.push(with_cause(error)),
        }
    }
    Ok(restored)
}

fn with_cause(error: InjectorError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::identity::ProcessIdentity;

    #[test]
    fn ends_the_workers_of_dead_supervisors_and_of_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let add = |id: &str| {
            let worker = Command::new("sleep").arg("600").spawn().unwrap();
            let identity = ProcessIdentity::of(worker.id()).unwrap().unwrap();
            let undo = vec![Undo::EndProcess { process: identity }];
            let entry = Entry { id: id.parse().unwrap(), kind: "cpu".to_owned(), target: None, undo };
            (journal.add(&entry).unwrap(), entry, worker)
        };
        let (lock_of_dead, dead, mut orphan) = add("dead");
        let (_lock_of_alive, alive, mut worker) = add("alive");
        drop(lock_of_dead);
        std::fs::write(folder.path().join("odd.json"), "?").unwrap();

        let restored = restore(&journal).unwrap();
        assert_eq!((&restored.removed[..], &restored.running[..]), (&[dead][..], &["alive".to_owned()][..]));
        assert!(restored.failed[0].contains("odd.json"), "{:?}", restored.failed);
        assert!(!orphan.wait().unwrap().success());
        let process = ProcessIdentity::of(worker.id()).unwrap().unwrap();
        assert_eq!(alive.undo, [Undo::EndProcess { process }]);
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
}
