//! How an injection is shown: JSON lines for machines, a progress line and a summary for people, and the log.
//!
//! Must not know how it is done. A reader who has gone away does not stop an injection.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    kinds::Dose,
    process::supervisor::Observer,
    report::{Injection, Log, Report},
};

/// Standard output and standard error.
#[derive(Debug)]
pub struct Console {
    json: bool,
    log: Option<Log>,
    bar: ProgressBar,
    dose: Option<Dose>,
}

/// A JSON line of standard output.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Started(&'a Injection),
    Ended(&'a Report),
}

impl Console {
    /// Shows an injection as JSON or as text, and appends it to a log.
    #[must_use]
    pub fn new(json: bool, log: Option<Log>) -> Self {
        Self { json, log, bar: ProgressBar::hidden(), dose: None }
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
        if self.json {
            print_json(&Line::Started(injection));
        }
        if io::stderr().is_terminal() {
            let milliseconds = 1000.0 * injection.duration_requested_seconds;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most an hour")]
            let bar = ProgressBar::new(milliseconds as u64).with_prefix(injection.to_string());
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg} {eta} left");
            self.bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
    }

    fn progress(&mut self, elapsed: Duration, lately: f64) {
        self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        if let Some(Dose { unit, requested, .. }) = &self.dose {
            self.bar.set_message(format!("{} of {}", unit.show(lately), unit.show(*requested)));
        }
    }

    fn ended(&mut self, report: &Report) {
        self.bar.finish_and_clear();
        if self.json {
            print_json(&Line::Ended(report));
        } else {
            print_line(&report.to_string());
        }
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.append(report)) {
            warn(&format!("the log lacks this injection: {error}"));
        }
    }
}
