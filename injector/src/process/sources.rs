//! Everything that a supervisor may hear of while it waits, as one stream of events.
//!
//! Must not know what follows from an event.

use std::{io, sync::mpsc::Sender, thread};

use nix::sys::signal::{SigSet, Signal};

use super::messages::Message;
use crate::error::InjectorError;

/// Something happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The worker says something.
    Worker(Message),
    /// The worker is dead, or talks nonsense.
    WorkerEnded,
    /// SIGINT, SIGTERM or SIGHUP came.
    Signal,
    /// Standard input has ended.
    StdinClosed,
    /// A guard has tripped, and why.
    Guard(String),
}

/// Turns the signals that ask for an end into events. To be called before other threads are started: they inherit the
/// mask (children of `std::process` do not).
pub(crate) fn watch_signals(events: Sender<Event>) -> Result<(), InjectorError> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals
        .thread_block()
        .map_err(|errno| InjectorError::Process { operation: "block signals", source: errno.into() })?;
    thread::spawn(move || {
        while signals.wait().is_ok() {
            let _ = events.send(Event::Signal);
        }
    });
    Ok(())
}

/// Reads standard input to its end, and tells of it.
pub(crate) fn watch_stdin(events: Sender<Event>) {
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = events.send(Event::StdinClosed);
    });
}
