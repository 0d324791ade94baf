//! The process that makes the load: takes one order, gets ready, waits to be moved, carries it out, tells how far it is.
//!
//! Must not know about cgroups, targets or journals: it was put where it is.

use std::{
    io::{self, BufRead, Read, Write},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_api::Clock;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::Pid,
};
use serde::de::DeserializeOwned;

use super::messages::{Go, Message, Order, Reading, send};
use crate::{
    clocks,
    kinds::{Engine, Tally, Window},
};

/// How often it tells how far it is.
const TELL: Duration = Duration::from_millis(100);

/// The longest line: a worker started by hand reads a terminal.
const LINE_BYTES: u64 = 65_536;

/// The stack of each thread but the first. Smaller than a huge page: the kernel may back a larger one (2 MiB, by default) with
/// one at the first touch, and that would count as memory that is held.
const STACK_BYTES: usize = 256 << 10;

/// What the main thread waits for.
enum Event {
    /// A thread has done its share.
    ThreadDone(Result<()>),
    /// The supervisor is gone, or wants the end.
    StdinEnded,
}

/// Reads an order from `stdin`, carries it out, and ends early when `stdin` does.
///
/// # Errors
/// When the order cannot be read or carried out, or nobody listens.
pub fn run<I: BufRead + Send + 'static>(
    mut stdin: I,
    stdout: &mut impl Write,
    clock: &dyn Clock,
) -> Result<()> {
    // Throttled or stopped, it could not notice the end of a pipe.
    set_pdeathsig(Signal::SIGKILL).context("cannot ask to die with the supervisor")?;
    let Some(Order { load, duration, processors }) = next_line(&mut stdin, "order")? else { return Ok(()) };
    let mut engine = load.engine()?;
    // Who is not there to listen wants no load.
    if send(stdout, &Message::Ready).is_err() {
        return Ok(());
    }
    let Some(Go {}) = next_line(&mut stdin, "word to go")? else { return Ok(()) };
    stay_on(&processors);
    engine.settle()?;
    let engine: Arc<dyn Engine> = engine.into();
    let (events, inbox) = mpsc::channel();
    let ended = events.clone();
    start("stdin", move || {
        let _ = io::copy(&mut stdin, &mut io::sink());
        let _ = ended.send(Event::StdinEnded);
    })?;
    let tally = Arc::new(Tally::default());
    let window = Window { start: clocks::monotonic(), duration };
    let reading = || Reading::take(|| engine.amount(&tally));
    send(stdout, &Message::Started { unix_nanos: clock.now().0, reading: reading() })?;
    for thread in 0..engine.threads() {
        let (done, engine, tally) = (events.clone(), Arc::clone(&engine), Arc::clone(&tally));
        start("load", move || {
            let _ = done.send(Event::ThreadDone(engine.work(thread, &window, &tally)));
        })?;
    }
    let mut at_work = engine.threads();
    while at_work > 0 {
        match inbox.recv_timeout(TELL) {
            Ok(Event::ThreadDone(outcome)) => {
                outcome?;
                at_work -= 1;
            }
            Ok(Event::StdinEnded) => return Ok(()),
            Err(_) => send(stdout, &Message::Done { reading: reading() })?,
        }
    }
    send(stdout, &Message::Finished { reading: reading() })?;
    Ok(())
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    thread.spawn(work).map(drop).context("cannot start a thread")
}

/// Absent at the end of the input: nothing is wanted any more.
fn next_line<T: DeserializeOwned>(stdin: &mut impl BufRead, what: &'static str) -> Result<Option<T>> {
    let mut line = String::new();
    if stdin.by_ref().take(LINE_BYTES).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).with_context(|| format!("this is no {what}"))
}

/// Where that is refused (a processor went offline, or a cpuset forbids it), the kernel places the load.
fn stay_on(processors: &[usize]) {
    let mut set = CpuSet::new();
    let chosen = processors.iter().filter(|processor| set.set(**processor).is_ok()).count();
    if chosen > 0 {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}
