//! The options of `campaign`, and the campaign that they come to.
//!
//! Must not know how it is run.

use std::{fs, io, path::PathBuf, str::FromStr, time::Duration};

use ballast_kernel::CgroupPath;
use clap::{Args, Parser};

use super::{
    file::{Chance, Drawn, Place, Plan, Times},
    range::Range,
    schedule::{Scheduled, schedule},
};
use crate::{
    cli::{Cli, DEFAULT_STATE_DIR},
    guards::Guards,
    service::Order,
};

/// So many problems are told at once.
const MOST_TOLD: usize = 10;

/// Options of `campaign`.
#[derive(Debug, Args)]
pub struct CampaignArgs {
    /// The campaign, as TOML; `campaign --example` prints one
    #[arg(value_name = "FILE", required_unless_present_any = ["random", "example", "order"], conflicts_with_all = ["random", "example", "order"])]
    file: Option<PathBuf>,
    /// Print a campaign to begin with, and do nothing
    #[arg(long, conflicts_with = "random")]
    pub example: bool,
    /// Without a file: injections by chance, as the options below say
    #[arg(long, requires_all = ["kinds", "duration"])]
    random: bool,
    /// Read the campaign from standard input as the service sends it, and end when that does
    #[arg(long, hide = true, conflicts_with_all = ["random", "example", "dry_run", "seed"])]
    order: bool,
    /// Of all chance; the same seed comes to the same schedule [default: the file's, or 0]
    #[arg(long)]
    seed: Option<u64>,
    /// With --random: what is drawn from, such as cpu=20%..90%,pause
    #[arg(long, value_name = "KIND[=RANGE]", value_delimiter = ',', requires = "random")]
    kinds: Vec<KindRange>,
    /// With --random: the cgroups to be in
    #[arg(long, value_name = "CGROUP", value_delimiter = ',', requires = "random")]
    targets: Vec<CgroupPath>,
    /// With --random: the cgroups to be beside
    #[arg(long, value_name = "CGROUP", value_delimiter = ',', requires = "random")]
    beside: Vec<CgroupPath>,
    /// With --random: the node is a place too
    #[arg(long, requires = "random")]
    node: bool,
    /// With --random: nothing begins after this time
    #[arg(long, value_parser = humantime::parse_duration, requires = "random")]
    duration: Option<Duration>,
    /// With --random: how long each injection is
    #[arg(long, value_name = "TIME..TIME", default_value = "5s..30s", requires = "random")]
    each: Times,
    /// With --random: the mean of the exponential gaps between them
    #[arg(long, value_parser = humantime::parse_duration, default_value = "20s", requires = "random")]
    mean_gap: Duration,
    /// With --random: one may begin while another is there
    #[arg(long, requires = "random")]
    overlap: bool,
    /// Print the schedule, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON lines: what each injection prints, with `campaign` and `number`
    #[arg(long)]
    pub json: bool,
    /// Append the ground truth to this file, one JSON line for each injection
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// What ends an injection early.
    #[command(flatten)]
    pub guards: Guards,
    /// End when standard input does
    #[arg(long)]
    until_stdin_closes: bool,
    /// Where running injections are noted down
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

/// A kind with its range of intensities, as `cpu=20%..90%`.
#[derive(Debug, Clone)]
struct KindRange(Drawn);

impl FromStr for KindRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, intensity) = match text.split_once('=') {
            Some((kind, range)) => (kind, Some(range.parse::<Range>()?)),
            None => (text, None),
        };
        Ok(Self(Drawn { kind: kind.trim().to_owned(), intensity, options: [].into() }))
    }
}

/// A campaign, checked as a whole: every injection of it is one that the command line takes.
#[derive(Debug)]
pub struct Campaign {
    /// Its name.
    pub name: String,
    /// In the order of their begins.
    pub schedule: Vec<Scheduled>,
}

impl CampaignArgs {
    /// The campaign asked for.
    ///
    /// # Errors
    /// Every problem, a sentence each.
    pub fn campaign(&self) -> Result<Campaign, Vec<String>> {
        if self.order {
            let order = Order::read(&mut io::stdin().lock());
            let Order { campaign, seed } = order.map_err(|error| vec![format!("no order came: {error}")])?;
            return judged(&campaign, seed);
        }
        let plan = self.plan().map_err(|problem| vec![problem])?;
        checked(plan, self.seed)
    }

    /// Whether it ends when standard input does.
    #[must_use]
    pub fn ends_with_stdin(&self) -> bool {
        self.until_stdin_closes || self.order
    }

