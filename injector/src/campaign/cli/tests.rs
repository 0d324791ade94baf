//! Campaigns asked for on the command line: what they come to, and what is refused before anything is done.

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
    let random = "--random --kinds load=50..500,pause --targets a --url http://127.0.0.1:8/ --duration 1h";
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
        (format!("{load}intensity = \"9\"\noptions = {{ diurnal-to = 5, period = \"1s\" }}"), "at its low"),
        ("kind = \"load\"\ntarget = \"a\"\nintensity = \"5\"".to_owned(), "--target"),
        ("kind = \"pause\"\nurl = \"http://a/\"".to_owned(), "http://a/"),
        ("kind = \"restore\"\nurl = \"--json\"".to_owned(), "--duration"),
    ] {
        let problems = told_of(&injection).unwrap_err();
        assert!(problems[0].contains(told), "{told}: {problems:?}");
        assert!(problems[0].len() < 1000, "{told}: a problem that nobody can read");
    }
}

#[test]
fn so_many_at_a_time_are_a_problem_before_the_first() {
    let random = "--random --kinds pause --targets a --each 1h --mean-gap 1s --overlap --duration 10m";
    let problems = parse(random).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("64 others are there"), "{problems:?}");
    assert!(parse(&random.replace("1h", "10s")).is_ok());
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
