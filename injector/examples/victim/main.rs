//! A process that is sensitive to one kind of contention, and tells how long each of its small tasks takes.
//!
//! For `scripts/victims`. A task is due each so many milliseconds, whether or not the one before is done, and its time counts
//! from when it was due: so do those count who ask a service, for they do not wait until it has answered others. A rest of a
//! fixed time after each task would hide the most: a pause of five seconds would be one slow task, and the tasks that were
//! not asked for meanwhile would have been none. But then what is late makes the next one late too. So that contention is
//! measured, and not how a queue grows, a task alone takes a small part of the time from one to the next: most kinds leave
//! enough for that, and what is late after a pause is done within a fraction of a second. The chase of pointers alone goes on
//! without a rest, and so has no queue: a rest would empty its caches.
//!
//! Must not know what is done to it.
//!
//! Usage: `victim WORK [ARGUMENT]...`, or `victim serve ADDRESS` for the other end of the work `ask`; see `work.rs`. Prints a
//! line for each task: when it was due (`CLOCK_MONOTONIC`, ns) and how long it took (ns). Ends when its standard input does.

mod network;
mod work;

use std::{
    io::{self, Read, Write},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, bail};
use ballast_injector::clocks;

use crate::work::Work;

static ENDED: AtomicBool = AtomicBool::new(false);

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        [] => bail!("usage: victim WORK [ARGUMENT]..."),
        ["serve", address] => {
            network::serve(address)?;
            io::stdin().read_to_end(&mut Vec::new())?;
        }
        [name, more @ ..] => toil(Work::new(name, more)?)?,
    }
    Ok(())
}

fn toil(mut work: Work) -> Result<()> {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
    // By lines, for somebody reads them meanwhile.
    let mut output = io::stdout().lock();
    let mut due = clocks::monotonic();
    while !ENDED.load(Ordering::Relaxed) {
        clocks::sleep_until(due);
        work.once()?;
        let done = clocks::monotonic();
        writeln!(output, "{} {}", due.as_nanos(), done.saturating_sub(due).as_nanos())?;
        due = work.each().map_or(done, |each| due + each);
    }
    Ok(())
}
