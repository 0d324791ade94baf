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
    let mut processors = placement(threads, share, &allowed_processors()).into_iter().cycle();
    for _ in 0..threads {
        let done = events.clone();
        let place = processors.next();
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

/// The processors that threads are kept on, in turn; none where the kernel is to place them: when there are fewer threads
/// than processors, or when the threads of one would want more of it than there is.
///
/// Left to itself, the kernel often wakes all of them on one processor and never moves them, because the quota ends each
/// burst too soon. A target that runs on another one then keeps half of the quota, however high the load's priority.
#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 threads")]
fn placement(threads: usize, share: f64, processors: &[usize]) -> Vec<usize> {
    if processors.is_empty() || threads < processors.len() {
        return Vec::new();
    }
    let on_one = threads.div_ceil(processors.len()) as f64;
    if on_one * share > 1.0 { Vec::new() } else { processors.to_vec() }
}

/// The processors that this process may use; none where the kernel does not tell.
fn allowed_processors() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&processor| allowed.is_set(processor).unwrap_or(false)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_gets_its_threads() {
        assert_eq!(placement(4, 0.2, &[0, 3]), [0, 3]);
        assert_eq!(placement(2, 1.0, &[0, 1]), [0, 1]);
    }

    #[test]
    fn the_kernel_places_what_would_not_fit() {
        assert_eq!(placement(3, 2.0 / 3.0, &[0, 1]), [0; 0], "two of three on one processor want 1.33 of it");
        assert_eq!(placement(1, 0.5, &[0, 1]), [0; 0], "one thread alone goes where the target is not");
        assert_eq!(placement(4, 0.2, &[]), [0; 0]);
    }
}
