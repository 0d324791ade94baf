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
    file::{Chance, Drawn, Place, Plan, Times},
    judge::Judge,
    range::Range,
    schedule::{Scheduled, schedule},
};
use crate::{cli::DEFAULT_STATE_DIR, guards::Guards, load, service::Order};

/// The largest file that is read, in bytes: 100,000 planned injections are 10 MB.
const MOST_BYTES: u64 = 16 << 20;

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
    pub fn of(mut plan: Plan, seed: Option<u64>) -> Self {
        plan.seed = seed.unwrap_or(plan.seed);
        Self { schedule: schedule(&plan), name: plan.name }
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

    /// What the command line would say of its injections, a sentence each.
    #[must_use]
    pub fn problems(&self, campaign: &Campaign) -> Vec<String> {
        let mut judge = Judge::new();
        let problem = |injection| judge.problem(injection, &self.command_line(&campaign.name, injection));
        campaign.schedule.iter().filter_map(problem).take(MOST_TOLD).collect()
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
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

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
    fn the_workload_may_change_by_chance_too() {
        let random =
            "--random --kinds load=50..500,pause --targets a --url http://127.0.0.1:8/ --duration 1h";
        let campaign = parse(random).unwrap();
        let loads = campaign.schedule.iter().filter(|injection| injection.kind == "load");
        let rates: Vec<f64> = loads.map(|load| load.intensity.as_ref().unwrap().parse().unwrap()).collect();
        assert!(rates.len() > 10 && rates.iter().all(|rate| (50.0..=500.0).contains(rate)), "{rates:?}");
        assert!(rates.iter().any(|rate| *rate != rates[0]), "{rates:?}");
        let alone = "--random --kinds load=50 --url http://127.0.0.1:8/ --duration 1h";
        assert!(parse(alone).unwrap().schedule.iter().all(|injection| injection.kind == "load"));
    }

    #[test]
    fn what_a_file_asks_for_is_judged_before_the_first_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("campaign.toml");
        let told_of = |injection: &str| {
            let head = "duration = \"1m\"\n[[injection]]\nat = \"0s\"\nduration = \"1s\"\n";
            fs::write(&file, format!("{head}{injection}")).unwrap();
            parse(file.to_str().unwrap()).map(|campaign| campaign.schedule.len())
        };
        let load = "kind = \"load\"\nurl = \"http://127.0.0.1:8/\"\n";
        assert_eq!(told_of(&format!("{load}intensity = \"5/s\"")), Ok(1));
        let pause = "kind = \"pause\"\ntarget = \"a\"\n";
        assert_eq!(told_of(pause), Ok(1));
        for (injection, told) in [
            (format!("{pause}options = {{ label = \"x\" }}"), "--label"),
            (format!("{pause}options = {{ json = true }}"), "--json"),
            (format!("{pause}options = {{ state-dir = \"a\\u0000b\" }}"), "NUL"),
            (load.to_owned(), "--rate"),
            (format!("{load}options = {{ trace = \"/nowhere/trace\" }}"), "cannot read the trace"),
            (format!("{load}intensity = \"5\"\noptions = {{ header = [\"a b: c\"] }}"), "letters, digits"),
            (
                format!("{load}intensity = \"9\"\noptions = {{ diurnal-to = 5, period = \"1s\" }}"),
                "at its low",
            ),
            ("kind = \"load\"\ntarget = \"a\"\nintensity = \"5\"".to_owned(), "--target"),
            ("kind = \"pause\"\nurl = \"http://a/\"".to_owned(), "http://a/"),
            ("kind = \"restore\"\nurl = \"--json\"".to_owned(), "--duration"),
        ] {
            let problems = told_of(&injection).unwrap_err();
            assert!(problems[0].contains(told), "{told}: {problems:?}");
        }
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
            ("/dev/zero", "more than 16 MiB"),
            ("--random --targets a --duration 10m", "--kinds"),
            ("--random --kinds load=5 --duration 10m", "--url"),
            ("--random --kinds pause --targets a --url http://a/ --duration 10m", "go together"),
            ("--random --kinds pause,load=5 --url http://a/ --duration 10m", "where?"),
            ("--random --kinds load --url http://a/ --duration 10m", "--rate"),
            ("--random --kinds load=5% --url http://a/ --duration 10m", "no number"),
            ("--random --kinds load=0 --url http://a/ --duration 10m", "every rate is 0"),
            ("--random --kinds load=5 --url https://a/ --duration 10m", "https is not supported"),
        ] {
            let problems = parse(arguments).unwrap_err();
            assert!(problems[0].contains(told), "{told}: {problems:?}");
        }
    }
}
