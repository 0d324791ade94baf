//! The command line of `load`: what can be asked, with examples.
//!
//! Must not know how it is done.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::RangedU64ValueParser};

use crate::guards::Guards;

use super::{
    MOST_RATE, engine::Limits, error::LoadError, schedule::Gaps, shape::Shape, target::Asked,
    trace_file::Trace,
};

/// The longest load accepted: what runs longer is not an injection but a tenant.
const LONGEST: Duration = Duration::from_secs(3600);

/// The shortest load accepted.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest time-out accepted.
const MOST_PATIENT: Duration = Duration::from_secs(300);

/// Shown with `load --help`.
pub const EXAMPLES: &str = "\
Examples:
  A steady 200 requests/s for 20 seconds:
    ballast-injector load http://127.0.0.1:8080/ --rate 200 --duration 20s
  From 100 to 2000 requests/s over a minute: where does it break?
    ballast-injector load http://127.0.0.1:8080/ --rate 100 --ramp-to 2000 --duration 1m
  A day in ten minutes, between 50 and 500 requests/s:
    ballast-injector load http://127.0.0.1:8080/ --rate 50 --diurnal-to 500 --period 10m --duration 10m
  100 requests/s, with bursts of 2 s at 1500 requests/s every 15 s on average; the same ones with the same seed:
    ballast-injector load http://127.0.0.1:8080/ --rate 100 --burst-to 1500 --burst-length 2s \\
        --burst-gap 15s --seed 7 --duration 2m
  As recorded, one number of requests per line for each second:
    ballast-injector load http://127.0.0.1:8080/ --trace requests.txt
  A POST, the ground truth in a file, tied to the program that started it:
    ballast-injector load http://127.0.0.1:8080/orders --method POST --header 'Content-Type: application/json' \\
        --body '{\"room\":1}' --rate 50 --duration 1m --json --log truth.jsonl --until-stdin-closes

Reading the report:
  latency       from the moment at which a request was due to the end of its answer: what a user would feel
  service time  from its first byte being sent; where it is much less, requests waited for a free connection
  send error    how late the first bytes were sent; where it is large and connections were free, this machine was busy
  dropped       due while the queue was full: --connections and --queue bound what may be under way
";

/// Options of `load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Where the requests go: http://HOST:PORT/PATH; https is not supported
    #[arg(value_name = "URL")]
    url: String,
    /// Requests per second, 200 or 200/s: all the time, or at the begin of a ramp, at a day's low, between bursts
    #[arg(
        long, visible_alias = "intensity", value_parser = parse_rate,
        required_unless_present = "trace", conflicts_with = "trace"
    )]
    rate: Option<f64>,
    /// Go from --rate to this rate evenly over the whole duration
    #[arg(long, value_name = "RATE", value_parser = parse_rate, requires = "rate", group = "shape")]
    ramp_to: Option<f64>,
    /// Swing between --rate and this rate, beginning at --rate, in a sinusoid
    #[arg(long, value_name = "RATE", value_parser = parse_rate, requires_all = ["rate", "period"], group = "shape")]
    diurnal_to: Option<f64>,
    /// How long a swing takes, from low to low
    #[arg(long, value_parser = parse_time, requires = "diurnal_to")]
    period: Option<Duration>,
    /// Have bursts at this rate; --rate holds between them
    #[arg(
        long, value_name = "RATE", value_parser = parse_rate,
        requires_all = ["rate", "burst_length", "burst_gap"], group = "shape"
    )]
    burst_to: Option<f64>,
    /// How long each burst is
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "burst_to")]
    burst_length: Option<Duration>,
    /// From the end of a burst to the begin of the next, on average: gaps are exponential
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "burst_to")]
    burst_gap: Option<Duration>,
    /// Take the rates from a file: a number per line for each second, or `seconds,rate` per line
    ///
    /// With `seconds,rate`, the first line is at 0 seconds, each rate holds until the next line's seconds, and the last
    /// one for a second. Empty lines and lines that begin with # are passed over.
    #[arg(long, value_name = "FILE", group = "shape")]
    trace: Option<PathBuf>,
    /// How long: 20s, 1m 30s; 100ms to 1h [default with --trace: as long as the trace]
    #[arg(long, value_parser = parse_duration, required_unless_present = "trace")]
    duration: Option<Duration>,
    /// How requests follow each other at a steady rate
    #[arg(long, value_enum, default_value_t = Gaps::Poisson)]
    gaps: Gaps,
    /// The same seed sends the same requests at the same times, with the same bursts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The most connections; they are opened as they are needed, and kept
    #[arg(long, default_value_t = 64, value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000))]
    connections: u32,
    /// The most requests that wait for a free connection; what comes on top is dropped and counted
    #[arg(long, default_value_t = 10_000, value_parser = RangedU64ValueParser::<u32>::new().range(0..=10_000_000))]
    queue: u32,
    /// How long a request may take once it has a connection: 1ms to 5m
    #[arg(long, default_value = "10s", value_parser = parse_timeout)]
    timeout: Duration,
    /// What is asked for
    #[arg(long, default_value = "GET", value_parser = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])]
    method: String,
    /// A header to send, such as 'Accept: text/html'; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// What is sent along, as it is
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// Print one JSON line when the load begins and one when it has ended
    #[arg(long)]
    pub json: bool,
    /// With --json: print a line each second too, with the rate that was answered, instead of drawing a progress line
    #[arg(long, requires = "json")]
    pub live: bool,
    /// Append what was asked and achieved to this file, as one JSON line
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// A name of your own for it: told with everything that is told of it
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// What ends it early.
    #[command(flatten)]
    pub guards: Guards,
    /// End when standard input does: tie the load to the program that started it
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// A load, as asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The request.
    pub asked: Asked,
    /// The rate over time.
    pub shape: Shape,
    /// How requests are spaced.
    pub gaps: Gaps,
    /// Of spaces and bursts.
    pub seed: u64,
    /// Of the loop.
    pub limits: Limits,
}

