//! Random lives of a lender on the real kernel: whatever plans, lease ends, restorations and crashes come in whatever order, a
//! container's CPU, disk and network are limited as a model of ten lines says, and at the end each file and each interface says
//! what it said before. Needs root.
//!
//! What somebody else does meanwhile is played on pretended files (`lender/model.rs`), caches on an emulator (`tests/resctrl`).
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use ballast_api::{
    BitsPerSecond, BytesPerSecond, ContainerState, Cores, EgressIngress, Limit, LimitChange, Limits,
    OperationsPerSecond, Plan, ReadWrite, SystemClock,
};
use ballast_env_server::{
    discovery::Discovery,
    journal::Journal,
    lender::{Lender, Means},
    machine::{Machine, Roots},
    metrics::Metrics,
};
use ballast_kernel::{CgroupPath, Interface, NetworkControl};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use support::{
    Scratch, name,
    own::set_own_limits,
    stage::{everything, on_a_host},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

#[derive(Debug, Clone)]
enum Event {
    Plan { asked: Limits, lease_s: u64 },
    Wait { seconds: u64 },
    Restore,
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    let plan = (asked(), 1..15u64).prop_filter_map("names nothing", |(asked, lease_s)| {
        asked.named().next().is_some().then_some(Event::Plan { asked, lease_s })
    });
    let wait = (0..10u64).prop_map(|seconds| Event::Wait { seconds });
    prop_oneof![6 => plan, 2 => wait, 1 => Just(Event::Restore), 1 => Just(Event::Crash)]
}

/// Limits that every kernel takes as they are: of the CPU also below the container's own burst.
fn asked() -> impl Strategy<Value = Limits> {
    let cpu = one_of([None, Some(0.1), Some(0.5), Some(1.2)]).prop_map(|cores| at(cores, Cores::new));
    let bytes = || one_of([None, Some(4e6), Some(8e6)]).prop_map(|rate| at(rate, BytesPerSecond::new));
    let operations = || one_of([None, Some(900.0)]).prop_map(|rate| at(rate, OperationsPerSecond::new));
    let bits = || one_of([None, Some(20e6), Some(50e6)]).prop_map(|rate| at(rate, BitsPerSecond::new));
    let disk = (bytes(), bytes()).prop_map(|(read, write)| ReadWrite { read, write });
    let disk_operations = (operations(), operations()).prop_map(|(read, write)| ReadWrite { read, write });
    let network = (bits(), bits()).prop_map(|(egress, ingress)| EgressIngress { egress, ingress });
    let parts = (maybe(cpu), maybe(disk), maybe(disk_operations), maybe(network));
    parts.prop_map(|(cpu, disk, disk_operations, network)| Limits {
        cpu,
        disk,
        disk_operations,
        network,
        ..Limits::default()
    })
}

fn one_of<const N: usize>(values: [Option<f64>; N]) -> impl Strategy<Value = Option<f64>> {
    proptest::sample::select(values.to_vec())
}

fn maybe<S: Strategy>(part: S) -> impl Strategy<Value = Option<S::Value>> {
    proptest::option::of(part)
}

fn at<U, E: std::fmt::Debug>(value: Option<f64>, unit: impl Fn(f64) -> Result<U, E>) -> Limit<U> {
    value.map_or(Limit::Max, |value| Limit::At(unit(value).unwrap()))
}

/// What the container has of its own, what it is lent instead, and until when.
struct Model {
    own: Limits,
    lent: Limits,
    due_s: u64,
}

impl Model {
    fn is_lent(&self) -> bool {
        self.lent.named().next().is_some()
    }

    fn live(&mut self, event: &Event, now_s: u64) {
        match event {
            Event::Plan { asked, lease_s } => {
                (self.lent, self.due_s) = (asked.or(self.lent), now_s + lease_s);
            }
            Event::Wait { .. } if self.due_s > now_s => {}
            Event::Wait { .. } | Event::Restore | Event::Crash => self.lent = Limits::default(),
        }
    }
}

/// A node over one container.
struct Life<'a> {
    scratch: &'a Scratch,
    machine: &'a Machine,
    interface: Interface,
    lender: Lender,
    model: Model,
    now_s: u64,
    generation: u64,
}

