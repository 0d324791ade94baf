//! What supervisor and worker tell each other, as JSON lines over pipes.
//!
//! Must not know who acts on it.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{clocks, kinds::Load};

/// From supervisor to worker: one line on its standard input, where a [`Go`] follows. What follows that is silence; its
/// end means "stop".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// What to do.
    pub(super) load: Load,
    /// From the first moment of the load to the last.
    pub(super) duration: Duration,
    /// The processors to stay on; empty for all.
    pub(super) processors: Vec<usize>,
}

/// From supervisor to worker, when it has said that it is ready and is where the load is to be: one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Go {}

/// From worker to supervisor, on its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "message", deny_unknown_fields)]
pub(crate) enum Message {
    /// It has got ready what its order takes, and can be moved into a cgroup.
    Ready,
    /// The load begins.
    Started {
        /// The time of day.
        unix_nanos: u64,
        /// At the same instant.
        reading: Reading,
    },
    /// The load goes on.
    Done {
        /// So far.
        reading: Reading,
    },
    /// The load has ended at its time.
    Finished {
        /// At its end.
        reading: Reading,
    },
}

/// By which a dose is measured: the integral of what was given over time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// `CLOCK_MONOTONIC`, which all processes share.
    pub(super) monotonic: Duration,
    /// What was given until then, in the dose's unit times seconds: core-seconds, bytes, operations.
    pub(super) amount: f64,
}

impl Reading {
    /// What was given until now.
    pub(super) fn take(amount: impl FnMut() -> f64) -> Self {
        let (monotonic, amount) = clocks::at_once(amount);
        Self { monotonic, amount }
    }

    /// The dose from `earlier` until this reading, in its unit; 0 when no time has passed.
    pub(super) fn dose_since(self, earlier: Self) -> f64 {
        let time = self.monotonic.saturating_sub(earlier.monotonic).as_secs_f64();
        if time > 0.0 { (self.amount - earlier.amount).max(0.0) / time } else { 0.0 }
    }
}

/// Writes one line and flushes it.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}
