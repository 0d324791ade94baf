//! `ballast inject`.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use ballast_api::{
    HttpInjector,
    injector::{CampaignEnd, ScheduledInjection},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Exit, Failure,
    console::{print_line, warn_line},
    wait_for_signal,
};
use crate::{
    inject::{Campaign, LOOK, Refused, Running, Truth, schedules},
    operate::NodeFiles,
};

/// Runs a campaign of contention on nodes whose injectors serve, and collects the ground truth.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ballast-injector campaign --example > campaign.toml
  ballast inject campaign.toml --injector http://127.0.0.1:7401 --dry-run
  ballast inject campaign.toml --injector http://n1:7401 --injector http://n2:7401 --token-file token --seed 7 --truth truth.jsonl

Each node gets the same campaign; with --seed, the first one gets that seed, the second one the next. It begins on all of
them or on none. When this program ends, in whatever way, it ends everywhere within 10 s.

Exit codes:
  0    all of it was done
  1    some injections, or some node's part, did not end as asked
  3    the campaign, an address or a file is wrong, or a node does not take it
  4    a node does not answer
  7    a node does not let this program in
  130  interrupted; it is over on every node that answers")]
pub(super) struct Arguments {
    /// The campaign, as TOML
    #[arg(value_name = "FILE")]
    campaign: PathBuf,
    /// Base URL of an injector that serves; may be given several times
    #[arg(long, value_name = "URL", required = true)]
    injector: Vec<String>,
    #[command(flatten)]
    files: NodeFiles,
    /// Of all chance in it [default: the file's, on every node]
    #[arg(long)]
    seed: Option<u64>,
    /// Print what would happen when, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Append the ground truth to this file, one JSON line for each injection
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Print JSON lines: one for each injection that is over, and one for each node at the end
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a file or an address is wrong, or a node does not take the campaign.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let text = fs::read_to_string(&arguments.campaign)
        .map_err(|error| bad_input(format!("{}: {error}", arguments.campaign.display())))?;
    let campaign = Campaign { text, seed: arguments.seed };
    let clients = arguments.injector.iter().map(|url| client(&arguments.files, url));
    let injectors = clients.collect::<Result<Vec<_>, _>>()?;
    let schedules = schedules(&injectors, &campaign).await?;
    if arguments.dry_run {
        for (injector, schedule) in injectors.iter().zip(&schedules) {
            show_schedule(injector, schedule, arguments.json);
        }
        return Ok(Exit::Done);
    }
    let truth = arguments.truth.as_deref().map(open_truth).transpose()?;
    let injections = schedules.iter().map(Vec::len).sum();
    let mut scribe = Scribe { truth, json: arguments.json, bar: bar(injections) };
    let running = Running::begin(&injectors, &campaign).await?;
    follow(running, &mut scribe).await
}

fn bad_input(problem: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::BadInput, problem)
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(Exit::from(&refused.error), refused)
    }
}

fn client(files: &NodeFiles, url: &str) -> Result<HttpInjector, Failure> {
    let credentials = files.credentials().map_err(|problems| bad_input(problems.join("; ")))?;
    HttpInjector::with_credentials(url, &credentials).map_err(bad_input)
}

fn open_truth(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| bad_input(format!("{}: {error}", path.display())))
}

fn show_schedule(injector: &HttpInjector, schedule: &[ScheduledInjection], json: bool) {
    let url = injector.url().as_str();
    for ScheduledInjection { number, at_ms, duration_ms, arguments } in schedule {
        if json {
            print_line(json!({
                "injector": url, "number": number, "at_ms": at_ms, "duration_ms": duration_ms, "arguments": arguments,
            }));
        } else {
            print_line(format!("{url} {number:>4}  at {at_ms:>8} ms  {}", arguments.join(" ")));
        }
    }
}

/// Renews leases until it is over or somebody interrupts.
async fn follow(mut running: Running, scribe: &mut Scribe) -> Result<Exit, Failure> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = std::pin::pin!(wait_for_signal());
    while !running.is_over() {
        let is_interrupted = tokio::select! {
            _ = looks.tick() => false,
            () = &mut interrupted => true,
        };
        let over = if is_interrupted { running.end().await } else { running.look().await };
        scribe.write(&over)?;
        if is_interrupted {
            scribe.conclude(&running);
            return Ok(Exit::Interrupted);
        }
    }
    scribe.conclude(&running);
    Ok(exit_of(&running))
}

fn exit_of(running: &Running) -> Exit {
    if let Some(error) = running.parts.iter().find_map(|part| part.lost.as_ref()) {
        return Exit::from(error);
    }
    let is_done = |part: &crate::inject::Part| {
        part.state.ended == Some(CampaignEnd::Completed) && part.state.failed == 0
    };
    if running.parts.iter().all(is_done) { Exit::Done } else { Exit::Failed }
}

fn bar(injections: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} injections over");
    let bar = ProgressBar::new(u64::try_from(injections).unwrap_or(u64::MAX));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where the ground truth goes.
struct Scribe {
    truth: Option<File>,
    json: bool,
    bar: ProgressBar,
}

impl Scribe {
    fn write(&mut self, over: &[Truth]) -> Result<(), Failure> {
        for Truth { url, record } in over {
            let mut line = record.report.clone();
            line["injector"] = json!(url);
            line["number"] = json!(record.number);
            if let Some(truth) = &mut self.truth {
                // In one write, so that others who append do not mix their lines with it.
                let written = truth.write_all(format!("{line}\n").as_bytes());
                written.map_err(|error| {
                    Failure::new(Exit::Failed, format!("the ground truth cannot be written: {error}"))
                })?;
            }
            self.bar.suspend(|| print_line(if self.json { line.to_string() } else { in_words(&line) }));
            self.bar.inc(1);
        }
        Ok(())
    }

    fn conclude(&self, running: &Running) {
        self.bar.finish_and_clear();
        for part in &running.parts {
            let (url, state) = (part.url(), &part.state);
            if self.json {
                print_line(json!({ "injector": url, "campaign": state, "lost": part.lost }));
                continue;
            }
            print_line(format!(
                "{url}: {} of {} injections begun, {} completed, {} failed or cut short",
                state.begun, state.scheduled, state.completed, state.failed
            ));
            if let Some(error) = &part.lost {
                warn_line(error);
            }
        }
    }
}

fn in_words(line: &Value) -> String {
    let told = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
    let (requested, achieved) = (line["requested"].as_f64(), line["achieved"].as_f64());
    let share = achieved.zip(requested).map(|(achieved, requested)| 100.0 * achieved / requested);
    let share = share.map(|share| format!(", {share:.1} % of the dose")).unwrap_or_default();
    let (url, number) = (told("injector"), &line["number"]);
    format!("{url} #{number} {} {}: {}{share}", told("kind"), told("target"), told("ending"))
}
