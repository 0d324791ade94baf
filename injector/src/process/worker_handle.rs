//! The worker as the supervisor holds it: started, ordered, measured, killed.
//!
//! Must not know when any of that is due.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
    time::Duration,
};

use nix::unistd::Pid;
use serde::Serialize;

use super::{
    identity::ProcessIdentity,
    messages::{Go, Message, Order, Reading, send},
    sources::Event,
};
use crate::{clocks, console::warn, error::InjectorError, program};

/// How long a killed worker is waited for without a word. The kernel lets go of it when the requests that it has made to a
/// disk are done, throttled ones too; the report need not wait for that, and who cleans up does.
const DEATH: Duration = Duration::from_millis(500);

/// A worker process; killed when dropped, and waited for, within bounds.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    child: Child,
    // Open as long as the worker shall run.
    stdin: Option<ChildStdin>,
}

impl WorkerHandle {
    /// Starts a worker. What it says, and its end, become events.
    pub(super) fn spawn(events: Sender<Event>) -> Result<Self, InjectorError> {
        let mut child = program::again()
            .arg("worker")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| InjectorError::Process { operation: "start the worker", source })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            // A line that is no message is the end, as is an error: the worker is of no use then.
            for message in lines.map_while(|line| serde_json::from_str::<Message>(&line.ok()?).ok()) {
                let _ = events.send(Event::Worker(message));
            }
            let _ = events.send(Event::WorkerEnded);
        });
        Ok(Self { child, stdin })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn identity(&self) -> Result<ProcessIdentity, InjectorError> {
        let gone = || InjectorError::WorkerFailed { status: "it ended at once".to_owned() };
        ProcessIdentity::of(self.pid())?.ok_or_else(gone)
    }

    pub(super) fn order(&mut self, order: &Order) -> Result<(), InjectorError> {
        self.tell(order, "give the worker its order")
    }

    pub(super) fn go(&mut self) -> Result<(), InjectorError> {
        self.tell(&Go {}, "have the worker begin")
    }

    fn tell(&mut self, line: &impl Serialize, operation: &'static str) -> Result<(), InjectorError> {
        let failed = |source| InjectorError::Process { operation, source };
        self.stdin.as_mut().map_or(Ok(()), |stdin| send(stdin, line)).map_err(failed)
    }

    /// The worker's CPU time now, in seconds; `None` when it is gone.
    pub(super) fn cpu_time(&self) -> Option<Reading> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).ok()?);
        let (monotonic, cpu) = clocks::at_once(|| clocks::cpu_of(pid));
        Some(Reading { monotonic, amount: cpu?.as_secs_f64() })
    }

    /// Ends the worker, if it has not ended. It does nothing any more, though the kernel may hold it for a while.
    pub(super) fn kill(&mut self) -> Result<(), InjectorError> {
        self.child.kill().map_err(|source| InjectorError::Process { operation: "end the worker", source })
    }

    /// Whether it is dead soon.
    fn is_soon_dead(&mut self) -> bool {
        let end = clocks::monotonic() + DEATH;
        // An error means that it is gone.
        while matches!(self.child.try_wait(), Ok(None)) {
            if clocks::monotonic() >= end {
                return false;
            }
            clocks::sleep_until(clocks::monotonic() + DEATH / 500);
        }
        true
    }

    /// How a worker ended that has said its last.
    pub(super) fn exit_status(&mut self) -> Result<ExitStatus, InjectorError> {
        drop(self.stdin.take());
        self.child
            .wait()
            .map_err(|source| InjectorError::Process { operation: "wait for the worker", source })
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        // An error means that it is gone.
        if self.kill().is_ok() && !self.is_soon_dead() {
            warn(
                "the killed worker is not gone yet: it lacks CPU time, or has requests to a slow disk under way",
            );
        }
    }
}
