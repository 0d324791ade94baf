//! How a load is shown: JSON lines for machines, a progress line and a summary for people, and the log.
//!
//! Must not know how requests are sent. A terminal that is slow or held does not delay them: a thread of its own draws.

use std::{
    io::{self, IsTerminal},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    engine::Observer,
    report::{Report, Workload},
    tally::Tally,
};
use crate::{
    console::{print_json, print_line, warn},
    report::Log,
};

/// How often the progress line changes: its rate and percentile are of such a time.
const INTERVAL: Duration = Duration::from_millis(500);

/// Standard output and standard error.
#[derive(Debug)]
pub(super) struct Console {
    json: bool,
    log: Option<Log>,
    duration: Duration,
    drawing: Option<(SyncSender<Live>, JoinHandle<()>)>,
    shown_at: Duration,
    shown_answers: u64,
}

/// How it goes.
#[derive(Debug, Clone, Copy)]
struct Live {
    elapsed: Duration,
    rate: f64,
    p99_seconds: f64,
    failed: u64,
}

/// A JSON line of standard output.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Started(&'a Workload),
    Ended(&'a Report),
}

impl Console {
    /// Shows a load of such a duration as JSON or as text, and appends it to a log.
    pub(super) fn new(json: bool, log: Option<Log>, duration: Duration) -> Self {
        Self { json, log, duration, drawing: None, shown_at: Duration::ZERO, shown_answers: 0 }
    }

    /// It begins.
    pub(super) fn started(&mut self, workload: &Workload) {
        if self.json {
            print_json(&Line::Started(workload));
        }
        if io::stderr().is_terminal() {
            let (sender, news) = sync_channel(1);
            let (target, duration) = (workload.target.clone(), self.duration);
            self.drawing = Some((sender, thread::spawn(move || draw(&news, target, duration))));
        }
    }

    /// It is over.
    pub(super) fn ended(&mut self, report: &Report) {
        if let Some((sender, drawing)) = self.drawing.take() {
            drop(sender);
            let _ = drawing.join();
        }
        if self.json {
            print_json(&Line::Ended(report));
        } else {
            print_line(&report.to_string());
        }
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.append(report)) {
            warn(&format!("the log lacks this load: {error}"));
        }
    }
}

impl Observer for Console {
    #[expect(clippy::cast_precision_loss, reason = "counts and times of a moment")]
    fn progress(&mut self, elapsed: Duration, tally: &mut Tally) {
        let lasted = elapsed.saturating_sub(self.shown_at);
        let Some((sender, _)) = self.drawing.as_ref().filter(|_| lasted >= INTERVAL) else { return };
        let answers = tally.answered - self.shown_answers;
        let live = Live {
            elapsed,
            rate: answers as f64 / lasted.as_secs_f64(),
            p99_seconds: tally.recent.value_at_quantile(0.99) as f64 / 1e9,
            failed: tally.errors.total(),
        };
        // Where the last line is still being drawn, this one is left out.
        let _ = sender.try_send(live);
        (self.shown_at, self.shown_answers) = (elapsed, tally.answered);
        tally.forget_recent();
    }
}

/// Draws what it is told until nobody tells any more.
fn draw(news: &Receiver<Live>, target: String, duration: Duration) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg} {eta} left");
    let bar = ProgressBar::new(millis(duration))
        .with_prefix(target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for Live { elapsed, rate, p99_seconds, failed } in news {
        bar.set_position(millis(elapsed.min(duration)));
        bar.set_message(format!("{rate:.0}/s p99 {:.1} ms, {failed} failed", 1000.0 * p99_seconds));
    }
    bar.finish_and_clear();
}
