//! How a campaign is shown: its schedule, JSON lines for machines, a progress line and a summary for people.
//!
//! Must not know how an injection is started, nor what makes it end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{cli::Campaign, schedule::Scheduled};
use crate::console::{print_json, print_line, warn};

/// What became of a campaign's injections so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Those that were started.
    pub(super) begun: usize,
    /// Those that are over, as asked.
    pub(super) completed: usize,
    /// Those that are over otherwise: failed, not even started, or cut short.
    pub(super) failed: usize,
}

/// Standard output and standard error.
pub(super) struct Console {
    name: String,
    scheduled: usize,
    json: bool,
    bar: ProgressBar,
}

/// Prints when what is to happen.
pub fn print_schedule(campaign: &Campaign, json: bool) {
    for injection in &campaign.schedule {
        if json {
            print_json(injection);
        } else {
            print_line(&in_words(injection));
        }
    }
    if !json {
        let busy: u64 = campaign.schedule.iter().map(|injection| injection.duration_ms).sum();
        let busy = humantime::format_duration(Duration::from_millis(busy));
        print_line(&format!("{}: {} injections, {busy} in all", campaign.name, campaign.schedule.len()));
    }
}

fn in_words(injection: &Scheduled) -> String {
    let Scheduled { number, kind, intensity, place, cgroup, url, options, .. } = injection;
    let time = |ms| humantime::format_duration(Duration::from_millis(ms)).to_string();
    let (at, duration) = (time(injection.at_ms), time(injection.duration_ms));
    let (intensity, whose) = (intensity.as_deref().unwrap_or("-"), cgroup.as_ref().or(url.as_ref()));
    let whose = whose.map_or("", |whose| whose);
    let words =
        format!("{number:>4}  at {at:<16} for {duration:<12} {kind:<14} {intensity:<12} {place} {whose}");
    format!("{words} {}", options.join(" ")).trim_end().to_owned()
}

impl Console {
    /// Shows a campaign as JSON or as text.
    pub(super) fn new(campaign: &Campaign, json: bool) -> Self {
        let scheduled = campaign.schedule.len();
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos} of {len}; {msg}");
        let bar = ProgressBar::new(u64::try_from(scheduled).unwrap_or(u64::MAX));
        let bar =
            bar.with_prefix("campaign").with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { name: campaign.name.clone(), scheduled, json, bar }
    }

    /// An injection has printed this line.
    pub(super) fn heard(&self, number: usize, mut line: Value) {
        if self.json {
            line["campaign"] = json!(self.name);
            line["number"] = json!(number);
            print_json(&line);
        } else if line["event"] == "ended" {
            self.bar.suspend(|| print_line(&end_in_words(number, &line)));
        }
    }

    /// An injection is over, well or otherwise, or could not begin; so many are there.
    pub(super) fn over(&self, running: usize) {
        self.bar.inc(1);
        self.bar.set_message(format!("{running} running"));
    }

    /// Tells people what is not as asked.
    pub(super) fn warn(&self, problem: &str) {
        self.bar.suspend(|| warn(problem));
    }

    /// The campaign is over.
    pub(super) fn conclude(&self, Counts { begun, completed, failed }: Counts) {
        self.bar.finish_and_clear();
        let Self { name, scheduled, .. } = self;
        if self.json {
            print_json(&json!({
                "event": "campaign_ended", "campaign": name, "scheduled": scheduled, "begun": begun,
                "completed": completed, "failed": failed,
            }));
        } else {
            print_line(&format!(
                "{name}: {begun} of {scheduled} injections begun, {completed} completed, {failed} failed or cut short"
            ));
        }
    }
}

fn end_in_words(number: usize, line: &Value) -> String {
    let told = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
    let (requested, achieved) = (line["requested"].as_f64(), line["achieved"].as_f64());
    let share = achieved.zip(requested).map_or(0.0, |(achieved, requested)| 100.0 * achieved / requested);
    let (kind, target, ending) = (told("kind"), told("target"), told("ending"));
    format!("#{number} {kind} {target}: {ending}, {share:.1} % of the dose")
}
