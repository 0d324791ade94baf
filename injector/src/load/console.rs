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
    console::{
        output::{Output, millis, progress_line},
        pulse::Pulse,
    },
    report::Log,
};

/// How often the progress line changes: its rate and percentile are of such a time.
const INTERVAL: Duration = Duration::from_millis(500);

/// Standard output and standard error.
#[derive(Debug)]
pub(super) struct Console {
    output: Output,
    duration: Duration,
    pulse: Option<Pulse>,
    live: bool,
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
    /// Shows a load of such a duration as JSON, with a line each second if it is to be `live`, or as text, and appends it to a log.
    pub(super) fn new(json: bool, live: bool, log: Option<Log>, duration: Duration) -> Self {
        let output = Output { json, log };
        let (shown_at, shown_answers) = (Duration::ZERO, 0);
        Self { output, duration, live, pulse: None, drawing: None, shown_at, shown_answers }
    }

    /// It begins.
    pub(super) fn started(&mut self, workload: &Workload) {
        self.output.started(workload);
        self.pulse = self.live.then(|| Pulse::begin().ok()).flatten();
        // Whoever reads each second has a line of its own: two on one terminal would draw over each other.
        if self.pulse.is_none() && io::stderr().is_terminal() {
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
        if let Some(pulse) = self.pulse.take() {
            pulse.end();
        }
        self.output.ended("load", report);
    }
}

impl Observer for Console {
    #[expect(clippy::cast_precision_loss, reason = "counts and times of a moment")]
    fn progress(&mut self, elapsed: Duration, tally: &mut Tally) {
        let lasted = elapsed.saturating_sub(self.shown_at);
        if lasted < INTERVAL || (self.drawing.is_none() && self.pulse.is_none()) {
            return;
        }
        let answers = tally.answered - self.shown_answers;
        let live = Live {
            elapsed,
            rate: answers as f64 / lasted.as_secs_f64(),
            p99_seconds: tally.recent.value_at_quantile(0.99) as f64 / 1e9,
            failed: tally.errors.total(),
        };
        if let Some((sender, _)) = &self.drawing {
            // Where the last line is still being drawn, this one is left out.
            let _ = sender.try_send(live);
        }
        if let Some(pulse) = &mut self.pulse {
            pulse.tell(elapsed, live.rate);
        }
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
