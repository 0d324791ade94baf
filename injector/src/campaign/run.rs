//! Running a campaign: one process of this program for each injection, at its time.
//!
//! Each has its own journal entry and its own clean-up, and ends when this process does: it reads a pipe whose other end is
//! only here. Must not know what an injection does.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    cli::{Campaign, CampaignArgs},
    schedule::Scheduled,
};
use crate::{
    clocks,
    console::{print_json, print_line, warn},
    error::{ExitStatus, InjectorError},
    process::{own_program, sources},
    report::Log,
};

/// What is heard while it runs.
enum Event {
    /// An injection printed this.
    Line(usize, Value),
    /// An injection has ended, with this exit code.
    Ended(usize, Option<i32>),
    /// The campaign is to end: with this exit status.
    Stop(ExitStatus),
}

/// A campaign that runs.
struct Run<'a> {
    campaign: &'a Campaign,
    arguments: &'a CampaignArgs,
    events: Sender<Event>,
    inbox: Receiver<Event>,
    running: Vec<Running>,
    bar: ProgressBar,
    counts: Counts,
}

/// An injection that is there.
struct Running {
    number: usize,
    /// Open as long as it may go on.
    stdin: Option<ChildStdin>,
}

#[derive(Default)]
struct Counts {
    begun: usize,
    completed: usize,
    failed: usize,
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

/// Runs all of it.
///
/// # Errors
/// When the log cannot be written, no process be started, or no signal be waited for.
pub fn run(campaign: &Campaign, arguments: &CampaignArgs) -> Result<ExitStatus, InjectorError> {
    // Each injection opens it for itself; where none could, none is begun.
    arguments.log.as_deref().map(Log::open).transpose()?;
    let (events, inbox) = mpsc::channel();
    forward_signals(&events, arguments.ends_with_stdin())?;
    let running = Vec::new();
    let bar = bar(campaign.schedule.len());
    let run = Run { campaign, arguments, events, inbox, running, bar, counts: Counts::default() };
    run.run()
}

/// Signals, and the end of standard input where that is one, end the campaign.
fn forward_signals(events: &Sender<Event>, until_stdin_closes: bool) -> Result<(), InjectorError> {
    let (heard, hearing) = mpsc::channel();
    sources::watch_signals(heard.clone())?;
    if until_stdin_closes {
        sources::watch_stdin(heard);
    }
    let events = events.clone();
    thread::spawn(move || {
        for event in hearing {
            let status = match event {
                sources::Event::StdinClosed => ExitStatus::Done,
                _ => ExitStatus::Interrupted,
            };
            let _ = events.send(Event::Stop(status));
        }
    });
    Ok(())
}

fn bar(injections: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos} of {len}; {msg}");
    let bar = ProgressBar::new(u64::try_from(injections).unwrap_or(u64::MAX));
    bar.with_prefix("campaign").with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Run<'_> {
    fn run(mut self) -> Result<ExitStatus, InjectorError> {
        let start = clocks::monotonic();
        let mut to_come = self.campaign.schedule.iter().peekable();
        let mut stopped = None;
        loop {
            let next = to_come.peek().map(|injection| start + injection.at()).filter(|_| stopped.is_none());
            if next.is_none() && self.running.is_empty() {
                break;
            }
            match self.hear_until(next) {
                Some(Event::Stop(status)) => {
                    stopped = stopped.or(Some(status));
                    // Each reads the end of its standard input, and ends.
                    self.running.iter_mut().for_each(|running| drop(running.stdin.take()));
                }
                Some(Event::Line(number, line)) => self.show(number, line),
                Some(Event::Ended(number, code)) => self.ended(number, code),
                None => {
                    if let Some(injection) = to_come.next() {
                        self.begin(injection)?;
                    }
                }
            }
        }
        Ok(self.conclude(stopped))
    }

    /// Nothing when it is time for the next one.
    fn hear_until(&self, next: Option<Duration>) -> Option<Event> {
        match next {
            Some(next) => self.inbox.recv_timeout(next.saturating_sub(clocks::monotonic())).ok(),
            None => self.inbox.recv().ok(),
        }
    }

    fn begin(&mut self, injection: &Scheduled) -> Result<(), InjectorError> {
        let mut command = own_program(&[])?;
        command.args(self.arguments.command_line(&self.campaign.name, injection));
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut child =
            spawned.map_err(|source| InjectorError::Process { operation: "start an injection", source })?;
        let number = injection.number;
        self.running.push(Running { number, stdin: child.stdin.take() });
        self.counts.begun += 1;
        let events = self.events.clone();
        thread::spawn(move || listen(number, child, &events));
        Ok(())
    }

    fn show(&self, number: usize, mut line: Value) {
        if self.arguments.json {
            line["campaign"] = json!(self.campaign.name);
            line["number"] = json!(number);
            print_json(&line);
        } else if line["event"] == "ended" {
            let told = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            let (requested, achieved) = (line["requested"].as_f64(), line["achieved"].as_f64());
            let share =
                achieved.zip(requested).map_or(0.0, |(achieved, requested)| 100.0 * achieved / requested);
            let (kind, target, ending) = (told("kind"), told("target"), told("ending"));
            self.bar.suspend(|| {
                print_line(&format!("#{number} {kind} {target}: {ending}, {share:.1} % of the dose"));
            });
        }
    }

    fn ended(&mut self, number: usize, code: Option<i32>) {
        self.running.retain(|running| running.number != number);
        match code {
            Some(0) => self.counts.completed += 1,
            code => {
                self.counts.failed += 1;
                let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
                self.bar.suspend(|| warn(&format!("injection {number} did not end well: {code}")));
            }
        }
        self.bar.inc(1);
        self.bar.set_message(format!("{} running", self.running.len()));
    }

    fn conclude(&self, stopped: Option<ExitStatus>) -> ExitStatus {
        self.bar.finish_and_clear();
        let Counts { begun, completed, failed } = self.counts;
        let (name, scheduled) = (&self.campaign.name, self.campaign.schedule.len());
        if self.arguments.json {
            print_json(&json!({
                "event": "campaign_ended", "campaign": name, "scheduled": scheduled, "begun": begun,
                "completed": completed, "failed": failed,
            }));
        } else {
            print_line(&format!(
                "{name}: {begun} of {scheduled} injections begun, {completed} completed, {failed} failed"
            ));
        }
        let outcome = if failed == 0 { ExitStatus::Done } else { ExitStatus::Failed };
        stopped.unwrap_or(outcome)
    }
}

/// Tells what an injection prints, and how it ends.
fn listen(number: usize, mut child: Child, events: &Sender<Event>) {
    let lines = child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
    for line in lines.map_while(Result::ok) {
        if let Ok(line) = serde_json::from_str(&line) {
            let _ = events.send(Event::Line(number, line));
        }
    }
    let code = child.wait().ok().and_then(|status| status.code());
    let _ = events.send(Event::Ended(number, code));
}
