//! The open-loop load generator: sends on time, whatever becomes of the requests before.
//!
//! Must not know what answers them.

pub mod each;
pub mod schedule;
pub mod sender;
pub mod summary;

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use ballast_api::{Clock, SystemClock};
use clap::Args;
use reqwest::Url;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{refusal::Refusal, stop, telemetry::Telemetry, topology};
use each::{Each, Line};
use schedule::{Arrival, Arrivals, Schedule};
use sender::{MAX_IN_FLIGHT, Sender};
use summary::{Finished, Outcome, Recorder, Summary};

/// How long the last spans may take to leave at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// What `ballast-testbed load` is told.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Where the entry service answers
    #[arg(long)]
    pub url: Url,
    /// A shipped topology's name, or a topology file: request types and their shares
    #[arg(long, default_value = "hotel-reservation")]
    pub topology: String,
    /// Requests per second
    #[arg(long, default_value_t = 30.0, allow_negative_numbers = true)]
    pub rate: f64,
    /// How long to send
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How requests follow each other
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub arrivals: Arrivals,
    /// Seed of the gaps and of the request types drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Collector of spans, OTLP over HTTP: each request becomes the root of its trace, begun when it was to be sent
    #[arg(long)]
    pub otlp: Option<Url>,
    /// Write one JSON line for each finished request to this file, or to standard output for "-"
    #[arg(long, value_name = "FILE")]
    pub each: Option<String>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
    /// No line each second on standard error
    #[arg(long)]
    pub quiet: bool,
    /// Stop sending when standard input ends
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// Sends for the duration, waits for the requests under way, and says what came of them.
///
/// # Errors
/// When the arguments make no sense, or lines cannot be written.
pub async fn run(args: &LoadArgs) -> anyhow::Result<Summary> {
    let stop = stop::on_signals()?;
    if args.until_stdin_closes {
        drop(stop::on_end_of_stdin(stop.clone()));
    }
    let topology = topology::load(&args.topology)?;
    let shares: Vec<f64> = topology.requests.iter().map(|request| request.share).collect();
    let schedule = Schedule::new(args.arrivals, args.rate, &shares, args.seed).map_err(Refusal::BadInput)?;
    let telemetry = Telemetry::new(args.otlp.as_ref(), &[("service.name", "load-generator")])?;
    let sender = Arc::new(Sender::new(&args.url, &topology, telemetry.clone())?);
    let each = args.each.as_deref().map(Each::to).transpose()?;
    let mut generator = Generator {
        recorder: Recorder::new(topology.requests.iter().map(|request| request.name.as_str()))?,
        sender,
        each,
        in_flight: 0,
        quiet: args.quiet,
    };
    let sending = generator.send_all(schedule, args.duration, &stop).await;
    telemetry.flush(FLUSH).await;
    let elapsed = sending?;
    let Generator { recorder, each, .. } = generator;
    each.map_or(Ok(()), Each::finish)?;
    Ok(recorder.summary(elapsed))
}

struct Generator {
    sender: Arc<Sender>,
    recorder: Recorder,
    each: Option<Each>,
    in_flight: usize,
    quiet: bool,
}

impl Generator {
    /// Answers for how long requests were sent.
    async fn send_all(
        &mut self,
        schedule: Schedule,
        duration: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<Duration> {
        let (finished_sender, mut finished) = mpsc::unbounded_channel();
        // One reading of each clock: from here on the monotonic one counts.
        let (begin, begin_unix) = (Instant::now(), SystemClock.now());
        let mut second = tokio::time::interval_at(begin + Duration::from_secs(1), Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut arrivals = schedule.take_while(|arrival| arrival.at < duration);
        let mut next = arrivals.next();
        let mut sent_for = duration;
        while next.is_some() || self.in_flight > 0 {
            // Without a next one this waits for a time that has passed, behind a condition that is false.
            let due = begin + next.map_or(Duration::ZERO, |arrival| arrival.at);
            tokio::select! {
                biased;
                () = stop.cancelled(), if next.is_some() => {
                    (next, sent_for) = (None, begin.elapsed());
                }
                () = tokio::time::sleep_until(due), if next.is_some() => {
                    if let Some(arrival) = next {
                        self.send(arrival, due, begin_unix.plus(arrival.at), &finished_sender)?;
                    }
                    next = arrivals.next();
                }
                Some((finished, intended)) = finished.recv() => {
                    self.in_flight -= 1;
                    self.record(&finished, intended)?;
                }
                _ = second.tick(), if !self.quiet => self.tell_progress(begin.elapsed()),
            }
        }
        Ok(sent_for)
    }

    fn send(
        &mut self,
        arrival: Arrival,
        due: Instant,
        due_unix: ballast_api::UnixNanos,
        finished: &mpsc::UnboundedSender<(Finished, ballast_api::UnixNanos)>,
    ) -> anyhow::Result<()> {
        if self.in_flight >= MAX_IN_FLIGHT {
            let late = due.elapsed();
            let outcome = Outcome::NotSent;
            let never = Finished { request: arrival.request, outcome, latency: late, send_delay: late };
            return self.record(&never, due_unix);
        }
        self.in_flight += 1;
        let (sender, finished) = (Arc::clone(&self.sender), finished.clone());
        tokio::spawn(async move {
            let outcome = sender.send(arrival.request, due, due_unix).await;
            // Nobody listens only when the generator has given up.
            let _ = finished.send((outcome, due_unix));
        });
        Ok(())
    }

    fn record(&mut self, finished: &Finished, intended: ballast_api::UnixNanos) -> anyhow::Result<()> {
        self.recorder.record(finished);
        let Some(each) = &self.each else { return Ok(()) };
        each.write(Line {
            intended_unix_nanos: intended,
            latency_ms: finished.latency.as_secs_f64() * 1e3,
            request: self
                .sender
                .request_name(finished.request)
                .context("an unknown request type")?
                .to_owned(),
            ok: finished.outcome == Outcome::Completed,
        })
    }

    fn tell_progress(&mut self, elapsed: Duration) {
        let (completed, failed, latency) = self.recorder.look();
        let latency = latency.map_or_else(
            || "-".to_owned(),
            |latency| format!("p50 {:.1} ms, p99 {:.1} ms", latency.p50, latency.p99),
        );
        let in_flight = self.in_flight;
        // Whoever read the messages may have gone: the load goes on.
        let _ = writeln!(
            io::stderr(),
            "{:>4} s: completed {completed}, failed {failed}, under way {in_flight}; last second: {latency}",
            elapsed.as_secs()
        );
    }
}