impl<'a> Life<'a> {
    fn new(scratch: &'a Scratch, machine: &'a Machine) -> Self {
        let interface = Interface::of_process(Path::new("/proc"), scratch.pid("geo")).unwrap();
        let mut lender = open(scratch, machine, Duration::ZERO);
        let own = geo(&mut lender, Duration::ZERO).limits;
        let model = Model { own, lent: Limits::default(), due_s: 0 };
        Self { scratch, machine, interface, lender, model, now_s: 0, generation: 0 }
    }

    fn now(&self) -> Duration {
        Duration::from_secs(self.now_s)
    }

    fn live(&mut self, event: &Event) {
        match event {
            Event::Plan { asked, lease_s } => self.plan(asked, *lease_s),
            Event::Wait { seconds } => {
                self.now_s += seconds;
                self.lender.expire(self.now());
            }
            Event::Restore => drop(self.lender.restore(&name("geo"), self.now()).unwrap()),
            // Nothing is told to the old one.
            Event::Crash => self.lender = open(self.scratch, self.machine, self.now()),
        }
        self.model.live(event, self.now_s);
        self.check();
    }

    fn plan(&mut self, asked: &Limits, lease_s: u64) {
        self.generation += 1;
        let change = LimitChange { container: name("geo"), limits: *asked };
        #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
        let lease_seconds = lease_s as f64;
        let plan = Plan { generation: self.generation, lease_seconds, dry_run: false, changes: vec![change] };
        let applied = self.lender.apply(&plan, self.now()).unwrap().applied.remove(0);
        assert_eq!(applied.applied, *asked);
    }

    /// The lender, the kernel and the journal say what the model says.
    fn check(&mut self) {
        let now = self.now();
        let (told, in_force) = (geo(&mut self.lender, now), self.model.lent.or(self.model.own));
        assert_eq!((told.limits, told.baseline), (in_force, self.model.own));
        assert_eq!(told.drift.iter().next(), None);
        assert_eq!(told.lease_remaining_seconds.is_some(), self.model.is_lent());
        let network = NetworkControl::new(self.interface).limit().unwrap();
        let cpu = self.scratch.cpu("geo").limit().unwrap();
        assert_eq!((Some(network), Some(cpu)), (in_force.network, in_force.cpu));
        let journal = Journal::new(&self.scratch.state_dir(), "boot").load().unwrap();
        assert_eq!(journal.len(), usize::from(self.model.is_lent()));
    }
}

fn open(scratch: &Scratch, machine: &Machine, now: Duration) -> Lender {
    std::fs::create_dir_all(scratch.state_dir()).unwrap();
    let means = Means {
        machine: machine.clone(),
        discovery: Discovery::of_parents(&[CgroupPath::new(&scratch.parent()).unwrap()]),
        sample_interval: Duration::from_secs(1),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(&scratch.state_dir(), "boot"),
    };
    Lender::open(means, now).unwrap()
}

fn geo(lender: &mut Lender, now: Duration) -> ContainerState {
    lender.containers(now).unwrap().into_iter().find(|state| state.name == name("geo")).unwrap()
}

#[test]
fn limits_in_force_are_those_of_the_model_on_the_real_kernel() {
    let test = "limits_in_force_are_those_of_the_model_on_the_real_kernel";
    on_a_host(test, async |scratch| {
        let has_disk = set_own_limits(&scratch);
        let machine = Machine::look_at(Roots::default()).unwrap().with_network();
        let before = everything(&scratch);
        let events = proptest::collection::vec(event(), 1..20);
        let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
        let lived = TestRunner::new(config).run(&events, |events| {
            let mut life = Life::new(&scratch, &machine);
            for mut event in events {
                if let Event::Plan { asked, .. } = &mut event
                    && !has_disk
                {
                    (asked.disk, asked.disk_operations, asked.cpu) =
                        (None, None, asked.cpu.or(Some(Limit::Max)));
                }
                life.live(&event);
            }
            // Whatever it was, one more crash and start leave the container with its own limits.
            life.live(&Event::Crash);
            assert_eq!(everything(&scratch), before);
            Ok(())
        });
        if let Err(failed) = lived {
            panic!("{failed}");
        }
    });
}
