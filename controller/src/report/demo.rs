//! The story of a demo in a screenful.

use std::fmt::Write as _;

use ballast_api::ContainerName;

use crate::demo::{Mode, Outcome, Run, Seen};

/// The report of both runs. Ends with a newline.
#[must_use]
pub fn demo(outcome: &Outcome, worst_request: &str, runs: [&Run; 2]) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_demo(&mut text, outcome, worst_request, runs);
    text
}

fn write_demo(
    text: &mut String,
    outcome: &Outcome,
    worst_request: &str,
    runs: [&Run; 2],
) -> std::fmt::Result {
    let place = match outcome.mode {
        Mode::Real => "real processes",
        Mode::Simulated => "the simulator",
    };
    writeln!(text, "\nOn {place}, seed {}: the CPU of {} was contended.\n", outcome.seed, outcome.injected)?;
    writeln!(text, "  {:<34} {:>10} {:>10} {:>16}", worst_request, "p50", "p99", "over objective")?;
    for run in runs {
        writeln!(
            text,
            "  {}",
            if run.controlled { "with the controller" } else { "without the controller" }
        )?;
        let end = if run.seconds_to_recovery.is_some() { "10 s from the recovery" } else { "the last 10 s" };
        write_seen(text, "before", run.seen.before)?;
        write_seen(text, "during the contention", run.seen.during)?;
        write_seen(text, end, run.seen.after)?;
        run.rest.map_or(Ok(()), |seen| write_seen(text, "then, while still contended", seen))?;
    }
    for run in runs.into_iter().filter(|run| run.controlled) {
        write_deeds(text, run)?;
    }
    let shortcomings = outcome.shortcomings();
    if shortcomings.is_empty() {
        writeln!(text, "  Everything that was started is gone again, every limit is back.")
    } else {
        shortcomings.iter().try_for_each(|sentence| writeln!(text, "  NOT SHOWN: {sentence}."))
    }
}

fn write_seen(text: &mut String, phase: &str, seen: Seen) -> std::fmt::Result {
    let share = format!("{:.1} %", seen.share_over * 100.0);
    writeln!(text, "    {phase:<32} {:>7.0} ms {:>7.0} ms {share:>16}", seen.p50_ms, seen.p99_ms)
}

fn write_deeds(text: &mut String, run: &Run) -> std::fmt::Result {
    writeln!(text)?;
    match run.named.as_slice() {
        [] => writeln!(text, "  Culprit named: nobody.")?,
        [(first, times), others @ ..] => {
            write!(text, "  Culprit named: {first}, {times} times")?;
            if let Some(seconds) = run.seconds_to_naming {
                write!(text, ", first {seconds:.0} s after the contention began")?;
            }
            for (name, times) in others {
                write!(text, "; also {name}, {times} times")?;
            }
            writeln!(text, ".")?;
        }
    }
    let mut moved: Vec<&ContainerName> = run.changes.iter().map(|change| &change.container).collect();
    moved.sort();
    moved.dedup();
    for container in moved {
        write_moves(text, run, container)?;
    }
    match run.seconds_to_recovery {
        Some(seconds) => {
            writeln!(text, "  Back under the objective {seconds:.0} s after the contention began.")
        }
        None => writeln!(text, "  Not back under the objective while the contention lasted."),
    }
}

fn write_moves(text: &mut String, run: &Run, container: &ContainerName) -> std::fmt::Result {
    let mut changes = run.changes.iter().filter(|change| change.container == *container).peekable();
    if let Some(first) = changes.peek() {
        write!(text, "  CPU limit of {container}: {:.3}", first.before_cores)?;
    }
    changes.try_for_each(|change| write!(text, " -> {:.3}", change.after_cores))?;
    writeln!(text, " cores.")
}
