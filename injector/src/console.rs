//! How an injection is shown: JSON lines for machines, a progress line and a summary for people, and the log.
//!
//! Must not know how it is done. A reader who has gone away does not stop an injection.

pub(crate) mod output;
pub(crate) mod pulse;

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::ProgressBar;
use serde::Serialize;

use self::{
    output::{Output, millis, progress_line},
    pulse::Pulse,
};
use crate::{
    kinds::Dose,
    process::supervisor::Observer,
    report::{Injection, Log, Report},
};

/// Standard output and standard error.
#[derive(Debug)]
pub struct Console {
    output: Output,
    live: bool,
    pulse: Option<Pulse>,
    bar: ProgressBar,
    dose: Option<Dose>,
}

impl Console {
    /// Shows an injection as JSON, with a line each second if it is to be `live`, or as text, and appends it to a log.
    #[must_use]
    pub fn new(json: bool, live: bool, log: Option<Log>) -> Self {
        Self { output: Output { json, log }, live, pulse: None, bar: ProgressBar::hidden(), dose: None }
    }
}

/// Prints one line to standard output; a closed one is not an error.
pub fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints one line to standard error; a closed one is not an error.
pub fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "ballast-injector: {line}");
}

/// Prints one JSON line to standard output.
pub fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => print_line(&line),
        Err(error) => warn(&error.to_string()),
    }
}

impl Observer for Console {
    fn started(&mut self, injection: &Injection) {
        self.dose = Some(injection.dose.clone());
        self.output.started(injection);
        self.pulse = self.live.then(|| Pulse::begin().ok()).flatten();
        // Whoever reads each second has a line of its own: two on one terminal would draw over each other.
        if self.pulse.is_none() && io::stderr().is_terminal() {
            let duration = Duration::try_from_secs_f64(injection.duration_requested_seconds);
            self.bar = progress_line(injection.to_string(), duration.unwrap_or_default());
        }
    }

    fn progress(&mut self, elapsed: Duration, lately: f64) {
        if let Some(pulse) = &mut self.pulse {
            pulse.tell(elapsed, lately);
        }
        self.bar.set_position(millis(elapsed));
        if let Some(Dose { unit, requested, .. }) = &self.dose {
            self.bar.set_message(format!("{} of {}", unit.show(lately), unit.show(*requested)));
        }
    }

    fn ended(&mut self, report: &Report) {
        if let Some(pulse) = self.pulse.take() {
            pulse.end();
        }
        self.bar.finish_and_clear();
        self.output.ended("injection", report);
    }
}
