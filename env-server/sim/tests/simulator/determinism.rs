//! Same seed, same bytes.

use std::time::Duration;

use ballast_api::trace::Span;
use ballast_sim::Injection;

use crate::support::{drain, hotel, name, used};

/// A run with an injection and a change of load, as bytes.
fn bytes(seed: u64) -> Vec<u8> {
    let mut simulation = hotel(seed);
    let mut spans: Vec<Span> = simulation.advance(Duration::from_secs(3));
    let injection = Injection { cores: 0.18, threads: 2, duration: Duration::from_secs(4) };
    simulation.inject(&name("geo"), injection).unwrap();
    simulation.advance_into(Duration::from_secs(3), &mut spans);
    simulation.set_arrival_rate(60.0).unwrap();
    simulation.advance_into(Duration::from_secs(3), &mut spans);
    assert!(spans.len() > 2000, "{}", spans.len());
    serde_json::to_vec(&(spans, simulation.counters(), simulation.container_states())).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert!(bytes(1) == bytes(1));
    assert!(bytes(1) != bytes(2));
}

/// What users ask for does not depend on what is done to the cluster, so that runs with and without a controller compare.
#[test]
fn an_injection_changes_neither_arrivals_nor_work() {
    let run = |inject: bool| {
        let mut simulation = hotel(5);
        if inject {
            let injection = Injection { cores: 0.1, threads: 1, duration: Duration::from_secs(5) };
            simulation.inject(&name("rate"), injection).unwrap();
        }
        let mut spans = simulation.advance(Duration::from_secs(10));
        drain(&mut simulation, &mut spans);
        let mut sent: Vec<_> = spans
            .iter()
            .filter(|span| span.parent.is_none())
            .map(|span| (span.start, span.trace, span.operation.to_string()))
            .collect();
        sent.sort();
        (sent, used(&simulation, "frontend"), used(&simulation, "geo"), used(&simulation, "rate"))
    };
    let (calm, disturbed) = (run(false), run(true));
    assert_eq!(calm.0, disturbed.0);
    assert!((calm.1 - disturbed.1).abs() < 1e-5 && (calm.2 - disturbed.2).abs() < 1e-5);
    assert!((disturbed.3 - calm.3 - 0.5).abs() < 1e-5, "{} {}", calm.3, disturbed.3);
}
