//! Spans per second of simulating the hotel.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start has nothing to say")]

use std::time::Duration;

use ballast_sim::{SimConfig, Simulation, Topology};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

fn hotel() -> Simulation {
    let topology = Topology::shipped("hotel-reservation").unwrap();
    Simulation::new(&topology, SimConfig { seed: 1, ..SimConfig::default() }).unwrap()
}

/// Ten simulated seconds at 30 requests/s; an item is a span.
#[divan::bench]
fn simulator_spans(bencher: Bencher<'_, '_>) {
    let by = Duration::from_secs(10);
    // The same seed gives the same number every time.
    let spans = hotel().advance(by).len();
    bencher
        .counter(ItemsCount::new(spans))
        .with_inputs(hotel)
        .bench_local_values(|mut simulation| simulation.advance(by));
}
