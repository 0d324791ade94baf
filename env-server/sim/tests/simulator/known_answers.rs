//! Formulas of queueing theory, met within a few per cent over several seeds.

use std::time::Duration;

use ballast_sim::{SimConfig, Simulation};

use crate::support::{single, used};

const SEEDS: u64 = 4;
const SECONDS: u64 = 1500;

/// Mean service time, arrival rate, and the utilisation that they make of one core.
const SERVICE_US: f64 = 10_000.0;
const PER_SECOND: f64 = 60.0;
const RHO: f64 = PER_SECOND * SERVICE_US / 1e6;

fn one_core(workers: usize, seed: u64) -> Simulation {
    let config = SimConfig { seed, node_cores: 1.0, requests_per_second: PER_SECOND, ..SimConfig::default() };
    single(workers, 2.0, SERVICE_US, config)
}

/// Mean response in milliseconds, over all seeds.
fn mean_response_ms(workers: usize) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for seed in 0..SEEDS {
        let mut simulation = one_core(workers, seed);
        for _ in 0..SECONDS {
            simulation.advance(Duration::from_secs(1));
            for done in simulation.completions() {
                sum += done.latency.as_secs_f64() * 1e3;
                count += 1.0;
            }
        }
    }
    sum / count
}

/// One worker serves in the order of arrival: Pollaczek and Khinchine's formula for M/G/1, with the square of Erlang-4's
/// coefficient of variation one quarter.
#[test]
fn one_worker_is_an_m_g_1_queue() {
    let expected = 10.0 * (1.0 + RHO * (1.0 + 0.25) / (2.0 * (1.0 - RHO)));
    let measured = mean_response_ms(1);
    assert!((measured / expected - 1.0).abs() < 0.03, "{measured} ms, expected {expected} ms");
}

/// Workers in plenty share the core: M/G/1 with processor sharing, whose mean depends on the mean work only.
#[test]
fn many_workers_are_processor_sharing() {
    let expected = 10.0 / (1.0 - RHO);
    let measured = mean_response_ms(1000);
    assert!((measured / expected - 1.0).abs() < 0.03, "{measured} ms, expected {expected} ms");
}

#[test]
fn utilisation_is_arrivals_times_work() {
    let mut simulation = one_core(1, 9);
    simulation.advance(Duration::from_secs(SECONDS));
    let measured = used(&simulation, "a") / SECONDS as f64;
    assert!((measured / RHO - 1.0).abs() < 0.02, "{measured}");
}

/// With more work than the quota allows, the quota is used to the last microsecond and the backlog grows as the rest.
#[test]
fn an_overloaded_container_serves_what_its_quota_allows() {
    let config = SimConfig {
        seed: 3,
        requests_per_second: PER_SECOND,
        max_in_flight: 1_000_000,
        ..SimConfig::default()
    };
    let mut simulation = single(8, 0.3, SERVICE_US, config);
    simulation.advance(Duration::from_secs(100));
    assert!((used(&simulation, "a") - 30.0).abs() < 0.04, "{}", used(&simulation, "a"));
    let waiting = simulation.in_flight().count() as f64;
    assert!((waiting / ((PER_SECOND - 30.0) * 100.0) - 1.0).abs() < 0.1, "{waiting}");
}
