//! Traffic that competes with a container's own for what its veth carries, at an exact rate.
//!
//! It takes the same way: through the queue (and the limit, if there is one) of the end that frames leave by. What that queue
//! does not take is lost and does not count, and is not made up for. Must not know how frames travel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::frames::{FRAME_BYTES, Lane};
use crate::{
    clocks,
    error::InjectorError,
    kinds::{
        Act, Tally, Window,
        pace::{Pace, Step},
    },
    undo::Undo,
};

const FRAME_BITS: u32 = 8 * FRAME_BYTES as u32;

/// How long a thread looks for nothing at most: so soon it is over when it is to be.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// What is sent one way.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) lane: Lane,
    pub(super) bits_per_second: f64,
}

/// All of it.
pub(super) struct Competition {
    /// Until it begins.
    flows: Vec<Flow>,
    requested: f64,
    duration: Duration,
    sent: Arc<Tally>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Competition {
    pub(super) fn new(flows: Vec<Flow>, duration: Duration) -> Self {
        let requested = flows.iter().map(|flow| flow.bits_per_second).sum();
        let (sent, over) = Default::default();
        Self { flows, requested, duration, sent, over, threads: Vec::new() }
    }
}

impl Act for Competition {
    /// Sockets end with the process.
    fn undo(&self) -> Vec<Undo> {
        Vec::new()
    }

    fn begin(&mut self) -> Result<(), InjectorError> {
        let failed = |source| InjectorError::Process { operation: "start a thread for traffic", source };
        let window = Window { start: clocks::monotonic(), duration: self.duration };
        for flow in self.flows.drain(..) {
            let (sent, over) = (Arc::clone(&self.sent), Arc::clone(&self.over));
            let work = move || flow.run(&window, &sent, &over);
            self.threads.push(thread::Builder::new().name("traffic".to_owned()).spawn(work).map_err(failed)?);
        }
        Ok(())
    }

    fn in_force(&mut self) -> Result<f64, InjectorError> {
        Ok(self.requested)
    }

    fn given(&self) -> Option<f64> {
        Some(self.sent.total())
    }

    fn end(&mut self) -> Result<Duration, InjectorError> {
        self.over.store(true, Ordering::Relaxed);
        self.flows.clear();
        // One that panicked is over too.
        let ended = self.threads.drain(..).filter_map(|thread| thread.join().ok()).max();
        Ok(ended.unwrap_or_else(clocks::monotonic))
    }
}

impl Drop for Competition {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Flow {
    /// Sends until its time is over or it is told so, and answers when that was. The sockets end with it: for that the kernel
    /// takes tens of milliseconds.
    fn run(self, window: &Window, sent: &Tally, over: &AtomicBool) -> Duration {
        raise_priority();
        let mut pace = Pace::new(self.bits_per_second, FRAME_BITS.into(), window.duration);
        while !over.load(Ordering::Relaxed) {
            let elapsed = window.elapsed();
            if elapsed >= window.duration {
                break;
            }
            match pace.step(elapsed) {
                Step::Move if self.lane.send() => sent.add(FRAME_BITS.into()),
                Step::Move => {}
                Step::RestUntil(until) => window.sleep_until(until.min(elapsed + LONGEST_REST)),
            }
        }
        clocks::monotonic()
    }
}

/// A frame is sent when it is due although others want the processor. Without the right to it, what is achieved tells.
fn raise_priority() {
    const HIGHEST: i32 = -20;
    let _ = rustix::process::setpriority_process(None, HIGHEST);
}
