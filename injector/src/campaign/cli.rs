//! The options of `campaign`, and the campaign that they come to.
//!
//! Must not know how it is run.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use ballast_kernel::CgroupPath;
use clap::Args;

use super::{
    bounds::MOST_INJECTIONS,
    file::{Chance, Drawn, Place, Plan, Times},
    judge::Judge,
    overlap,
    range::Range,
    schedule::{Scheduled, schedule_to},
};
use crate::{cli::DEFAULT_STATE_DIR, guards::Guards, load, service::Order};

/// The largest file that is read, in bytes: 100,000 planned injections are 10 MB.
const MOST_BYTES: u64 = 16 << 20;

/// So many problems are told at once.
pub(crate) const MOST_TOLD: usize = 10;

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
    /// With --random: what is drawn from, such as cpu=20%..90%,pause,load=50..500
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
    /// With --random: the service that load asks
    #[arg(long, value_name = "URL", requires = "random")]
    url: Option<String>,
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
        Ok(Self(Drawn { kind: kind.trim().to_owned(), intensity, url: None, options: [].into() }))
    }
}

/// A campaign, drawn from its seed.
#[derive(Debug)]
pub struct Campaign {
    /// Its name.
    pub name: String,
    /// In the order of their begins.
    pub schedule: Vec<Scheduled>,
}

impl Campaign {
    /// What a plan comes to, with another seed than its own where one is given. Nobody has judged it yet.
    #[must_use]
    pub fn of(plan: Plan, seed: Option<u64>) -> Self {
        Self::to_at_most(plan, seed, MOST_INJECTIONS)
    }

    /// The same, but nothing is drawn once there are `most` injections: with fewer, it is all of them.
    #[must_use]
    pub fn to_at_most(mut plan: Plan, seed: Option<u64>, most: usize) -> Self {
        plan.seed = seed.unwrap_or(plan.seed);
        Self { schedule: schedule_to(&plan, most), name: plan.name }
    }
}

impl CampaignArgs {
    /// The campaign asked for.
    ///
    /// # Errors
    /// Every problem, a sentence each.
    pub fn campaign(&self) -> Result<Campaign, Vec<String>> {
        let campaign = match self.order {
            true => Order::read(&mut io::stdin().lock())
                .map_err(|error| vec![format!("no order came: {error}")])?
                .campaign()?,
            false => Campaign::of(self.plan().map_err(|problem| vec![problem])?, self.seed),
        };
        let problems = self.problems(&campaign);
        if problems.is_empty() { Ok(campaign) } else { Err(problems) }
    }

    /// What the command line would say of its injections, a sentence each, and whether too many are there at a time.
    #[must_use]
    pub fn problems(&self, campaign: &Campaign) -> Vec<String> {
        let mut judge = Judge::new();
        let problem = |injection| judge.problem(injection, &self.command_line(&campaign.name, injection));
        let problems = campaign.schedule.iter().filter_map(problem);
        overlap::problem(&campaign.schedule).into_iter().chain(problems).take(MOST_TOLD).collect()
    }

    /// Whether it ends when standard input does.
    #[must_use]
    pub fn ends_with_stdin(&self) -> bool {
        self.until_stdin_closes || self.order
    }

    /// How one of its injections is asked for: all arguments of this program.
    #[must_use]
    pub fn command_line(&self, name: &str, injection: &Scheduled) -> Vec<OsString> {
        let mut line: Vec<OsString> = injection.arguments().into_iter().map(OsString::from).collect();
        line.extend(["--json", "--until-stdin-closes", "--label"].map(OsString::from));
        line.push(format!("{name}#{}", injection.number).into());
        if injection.url.is_none() {
            line.extend(["--state-dir".into(), self.state_dir.clone().into_os_string()]);
        }
        line.extend(self.guards.arguments().into_iter().map(OsString::from));
        line.extend(self.log.iter().flat_map(|log| ["--log".into(), log.clone().into_os_string()]));
        line
    }

    fn plan(&self) -> Result<Plan, String> {
        let Some(path) = &self.file else { return self.by_chance() };
        let told = |error: String| format!("{}: {error}", path.display());
        let text = read(path).map_err(|error| told(error.to_string()))?;
        Plan::parse(&text).map_err(told)
    }

    fn by_chance(&self) -> Result<Plan, String> {
        let targets = self.targets.iter().map(|path| Place::Target(path.to_string()));
        let beside = self.beside.iter().map(|path| Place::Beside(path.to_string()));
        let places: Vec<_> = targets.chain(beside).chain(self.node.then_some(Place::Node(true))).collect();
        let kinds: Vec<_> = self.kinds.iter().map(|kind| self.with_url(kind)).collect();
        if places.is_empty() && kinds.iter().any(|kind| kind.kind != load::KIND) {
            return Err("where? Give --targets, --beside or --node".to_owned());
        }
        if self.url.is_some() != kinds.iter().any(|kind| kind.kind == load::KIND) {
            return Err("load and --url go together: add load=50..500 to --kinds, and --url URL".to_owned());
        }
        let plan = Plan {
            name: "random".to_owned(),
            seed: 0,
            duration: self.duration.unwrap_or_default(),
            fixed: Vec::new(),
            chances: vec![Chance {
                kinds,
                places,
                mean_gap: self.mean_gap,
                duration: self.each,
                overlap: self.overlap,
            }],
        };
        plan.check().map(|()| plan)
    }

    fn with_url(&self, KindRange(drawn): &KindRange) -> Drawn {
        let url = self.url.clone().filter(|_| drawn.kind == load::KIND);
        Drawn { url, ..drawn.clone() }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    let is_too_long = text.len() as u64 > MOST_BYTES;
    let too_long = || io::Error::other(format!("it has more than {} MiB", MOST_BYTES >> 20));
    if is_too_long { Err(too_long()) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
