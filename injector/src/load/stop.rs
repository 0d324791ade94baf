//! Who may end a load before its time: signals, and the end of standard input.
//!
//! Must not know what a load is.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use nix::sys::signal::{SigSet, Signal};

use super::error::LoadError;
use crate::report::Ending;

const NOBODY: u8 = 0;
const SIGNAL: u8 = 1;
const STDIN: u8 = 2;

/// Tells whether somebody asked for the end. Cheap to ask.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicU8>);

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

    /// The first one who asks is told.
    fn ask(&self, who: u8) {
        let _ = self.0.compare_exchange(NOBODY, who, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why to end, if anybody asked.
    #[must_use]
    pub fn asked(&self) -> Option<Ending> {
        match self.0.load(Ordering::Relaxed) {
            SIGNAL => Some(Ending::Interrupted),
            STDIN => Some(Ending::StdinClosed),
            _ => None,
        }
    }
}
