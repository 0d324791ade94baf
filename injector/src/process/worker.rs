//! The process that makes the load: takes one order, carries it out, says when it began and ended.
//!
//! Must not know about cgroups, targets or journals: it was put where it is.

use std::{
    hint::black_box,
    io::{self, BufRead, Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_api::Clock;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::messages::{Message, Order, Reading, send};
use crate::{
    clocks,
    dose::{DutyCycle, Step},
};

/// Steps of arithmetic between two looks at the clocks: about 25 microseconds.
const CHUNK: u64 = 16_384;

/// What the main thread waits for.
enum Event {
    /// A thread has done its share.
    ThreadDone,
    /// The supervisor is gone, or wants the end.
    StdinEnded,
}

/// Reads an order from `stdin`, carries it out, and ends early when `stdin` does.
///
/// # Errors
/// When the order cannot be read, threads cannot be started, or nobody listens.
pub fn run<I: BufRead + Send + 'static>(
    mut stdin: I,
    stdout: &mut impl Write,
    clock: &dyn Clock,
) -> Result<()> {
    // Who is not there to listen wants no load.
    if send(stdout, &Message::Ready).is_err() {
        return Ok(());
    }
    let mut line = String::new();
    // Bounded, although only the supervisor writes here: a worker started by hand reads a terminal.
    if stdin.by_ref().take(4096).read_line(&mut line)? == 0 {
        return Ok(());
    }
    let Order::Cpu { cores, threads, duration } = serde_json::from_str(&line).context("this is no order")?;
    let (events, inbox) = mpsc::channel();
    let ended = events.clone();
    thread::spawn(move || {
        let _ = io::copy(&mut stdin, &mut io::sink());
        let _ = ended.send(Event::StdinEnded);
    });

    let start = Reading { monotonic: clocks::monotonic(), cpu: clocks::process_cpu() };
    send(stdout, &Message::Started { unix_nanos: clock.now().0, reading: start })?;
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 threads")]
    let share = cores / threads as f64;
    let mut placement = placement(threads)?;
    for _ in 0..threads {
        let done = events.clone();
        let place = placement.next();
        let burn = move || {
            if let Some(processor) = place {
                stay_on(processor);
            }
            burn(DutyCycle::new(share, duration), start.monotonic, duration);
            let _ = done.send(Event::ThreadDone);
        };
        thread::Builder::new().name("burn".to_owned()).spawn(burn).context("cannot start a thread")?;
    }
    for _ in 0..threads {
        if matches!(inbox.recv()?, Event::StdinEnded) {
            return Ok(());
        }
    }
    let end = Reading { monotonic: clocks::monotonic(), cpu: clocks::process_cpu() };
    send(stdout, &Message::Finished { reading: end })?;
    Ok(())
}

/// A processor for each of so many threads, in turn; none for any when they are fewer than the processors.
///
/// Left to itself, the kernel often wakes all of them on one processor and never moves them, because the quota ends each
/// burst too soon. A target that runs on another one then keeps half of the quota, however high the load's priority.
fn placement(threads: usize) -> Result<impl Iterator<Item = usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot tell the processors")?;
    let processors: Vec<usize> =
        (0..CpuSet::count()).filter(|&processor| allowed.is_set(processor).unwrap_or(false)).collect();
    let enough = if threads < processors.len() { Vec::new() } else { processors };
    Ok(enough.into_iter().cycle())
}

/// Keeps the calling thread on one processor. Where that is refused (it went offline, or a cpuset changed since), the
/// kernel may place the thread: the dose is still paid.
fn stay_on(processor: usize) {
    let mut only = CpuSet::new();
    if only.set(processor).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &only);
    }
}

/// Keeps to `cycle` from `start` on, for `duration`.
fn burn(mut cycle: DutyCycle, start: Duration, duration: Duration) {
    let mut scratch = 1;
    // The thread's own beginning counts too: it is part of the load.
    loop {
        let elapsed = clocks::monotonic().saturating_sub(start);
        if elapsed >= duration {
            return;
        }
        match cycle.step(elapsed, clocks::thread_cpu()) {
            Step::Burn => scratch = arithmetic(scratch),
            Step::RestUntil(until) => clocks::sleep_until(start + until),
        }
    }
}

/// Work that stays in the registers: it takes CPU time and nothing else, neither cache nor memory bandwidth.
fn arithmetic(seed: u64) -> u64 {
    (0..CHUNK).fold(seed, |state, _| {
        black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
}
