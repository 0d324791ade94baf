//! Injections: what they use, and what they do to a victim.

use std::time::Duration;

use ballast_api::{Cores, Limit, LimitChange, Limits, Plan};
use ballast_sim::{Injection, SimConfig, SimError, Simulation};

use crate::support::{hotel, latencies_ms, name, p99, single, used};

fn idle(limit_cores: f64) -> Simulation {
    single(4, limit_cores, 1000.0, SimConfig { requests_per_second: 0.0, ..SimConfig::default() })
}

#[test]
fn unthrottled_burners_use_exactly_the_cores_asked_for() {
    for (cores, threads) in [(0.9, 1), (1.5, 2), (1.5, 4), (0.013, 1)] {
        let mut simulation = idle(2.0);
        simulation
            .inject(&name("a"), Injection { cores, threads, duration: Duration::from_secs(7) })
            .unwrap();
        simulation.advance(Duration::from_secs(5));
        assert!((used(&simulation, "a") - 5.0 * cores).abs() < 1e-5, "{cores} {}", used(&simulation, "a"));
        simulation.advance(Duration::from_secs(5));
        assert!((used(&simulation, "a") - 7.0 * cores).abs() < 1e-5, "it ends, and leaves nothing");
    }
}

#[test]
fn burners_that_are_held_back_use_the_quota_and_are_throttled_in_every_period() {
    let mut simulation = idle(0.2);
    simulation
        .inject(&name("a"), Injection { cores: 1.0, threads: 2, duration: Duration::from_secs(60) })
        .unwrap();
    simulation.advance(Duration::from_secs(20));
    let counters = simulation.counters().remove(0);
    assert!((counters.cpu_usage_seconds.unwrap() - 4.0).abs() < 0.02);
    assert_eq!(counters.cfs_periods, counters.cfs_throttled_periods);
    assert!((199.0..=200.0).contains(&counters.cfs_periods.unwrap()));
}

/// A backlog is bounded: soon after the limit is lifted only what is asked is burnt.
#[test]
fn a_lifted_limit_is_not_followed_by_minutes_of_debt() {
    let mut simulation = idle(0.2);
    simulation
        .inject(&name("a"), Injection { cores: 0.8, threads: 1, duration: Duration::from_secs(60) })
        .unwrap();
    simulation.advance(Duration::from_secs(20));
    raise(&mut simulation, "a", Limit::Max);
    simulation.advance(Duration::from_secs(1));
    let before = used(&simulation, "a");
    simulation.advance(Duration::from_secs(10));
    assert!((used(&simulation, "a") - before - 8.0).abs() < 1e-3);
}

#[test]
fn impossible_injections_change_nothing() {
    let mut simulation = idle(0.2);
    let injection = Injection { cores: 0.1, threads: 1, duration: Duration::from_secs(1) };
    let unknown = simulation.inject(&name("b"), injection).unwrap_err();
    assert_eq!(unknown, SimError::UnknownContainer("b".to_owned()));
    let refused = simulation.inject(&name("a"), Injection { cores: 2.0, ..injection }).unwrap_err();
    assert!(refused.to_string().contains("1 cores"), "{refused}");
    simulation.advance(Duration::from_secs(2));
    assert!(used(&simulation, "a") < 1e-9);
}

fn raise(simulation: &mut Simulation, container: &str, cpu: Limit<Cores>) {
    let change = LimitChange { container: name(container), limits: Limits::of_cpu(cpu) };
    let plan = Plan { generation: 1, lease_seconds: 3600.0, dry_run: false, changes: vec![change] };
    simulation.apply(&plan).unwrap();
}

/// Nine tenths of geo's limit starve it: users feel it at once, and a higher limit ends it.
#[test]
fn an_injection_starves_its_victim_until_the_limit_is_raised() {
    for seed in 1..=5 {
        let mut simulation = hotel(seed);
        simulation.advance(Duration::from_secs(5));
        let before = p99(latencies_ms(&mut simulation, Duration::from_secs(30)));
        let injection = Injection { cores: 0.18, threads: 4, duration: Duration::from_secs(300) };
        simulation.inject(&name("geo"), injection).unwrap();
        let during = p99(latencies_ms(&mut simulation, Duration::from_secs(30)));
        raise(&mut simulation, "geo", Limit::At(Cores::new(1.0).unwrap()));
        simulation.advance(Duration::from_secs(10));
        let after = p99(latencies_ms(&mut simulation, Duration::from_secs(30)));
        assert!(during > 5.0 * before, "seed {seed}: p99 {before} ms before, {during} ms during");
        assert!(after < 1.5 * before, "seed {seed}: p99 {before} ms before, {after} ms after");
    }
}
