//! How a load is shown: JSON lines for machines, a progress line and a summary for people, and the log.
//!
//! Must not know how requests are sent. A terminal that is slow or held does not delay them: a thread of its own draws.

use std::{
    io::{self, IsTerminal},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    engine::Observer,
    report::{Report, Workload},
    tally::Tally,
};
use crate::{
    console::output::{Output, millis, progress_line},
    report::Log,
};

/// How often the progress line changes: its rate and percentile are of such a time.
const INTERVAL: Duration = Duration::from_millis(500);

/// Standard output and standard error.
#[derive(Debug)]
pub(super) struct Console {
    output: Output,
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

impl Console {
    /// Shows a load of such a duration as JSON or as text, and appends it to a log.
    pub(super) fn new(json: bool, log: Option<Log>, duration: Duration) -> Self {
        let output = Output { json, log };
        Self { output, duration, drawing: None, shown_at: Duration::ZERO, shown_answers: 0 }
    }

    /// It begins.
    pub(super) fn started(&mut self, workload: &Workload) {
        self.output.started(workload);
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
        self.output.ended("load", report);
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
    let bar = progress_line(target, duration);
    for Live { elapsed, rate, p99_seconds, failed } in news {
        bar.set_position(millis(elapsed.min(duration)));
        bar.set_message(format!("{rate:.0}/s p99 {:.1} ms, {failed} failed", 1000.0 * p99_seconds));
    }
    bar.finish_and_clear();
}
