//! The options of one injection: those that every kind has, around those of its own, and the request that they come to.
//!
//! Must not know the kinds, nor how a request is carried out.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::DEFAULT_STATE_DIR;
use crate::{guards::Guards, kinds::Kind, place::Place, process::supervisor::Request};

/// The longest injection accepted: what runs longer is not an injection but a tenant.
const LONGEST: Duration = Duration::from_secs(3600);

/// The shortest injection accepted: one CFS period, below which no dose can be told.
const SHORTEST: Duration = Duration::from_millis(100);

/// Options of every kind.
#[derive(Debug, Args)]
pub struct Common {
    /// How long, from the first moment of the load to the last: 20s, 1m 30s; 100ms to 1h
    #[arg(long, value_parser = parse_duration)]
    duration: Duration,
    /// Print one JSON line when the load begins and one when it has ended
    #[arg(long)]
    pub json: bool,
    /// With --json: print a line each second too, with what was achieved in it, instead of drawing a progress line
    #[arg(long, requires = "json")]
    pub live: bool,
    /// Append what was asked and achieved to this file, as one JSON line
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// A name of your own for it: told with everything that is told of it
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// What ends it early.
    #[command(flatten)]
    guards: Guards,
    /// End when standard input does: tie the injection to the program that started it
    #[arg(long)]
    until_stdin_closes: bool,
    /// Where running injections are noted down
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// One injection: where it may be, what every kind has, and what this one has.
#[derive(Debug, Args)]
pub struct Injection<K: Args, P: Args = Place> {
    /// Where it is.
    #[command(flatten)]
    pub place: P,
    /// What every kind has.
    #[command(flatten)]
    pub common: Common,
    /// What this one has.
    #[command(flatten)]
    pub kind: K,
}

impl Common {
    /// The injection asked for.
    #[must_use]
    pub fn request(&self, place: Place, kind: Box<dyn Kind>) -> Request {
        Request {
            place,
            kind,
            duration: self.duration,
            label: self.label.clone(),
            guards: self.guards.clone(),
            until_stdin_closes: self.until_stdin_closes,
            state_dir: self.state_dir.clone(),
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write 20s or 1m 30s"))?;
    if (SHORTEST..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err("it must be at least 100ms and at most 1h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_bounds() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["0s", "99ms", "1h 1ms", "20", "-1s", "soon"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
