//! The report as a text for people.
//!
//! Pure. Must not know how its figures come about.

use std::fmt;

use super::{
    super::tally::{Errors, Second, Statuses},
    Percentiles, Report, Workload,
};

/// Below this share of the due requests the report says that the rate was not reached.
const REACHED: f64 = 0.98;

/// The most rows that show how it went over time; a longer load has several seconds in each.
const MOST_ROWS: usize = 60;

impl Report {
    /// How it went over time, for loads of more than a second.
    fn write_course(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = &self.each_second;
        let each = seconds.len().div_ceil(MOST_ROWS);
        if seconds.len() < 2 {
            return Ok(());
        }
        write!(f, "\n  until       requested     sent answered   failed")?;
        for (row, together) in seconds.chunks(each).enumerate() {
            let sum = |column: fn(&Second) -> u64| together.iter().map(column).sum::<u64>();
            let until = row * each + together.len();
            let (requested, sent) = (sum(|second| second.requested), sum(|second| second.sent));
            let (answered, failed) = (sum(|second| second.answered), sum(|second| second.failed));
            write!(f, "\n    {until:>4} s    {requested:>9} {sent:>8} {answered:>8} {failed:>8}")?;
        }
        Ok(())
    }
}

/// Five columns in milliseconds.
struct Row<'a>(&'a str, Option<Percentiles>);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, times) = self;
        write!(f, "\n  {name:<12}")?;
        let Some(Percentiles { p50, p90, p99, p99_9, max }) = times else { return write!(f, " none") };
        for (column, seconds) in [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("max", max)] {
            write!(f, " {column} {:<9.3}", 1000.0 * seconds)?;
        }
        write!(f, " ms")
    }
}

/// Names and counts; those of zero are left out.
fn list(counts: &[(&str, u64)]) -> String {
    let shown = counts.iter().filter(|(_, count)| *count > 0);
    let shown: Vec<String> = shown.map(|(name, count)| format!("{count} {name}")).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

impl fmt::Display for Report {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workload { target, method, duration_requested_seconds, .. } = &self.workload;
        let guard = self.guard.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(f, "load on {method} {target}: {}{guard}", self.ending)?;
        writeln!(f, "  requested   {} requests, {:.1}/s", self.requested, self.requested_rate)?;
        writeln!(f, "  sent        {} requests, {:.1}/s", self.sent, self.sent_rate)?;
        write!(
            f,
            "  answered    {} requests, {:.1}/s within the duration",
            self.answered, self.answered_rate
        )?;
        if (self.sent as f64) < REACHED * self.requested as f64 {
            write!(
                f,
                "\n              fewer than requested: all connections were busy, or none could be opened"
            )?;
        }
        let Statuses { success, redirect, client_error, server_error, other } = self.statuses;
        let statuses = [
            ("2xx", success),
            ("3xx", redirect),
            ("4xx", client_error),
            ("5xx", server_error),
            ("others", other),
        ];
        write!(f, "\n  statuses    {}", list(&statuses))?;
        let Errors { connect, timeout, closed, malformed, dropped, unsent, unfinished } = self.errors;
        let errors = [
            ("not connected", connect),
            ("timed out", timeout),
            ("closed", closed),
            ("malformed", malformed),
            ("dropped (queue full)", dropped),
            ("unsent (queued at the end)", unsent),
            ("unfinished at the end", unfinished),
        ];
        write!(f, "\n  errors      {}", list(&errors))?;
        write!(f, "{}", Row("latency", self.latency_seconds))?;
        write!(f, "{}", Row("service time", self.service_seconds))?;
        write!(f, "{}", Row("send error", self.send_error_seconds))?;
        self.write_course(f)?;
        write!(f, "\n  duration    {:.3} s of {duration_requested_seconds:.3} s", self.duration_seconds)
    }
}
