//! The process that cleans up when the supervisor ends, however it ends.
//!
//! Must not know why it ended.

use std::{
    io::{self, Read},
    sync::mpsc,
    thread,
    time::Duration,
};

use ballast_api::ContainerName;
use nix::sys::signal::{SigSet, Signal};

use crate::{error::InjectorError, journal::Journal, restore::clean_up};

/// Waits for the end of `stdin`, whose other end the supervisor holds, but no longer than `at_most`, and then cleans up
/// after the injection `id`.
///
/// # Errors
/// When something cannot be removed.
pub fn run(
    mut stdin: impl Read + Send + 'static,
    at_most: Duration,
    journal: &Journal,
    id: &ContainerName,
) -> Result<(), InjectorError> {
    ignore_polite_signals()?;
    let (ended, end) = mpsc::channel::<()>();
    thread::spawn(move || {
        // An unreadable pipe is as good as a closed one: nobody is there to be waited for.
        let _ = io::copy(&mut stdin, &mut io::sink());
        drop(ended);
    });
    let _ = end.recv_timeout(at_most);
    match journal.read(id)? {
        Some(entry) => clean_up(journal, &entry),
        None => Ok(()),
    }
}

/// Whoever ends all processes of a machine politely should not end this one before its work: it ends with the supervisor.
fn ignore_polite_signals() -> Result<(), InjectorError> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals
        .thread_block()
        .map_err(|errno| InjectorError::Process { operation: "block signals", source: errno.into() })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::{journal::Entry, process::identity::ProcessIdentity, undo::Undo};

    #[test]
    fn a_supervisor_that_never_ends_is_not_waited_for_longer_than_told() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let mut worker = Command::new("sleep").arg("600").spawn().unwrap();
        let process = ProcessIdentity::of(worker.id()).unwrap().unwrap();
        let undo = vec![Undo::EndProcess { process }];
        let id: ContainerName = "stopped".parse().unwrap();
        let entry = Entry { id: id.clone(), kind: "cpu".to_owned(), target: None, undo };
        drop(journal.add(&entry).unwrap());
        // The supervisor's end of the pipe stays open.
        let mut supervisor = Command::new("sleep").arg("600").stdout(Stdio::piped()).spawn().unwrap();
        let stdin = supervisor.stdout.take().unwrap();
        let cleaned = run(stdin, Duration::from_millis(50), &journal, &id);
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        assert!(!worker.wait().unwrap().success(), "it was killed");
        cleaned.unwrap();
        assert_eq!(journal.read(&id).unwrap(), None);
    }
}