    fn plan(&self) -> Result<Plan, String> {
        let Some(path) = &self.file else { return self.by_chance() };
        let told = |error: String| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        Plan::parse(&text).map_err(told)
    }

    fn by_chance(&self) -> Result<Plan, String> {
        let targets = self.targets.iter().map(|path| Place::Target(path.to_string()));
        let beside = self.beside.iter().map(|path| Place::Beside(path.to_string()));
        let places: Vec<_> = targets.chain(beside).chain(self.node.then_some(Place::Node(true))).collect();
        if places.is_empty() {
            return Err("where? Give --targets, --beside or --node".to_owned());
        }
        let plan = Plan {
            name: "random".to_owned(),
            seed: 0,
            duration: self.duration.unwrap_or_default(),
            fixed: Vec::new(),
            chances: vec![Chance {
                kinds: self.kinds.iter().map(|KindRange(drawn)| drawn.clone()).collect(),
                places,
                mean_gap: self.mean_gap,
                duration: self.each,
                overlap: self.overlap,
            }],
        };
        plan.check().map(|()| plan)
    }
}

/// The campaign that a file's text comes to, with another seed than the file's where one is given.
///
/// # Errors
/// Every problem, a sentence each.
pub fn judged(text: &str, seed: Option<u64>) -> Result<Campaign, Vec<String>> {
    checked(Plan::parse(text).map_err(|problem| vec![problem])?, seed)
}

fn checked(mut plan: Plan, seed: Option<u64>) -> Result<Campaign, Vec<String>> {
    plan.seed = seed.unwrap_or(plan.seed);
    let schedule = schedule(&plan);
    let problems: Vec<_> = schedule.iter().filter_map(problem).take(MOST_TOLD).collect();
    if problems.is_empty() { Ok(Campaign { name: plan.name, schedule }) } else { Err(problems) }
}

/// What the command line would say of it.
fn problem(injection: &Scheduled) -> Option<String> {
    let arguments = injection.arguments();
    let program = ["ballast-injector".to_owned()];
    match Cli::try_parse_from(program.iter().chain(&arguments)) {
        Err(error) => {
            let error = error.to_string();
            // What follows the first empty line is how to use the program.
            let lines: Vec<_> = error.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let said = lines.join(" ");
            let said = said.trim_start_matches("error: ");
            Some(format!("injection {} (`{}`): {said}", injection.number, arguments.join(" ")))
        }
        Ok(cli) if !cli.command.is_injection() => {
            Some(format!("injection {}: {:?} is no kind of injection", injection.number, injection.kind))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;

    fn parse(arguments: &str) -> Result<Campaign, Vec<String>> {
        let words = ["ballast-injector", "campaign"].into_iter().chain(arguments.split(' '));
        match Cli::try_parse_from(words).map_err(|error| vec![error.to_string()])?.command {
            Command::Campaign(arguments) => arguments.campaign(),
            other => Err(vec![format!("{other:?}")]),
        }
    }

    #[test]
    fn a_campaign_by_chance_needs_no_file() {
        let random = "--random --kinds cpu=20%..90%,pause --targets a/b,a/c --duration 10m --seed 3";
        let campaign = parse(random).unwrap();
        assert!(campaign.schedule.len() > 5, "{campaign:?}");
        assert!(campaign.schedule.iter().any(|injection| injection.kind == "pause"));
        assert_ne!(parse(&random.replace("seed 3", "seed 4")).unwrap().schedule, campaign.schedule);
    }

    #[test]
    fn every_injection_is_judged_before_the_first_is_done() {
        for (arguments, told) in [
            ("--random --kinds quake --targets a --duration 10m", "quake"),
            ("--random --kinds restore --targets a --duration 10m", "restore"),
            ("--random --kinds cpu=20000% --targets a --duration 10m", "out of range"),
            ("--random --kinds cpu=2ms --targets a --duration 10m", "is no intensity"),
            ("--random --kinds cpu --targets a --duration 10m", "--intensity"),
            ("--random --kinds pause --duration 10m", "where?"),
            ("--random --kinds pause --targets a --each 1ms --duration 10m", "at least 100ms"),
            ("/nowhere/campaign.toml", "No such file"),
            ("--random --targets a --duration 10m", "--kinds"),
        ] {
            let problems = parse(arguments).unwrap_err();
            assert!(problems[0].contains(told), "{told}: {problems:?}");
        }
    }
}
