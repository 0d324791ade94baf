//! What supervisor and worker tell each other, as JSON lines over pipes.
//!
//! Must not know who acts on it.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// From supervisor to worker: one line on its standard input. What follows is silence; its end means "stop".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub(super) enum Order {
    /// Use CPU time.
    Cpu {
        /// All threads together.
        cores: f64,
        /// How many share it.
        threads: usize,
        /// From the first burn to the last.
        duration: Duration,
    },
}

/// From worker to supervisor, on its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "message", deny_unknown_fields)]
pub(super) enum Message {
    /// It can be moved into a cgroup and take an order.
    Ready,
    /// The load begins.
    Started {
        /// The time of day.
        unix_nanos: u64,
        /// At the same instant.
        reading: Reading,
    },
    /// The load has ended at its time.
    Finished {
        /// At the last burn's end.
        reading: Reading,
    },
}

/// The two clocks by which a dose is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// `CLOCK_MONOTONIC`, which all processes share.
    pub(super) monotonic: Duration,
    /// The worker's CPU time since it was started.
    pub(super) cpu: Duration,
}

impl Reading {
    /// CPU time over wall-clock time, in cores, from `earlier` until this reading; 0 when no time has passed.
    pub(super) fn cores_since(self, earlier: Self) -> f64 {
        let wall = self.monotonic.saturating_sub(earlier.monotonic).as_secs_f64();
        if wall > 0.0 { self.cpu.saturating_sub(earlier.cpu).as_secs_f64() / wall } else { 0.0 }
    }
}

/// Writes one line and flushes it.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}
