//! How a campaign is shown: its schedule, JSON lines for machines, a progress line and a summary for people.
//!
//! Must not know how an injection is started, nor what makes it end.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{cli::Campaign, schedule::Scheduled};
use crate::{
    console::{print_json, print_line, warn},
    unit::Unit,
};

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
    doses: BTreeMap<usize, Dose>,
}

/// What is known of the dose of an injection that is there.
struct Dose {
    kind: String,
    /// Absent for a load, whose rate is in requests per second.
    unit: Option<Unit>,
    requested: Option<f64>,
    /// Of the last second; absent in the first one.
    lately: Option<f64>,
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
        let style = ProgressStyle::with_template("{prefix} {bar:20} {pos} of {len}; {wide_msg}");
        let bar = ProgressBar::new(u64::try_from(scheduled).unwrap_or(u64::MAX));
        let bar =
            bar.with_prefix("campaign").with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { name: campaign.name.clone(), scheduled, json, bar, doses: BTreeMap::new() }
    }

    /// Whether somebody sees the progress line, and with it what is achieved at the moment.
    pub(super) fn shows_doses(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// An injection has printed this line.
    pub(super) fn heard(&mut self, number: usize, mut line: Value) {
        self.note(number, &line);
        self.bar.set_message(self.doses_in_words());
        if line["event"] == "progress" {
            return;
        }
        if self.json {
            line["campaign"] = json!(self.name);
            line["number"] = json!(number);
            print_json(&line);
        } else if line["event"] == "ended" {
            self.bar.suspend(|| print_line(&end_in_words(number, &line)));
        }
    }

    /// An injection is over, well or otherwise, or could not begin.
    pub(super) fn over(&mut self, number: usize) {
        self.doses.remove(&number);
        self.bar.inc(1);
        self.bar.set_message(self.doses_in_words());
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

    fn note(&mut self, number: usize, line: &Value) {
        match line["event"].as_str() {
            Some("started") => {
                let dose = Dose {
                    kind: line["kind"].as_str().unwrap_or("-").to_owned(),
                    unit: serde_json::from_value(line["unit"].clone()).ok(),
                    requested: line["requested"].as_f64(),
                    lately: None,
                };
                self.doses.insert(number, dose);
            }
            Some("progress") => {
                if let Some(dose) = self.doses.get_mut(&number) {
                    dose.lately = line["lately"].as_f64();
                }
            }
            _ => {}
        }
    }

    /// All that are there, as many as the line has room for.
    fn doses_in_words(&self) -> String {
        let doses = self.doses.iter().map(|(number, dose)| format!("#{number} {}", dose.in_words()));
        doses.collect::<Vec<_>>().join(", ")
    }
}

impl Dose {
    fn in_words(&self) -> String {
        let Self { kind, unit, requested, lately } = self;
        match (lately, unit, requested) {
            (None, ..) => kind.clone(),
            (Some(lately), Some(unit), Some(requested)) => {
                format!("{kind} {} of {}", unit.show(*lately), unit.show(*requested))
            }
            (Some(lately), ..) => format!("{kind} {lately:.0}/s"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_achieved_at_the_moment_is_told_of_all_that_are_there() {
        let campaign = Campaign { name: "c".to_owned(), schedule: Vec::new() };
        let mut console = Console::new(&campaign, false);
        let mut told = |number, line| {
            console.heard(number, line);
            console.doses_in_words()
        };
        let cpu = json!({ "event": "started", "kind": "cpu", "unit": "cores", "requested": 0.16 });
        assert_eq!(told(2, cpu), "#2 cpu");
        let load = json!({ "event": "started", "kind": "load", "unit": "requests" });
        assert_eq!(told(1, load), "#1 load, #2 cpu");
        told(1, json!({ "event": "progress", "elapsed_seconds": 1.0, "lately": 203.4 }));
        let both = told(2, json!({ "event": "progress", "elapsed_seconds": 1.0, "lately": 0.1534 }));
        assert_eq!(both, "#1 load 203/s, #2 cpu 0.1534 cores of 0.1600 cores");
        told(7, json!({ "event": "progress", "lately": 1.0 }));
        console.over(1);
        assert_eq!(console.doses_in_words(), "#2 cpu 0.1534 cores of 0.1600 cores");
    }
}
