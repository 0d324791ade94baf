//! Mounts an emulated resctrl and keeps it until its standard input ends.
//!
//! Parses, mounts, and hands lines to the machine: nothing else.

use std::{
    io::{self, BufRead},
    path::PathBuf,
};

use anyhow::{Context, anyhow};
use ballast_resctrl_emulator::{Counter, Event, Hardware, Mounted, hardware::FLAVOURS, tasks::Place};
use clap::{Parser, builder::PossibleValuesParser};

/// The kernel's resctrl file system, emulated.
///
/// It says its line of mountinfo and stays mounted until standard input ends. Each line there sets a counter:
/// `GROUP DOMAIN EVENT VALUE`, with `/` for the root group, `GROUP/MONITOR` for a monitoring group, and a number,
/// Unavailable, Error or Unassigned as value. Each is answered with `ok`, or with the reason why not. `freeze N` lets N more
/// changes pass and refuses all later ones with EIO, as if the machine had stopped there; `thaw` ends that and is answered with
/// how many were refused.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which machine to play.
    #[arg(long, default_value = "intel", value_parser = PossibleValuesParser::new(FLAVOURS))]
    flavour: String,
    /// An empty folder.
    mountpoint: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let hardware = Hardware::flavour(&arguments.flavour).context("there is no such flavour")?;
    let mounted = Mounted::new(hardware, &arguments.mountpoint)
        .with_context(|| format!("cannot mount on {}", arguments.mountpoint.display()))?;
    println!("{}", mounted.mountinfo().trim_end());
    for line in io::stdin().lock().lines() {
        let line = line.context("cannot read standard input")?;
        match obey(&mounted, &line) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("{line:?}: {error}"),
        }
    }
    Ok(())
}

fn obey(mounted: &Mounted, line: &str) -> anyhow::Result<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        ["freeze", changes] => mounted.freeze_after(changes.parse()?),
        ["thaw"] => return Ok(mounted.thaw().to_string()),
        [group, domain, event, value] => set_counter(mounted, group, domain, event, value)?,
        _ => return Err(anyhow!("a line is GROUP DOMAIN EVENT VALUE, freeze N, or thaw")),
    }
    Ok("ok".to_owned())
}

fn set_counter(mounted: &Mounted, group: &str, domain: &str, event: &str, value: &str) -> anyhow::Result<()> {
    let (control, monitor) = group.split_once('/').unwrap_or((group, ""));
    let monitor = (!monitor.is_empty()).then(|| monitor.to_owned());
    let place = Place { control: control.to_owned(), monitor };
    let event = Event::named(event).context("there is no such event")?;
    let counter = match value {
        "Unavailable" => Counter::Unavailable,
        "Error" => Counter::Error,
        "Unassigned" => Counter::Unassigned,
        number => Counter::Value(number.parse().context("the value is no number")?),
    };
    let known = mounted.set_counter(&place, domain.parse()?, event, counter);
    known.then_some(()).context("there is no such group, domain or event")
}
