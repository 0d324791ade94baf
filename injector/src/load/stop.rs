//! Who may end a load before its time: signals, guards, and the end of standard input.
//!
//! Must not know what a load is.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
};

use nix::sys::signal::{SigSet, Signal};

use super::error::LoadError;
use crate::{guards::Guards, process::sources::Event, report::Ending};

const NOBODY: u8 = 0;
const SIGNAL: u8 = 1;
const STDIN: u8 = 2;
const GUARD: u8 = 3;

/// Tells whether somebody asked for the end. Cheap to ask.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    who: Arc<AtomicU8>,
    guard: Arc<OnceLock<String>>,
}

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on. To be called before other threads are started: they inherit
    /// the mask.
    ///
    /// # Errors
    /// When the signals cannot be blocked.
    pub fn on_signals() -> Result<Self, LoadError> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals
            .thread_block()
            .map_err(|errno| LoadError::System { operation: "block signals", source: errno.into() })?;
        let stop = Self::default();
        let told = stop.clone();
        thread::spawn(move || {
            while signals.wait().is_ok() {
                told.ask(SIGNAL);
            }
        });
        Ok(stop)
    }

    /// Listens for the end of standard input too.
    pub fn on_stdin_end(&self) {
        let told = self.clone();
        thread::spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            told.ask(STDIN);
        });
    }

    /// Listens to guards too.
    pub fn on_guards(&self, guards: &Guards) {
        let (events, tripped) = mpsc::channel();
        guards.watch(&events);
        let told = self.clone();
        thread::spawn(move || {
            for event in tripped {
                if let Event::Guard(reason) = event {
                    let _ = told.guard.set(reason);
                    told.ask(GUARD);
                }
            }
        });
    }

    /// The first one who asks is told.
    fn ask(&self, who: u8) {
        let _ = self.who.compare_exchange(NOBODY, who, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Why to end, if anybody asked.
    #[must_use]
    pub fn asked(&self) -> Option<Ending> {
        match self.who.load(Ordering::Acquire) {
            SIGNAL => Some(Ending::Interrupted),
            STDIN => Some(Ending::StdinClosed),
            GUARD => Some(Ending::Guarded),
            _ => None,
        }
    }

    /// What a guard saw, where one asked.
    #[must_use]
    pub fn guard(&self) -> Option<String> {
        self.guard.get().cloned()
    }
}
