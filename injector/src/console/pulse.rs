//! A JSON line each second, of how it goes.
//!
//! Must not know what is given. A reader that is slow or held does not prolong a dose: a thread of its own prints, and what it has no
//! time for is left out.

use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Serialize;

use super::print_json;

/// A JSON line of standard output.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "progress")]
struct Moment {
    elapsed_seconds: f64,
    /// What was given in the last second: in the dose's unit, or requests per second.
    lately: f64,
}

/// The lines of one injection.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The last full second that was told of.
    told: u64,
    moments: SyncSender<Moment>,
    printing: JoinHandle<()>,
}

impl Pulse {
    /// Begins to tell.
    pub(crate) fn begin() -> io::Result<Self> {
        let (moments, to_print) = sync_channel(1);
        let print = move || to_print.iter().for_each(|moment: Moment| print_json(&moment));
        let printing = thread::Builder::new().name("pulse".to_owned()).spawn(print)?;
        Ok(Self { told: 0, moments, printing })
    }

    /// Tells, once in each second. To be called more often than that.
    pub(crate) fn tell(&mut self, elapsed: Duration, lately: f64) {
        if elapsed.as_secs() > self.told {
            self.told = elapsed.as_secs();
            let _ = self.moments.try_send(Moment { elapsed_seconds: elapsed.as_secs_f64(), lately });
        }
    }

    /// Everything is told: what is printed next comes after it.
    pub(crate) fn end(self) {
        drop(self.moments);
        let _ = self.printing.join();
    }
}
