//! The lender on a fake machine: what it refuses, what it undoes, and what survives it. Here is what these tests share.

mod failures;
mod others;
mod plans;
mod resources;

use ballast_api::{BytesPerSecond, Cores, Limit, LimitChange, ReadWrite};

use super::*;
use crate::fake::{FakeClock, FakeMachine, cores, name};

const START: Duration = Duration::ZERO;

fn means(machine: &FakeMachine) -> Means {
    Means {
        machine: machine.machine(),
        discovery: Discovery::of_parents(&machine.parents(&["p"])),
        sample_interval: Duration::from_secs(1),
        clock: FakeClock::at(0.0),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(&machine.state_dir(), "boot"),
    }
}

fn open(machine: &FakeMachine, now: Duration) -> Lender {
    Lender::open(means(machine), now).unwrap()
}

fn journalled(machine: &FakeMachine) -> Vec<String> {
    let entries = Journal::new(&machine.state_dir(), "boot").load().unwrap();
    entries.into_iter().map(|entry| entry.cgroup.to_string()).collect()
}

/// Two containers: `a` without a limit, `b` with half a core.
fn two() -> FakeMachine {
    let machine = FakeMachine::v1();
    machine.add("p/a", "-1");
    machine.add("p/b", "50000");
    machine
}

fn plan(generation: u64, changes: &[(&str, Limit<Cores>)]) -> Plan {
    let change = |(container, limit): &(&str, Limit<Cores>)| LimitChange {
        container: name(container),
        limits: Limits::of_cpu(*limit),
    };
    Plan { generation, lease_seconds: 10.0, dry_run: false, changes: changes.iter().map(change).collect() }
}

fn writing_at(rate: f64) -> Limits {
    let write = Limit::At(BytesPerSecond::new(rate).unwrap());
    Limits { disk: Some(ReadWrite { read: Limit::Max, write }), ..Limits::default() }
}

fn quotas(machine: &FakeMachine) -> [String; 2] {
    [machine.quota("p/a"), machine.quota("p/b")]
}