impl LoadArgs {
    /// What is asked for. Reads the trace, if there is one.
    ///
    /// # Errors
    /// When the trace cannot be read or is none, or options contradict each other.
    pub fn plan(&self) -> Result<Plan, LoadError> {
        let shape = self.shape()?;
        if shape.most() <= 0.0 {
            return Err(LoadError::Contradiction("every rate is 0: no request would be sent".to_owned()));
        }
        Ok(Plan {
            asked: Asked {
                url: self.url.clone(),
                method: self.method.clone(),
                headers: self.headers.clone(),
                body: self.body.clone(),
            },
            limits: Limits {
                duration: self.duration_of(&shape)?,
                connections: self.connections,
                queue: self.queue as usize,
                timeout: self.timeout,
            },
            shape,
            gaps: self.gaps,
            seed: self.seed,
        })
    }

    /// Whether it can be asked for, as far as this can be told without asking anybody. Reads the trace, if there is one.
    ///
    /// # Errors
    /// As [`Self::plan`], and when the request cannot be sent as it is.
    pub fn check(&self) -> Result<(), LoadError> {
        self.plan()?.asked.check()
    }

    fn shape(&self) -> Result<Shape, LoadError> {
        if let Some(path) = &self.trace {
            return Ok(Shape::Trace(Trace::read(path)?));
        }
        // Required without a trace.
        let rate = self.rate.unwrap_or_default();
        Ok(match (self.ramp_to, self.diurnal_to, self.burst_to) {
            (Some(to), ..) => Shape::Ramp { from: rate, to },
            (_, Some(high), _) if high < rate => {
                return Err(LoadError::Contradiction(format!(
                    "--diurnal-to {high} is below --rate {rate}: a day begins at its low"
                )));
            }
            (_, Some(high), _) => {
                let period_seconds = self.period.unwrap_or(LONGEST).as_secs_f64();
                Shape::Diurnal { low: rate, high, period_seconds }
            }
            (.., Some(burst)) => Shape::Bursty {
                base: rate,
                burst,
                length_seconds: self.burst_length.unwrap_or(SHORTEST).as_secs_f64(),
                mean_gap_seconds: self.burst_gap.unwrap_or(SHORTEST).as_secs_f64(),
            },
            _ => Shape::Constant { rate },
        })
    }

    fn duration_of(&self, shape: &Shape) -> Result<Duration, LoadError> {
        let Shape::Trace(trace) = shape else { return Ok(self.duration.unwrap_or(SHORTEST)) };
        let whole = Duration::try_from_secs_f64(trace.seconds()).unwrap_or(Duration::MAX);
        match self.duration {
            Some(asked) if asked > whole => Err(LoadError::Contradiction(format!(
                "--duration {} is longer than the trace, which lasts {}",
                humantime::format_duration(asked),
                humantime::format_duration(whole)
            ))),
            Some(asked) => Ok(asked),
            None if whole > LONGEST => Err(LoadError::Contradiction(format!(
                "the trace lasts {}: give a --duration of at most 1h to send its begin",
                humantime::format_duration(whole)
            ))),
            None => Ok(whole),
        }
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let text = text.trim();
    match text.strip_suffix("/s").unwrap_or(text).parse::<f64>() {
        Ok(rate) if (0.0..=MOST_RATE).contains(&rate) => Ok(rate),
        Ok(_) => Err(format!("it must be at least 0 and at most {MOST_RATE} requests/s")),
        Err(_) => Err("it is no number of requests per second".to_owned()),
    }
}

fn parse_within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; write 20s or 1m 30s"))?;
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    let shown = humantime::format_duration;
    Err(format!("it must be at least {} and at most {}", shown(least), shown(most)))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_within(text, SHORTEST, LONGEST)
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_within(text, Duration::from_millis(1), MOST_PATIENT)
}

/// Of a period, of a burst.
fn parse_time(text: &str) -> Result<Duration, String> {
    parse_within(text, Duration::from_millis(10), 24 * LONGEST)
}

#[cfg(test)]
mod tests;
