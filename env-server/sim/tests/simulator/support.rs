//! Topologies and measurements that several tests use.

use std::time::Duration;

use ballast_api::{ContainerName, trace::Span};
use ballast_sim::{SimConfig, Simulation, Topology};

/// The hotel on two cores, at 30 requests/s.
pub(crate) fn hotel(seed: u64) -> Simulation {
    let topology = Topology::shipped("hotel-reservation").unwrap();
    Simulation::new(&topology, SimConfig { seed, ..SimConfig::default() }).unwrap()
}

/// One service that computes for `mean_us`, behind a network without delay.
pub(crate) fn single(workers: usize, limit_cores: f64, mean_us: f64, config: SimConfig) -> Simulation {
    let text = format!(
        r#"
        name = "single"
        service = [{{ name = "a", workers = {workers}, cpu_limit_cores = {limit_cores:?} }}]
        operation = [{{ name = "a.get", steps = [{{ cpu_us = {mean_us:?} }}] }}]
        request = [{{ name = "GET /", operation = "a.get", share = 1.0, objective = {{ percentile = 99.0, target_ms = 1.0 }} }}]
        "#
    );
    Simulation::new(&text.parse().unwrap(), SimConfig { hop_delay: Duration::ZERO, ..config }).unwrap()
}

/// A container's name.
pub(crate) fn name(text: &str) -> ContainerName {
    ContainerName::new(text).unwrap()
}

/// CPU time of a container, in seconds.
pub(crate) fn used(simulation: &Simulation, container: &str) -> f64 {
    let counters = simulation.counters();
    let sample = counters.iter().find(|sample| sample.container.name.as_str() == container).unwrap();
    sample.cpu_usage_seconds.unwrap()
}

/// Stops the arrivals and runs until nobody waits any more.
pub(crate) fn drain(simulation: &mut Simulation, spans: &mut Vec<Span>) {
    simulation.set_arrival_rate(0.0).unwrap();
    while simulation.in_flight().next().is_some() {
        simulation.advance_into(Duration::from_secs(1), spans);
    }
    // What is done in the background.
    simulation.advance_into(Duration::from_secs(1), spans);
}

/// Latencies in milliseconds of requests sent within `by` from now, those unanswered at the end with their age.
pub(crate) fn latencies_ms(simulation: &mut Simulation, by: Duration) -> Vec<f64> {
    let from = simulation.now();
    simulation.advance(by);
    let answered = simulation.completions().iter().map(|done| (done.intended_start, done.latency));
    let waiting = simulation.in_flight().map(|request| (request.intended_start, request.age));
    let sent = answered.chain(waiting).filter(|(start, _)| *start >= from);
    sent.map(|(_, latency)| latency.as_secs_f64() * 1e3).collect()
}

/// The 99th percentile: the smallest value that at most one in a hundred exceeds.
pub(crate) fn p99(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() - 1 - values.len() / 100]
}
