//! What an injection and a load have in common when they are shown: JSON lines or a text, the log, a progress line.
//!
//! Must not know what is in a report.

use std::{fmt::Display, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{print_json, print_line, warn};
use crate::report::Log;

/// Where the begin and the end are told.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether standard output takes JSON lines.
    pub(crate) json: bool,
    /// Takes the report.
    pub(crate) log: Option<Log>,
}

/// A JSON line of standard output.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a, T> {
    Started(&'a T),
    Ended(&'a T),
}

impl Output {
    /// It begins.
    pub(crate) fn started(&self, asked: &impl Serialize) {
        if self.json {
            print_json(&Line::Started(asked));
        }
    }

    /// It is over. `what` is its name in the warning that a log cannot be written: `injection` or `load`.
    pub(crate) fn ended(&mut self, what: &str, report: &(impl Serialize + Display)) {
        if self.json {
            print_json(&Line::Ended(report));
        } else {
            print_line(&report.to_string());
        }
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.append(report)) {
            warn(&format!("the log lacks this {what}: {error}"));
        }
    }
}

/// A progress line on standard error, whose positions are [`millis`] from 0 to those of `duration`.
pub(crate) fn progress_line(prefix: String, duration: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg} {eta} left");
    ProgressBar::new(millis(duration))
        .with_prefix(prefix)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A position on a progress line.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
