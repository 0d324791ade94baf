//! Running a campaign: one process of this program for each injection, at its time.
//!
//! Each has its own journal entry and its own clean-up, and ends when this process does: it reads a pipe whose other end is
//! only here. Must not know what an injection does, nor how it is shown.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use ballast_api::with_causes;
use serde_json::Value;

use super::{
    cli::{Campaign, CampaignArgs},
    console::{Console, Counts},
    overlap::MOST_AT_ONCE,
    schedule::Scheduled,
};
use crate::{
    cli::LIVE,
    clocks,
    error::{ExitStatus, InjectorError},
    process::sources,
    program,
    report::Log,
};

/// So many may be there in fact: the schedule has fewer at a time, and those that are over take a moment to be gone.
const MOST_RUNNING: usize = 2 * MOST_AT_ONCE;

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
    console: Console,
    counts: Counts,
}

/// An injection that is there.
struct Running {
    number: usize,
    /// Open as long as it may go on.
    stdin: Option<ChildStdin>,
    /// Whether it has told that all of it was done.
    is_completed: bool,
}

/// Runs all of it.
///
/// # Errors
/// Before the first begins: when the log cannot be written, or no signal be waited for.
pub fn run(campaign: &Campaign, arguments: &CampaignArgs) -> Result<ExitStatus, InjectorError> {
    // Each injection opens it for itself; where none could, none is begun.
    arguments.log.as_deref().map(Log::open).transpose()?;
    let (events, inbox) = mpsc::channel();
    forward_signals(&events, arguments.ends_with_stdin())?;
    let console = Console::new(campaign, arguments.json);
    let run =
        Run { campaign, arguments, events, inbox, running: Vec::new(), console, counts: Counts::default() };
    Ok(run.run())
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

impl Run<'_> {
    fn run(mut self) -> ExitStatus {
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
                Some(Event::Line(number, line)) => self.hear(number, line),
                Some(Event::Ended(number, code)) => self.ended(number, code),
                None => {
                    if let Some(injection) = to_come.next() {
                        self.begin(injection);
                    }
                }
            }
        }
        self.console.conclude(self.counts);
        let outcome = if self.counts.failed == 0 { ExitStatus::Done } else { ExitStatus::Failed };
        stopped.unwrap_or(outcome)
    }

    /// Nothing when it is time for the next one.
    fn hear_until(&self, next: Option<Duration>) -> Option<Event> {
        match next {
            Some(next) => self.inbox.recv_timeout(next.saturating_sub(clocks::monotonic())).ok(),
            None => self.inbox.recv().ok(),
        }
    }

    /// Where it cannot be started, the others go on.
    fn begin(&mut self, injection: &Scheduled) {
        let number = injection.number;
        match self.start(injection) {
            Ok(stdin) => {
                self.running.push(Running { number, stdin, is_completed: false });
                self.counts.begun += 1;
            }
            Err(error) => {
                self.counts.failed += 1;
                self.console.warn(&format!("injection {number}: {}", with_causes(&error)));
                self.console.over(number);
            }
        }
    }

    /// Starts its process, and answers the end of the pipe that it reads.
    fn start(&self, injection: &Scheduled) -> Result<Option<ChildStdin>, InjectorError> {
        let failed = |source| InjectorError::Process { operation: "start an injection", source };
        if self.running.len() >= MOST_RUNNING {
            let many = format!("{MOST_RUNNING} are there already, and take longer to end than they should");
            return Err(failed(io::Error::other(many)));
        }
        let mut line = self.arguments.command_line(&self.campaign.name, injection);
        if self.console.shows_doses() && !line.iter().any(|word| word == LIVE) {
            line.push(LIVE.into());
        }
        // Who listens is there first: an injection that nobody hears could not be waited for.
        let (hand_over, handed_over) = mpsc::sync_channel(1);
        let (number, events) = (injection.number, self.events.clone());
        let listening = move || handed_over.iter().for_each(|child| listen(number, child, &events));
        thread::Builder::new().spawn(listening).map_err(failed)?;
        let mut child = program::again().args(line).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdin = child.stdin.take();
        // Its thread waits for it.
        let _ = hand_over.send(child);
        Ok(stdin)
    }

    fn hear(&mut self, number: usize, line: Value) {
        if line["event"] == "ended"
            && let Some(running) = self.running.iter_mut().find(|running| running.number == number)
        {
            running.is_completed = line["ending"] == "completed";
        }
        self.console.heard(number, line);
    }

    /// An exit code of 0 alone tells little: so ends what was cut short with this campaign, too, even before its dose began.
    fn ended(&mut self, number: usize, code: Option<i32>) {
        let at = self.running.iter().position(|running| running.number == number);
        let is_completed = at.is_some_and(|at| self.running.swap_remove(at).is_completed);
        self.console.over(number);
        if is_completed && code == Some(0) {
            self.counts.completed += 1;
            return;
        }
        self.counts.failed += 1;
        self.console.warn(&match code {
            Some(0) => format!("injection {number} was cut short"),
            Some(code) => format!("injection {number} did not end well: exit code {code}"),
            None => format!("injection {number} did not end well: a signal"),
        });
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
