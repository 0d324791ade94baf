//! Random lives of a lender against a model of ten lines: whatever plans, expiries, restorations, crashes and restarts
//! come in whatever order, the limits in force are those of the model.

use ballast_api::LimitChange;
use proptest::prelude::*;

use super::*;
use crate::fake::{FakeClock, FakeMachine, cores, name};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Quotas at a period of 100 ms. The first is too small, the last more than the machine has.
const QUOTAS_US: [i64; 7] = [500, 1000, 20_000, 50_000, 200_000, -1, 250_000];

#[derive(Debug, Clone)]
enum Event {
    Plan { picks: Vec<(usize, usize)>, generations_back: u64, lease_s: u64, dry_run: bool },
    Wait { seconds: u64 },
    Restore(usize),
    Crash,
    Replace { container: usize, quota: usize },
    Vanish(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let container = || 0..NAMES.len();
    let picks = proptest::collection::vec((container(), 0..QUOTAS_US.len()), 0..4);
    // Mostly fresh plans with a real lease, or hardly one would be accepted.
    let generations_back = prop_oneof![4 => Just(0u64), 1 => Just(1), 1 => Just(2)];
    let lease_s = prop_oneof![1 => Just(0u64), 8 => 1..15u64];
    let plan = (picks, generations_back, lease_s, prop::bool::weighted(0.1)).prop_map(
        |(picks, generations_back, lease_s, dry_run)| Event::Plan {
            picks,
            generations_back,
            lease_s,
            dry_run,
        },
    );
    prop_oneof![
        8 => plan,
        3 => (0..10u64).prop_map(|seconds| Event::Wait { seconds }),
        1 => container().prop_map(Event::Restore),
        1 => Just(Event::Crash),
        1 => (container(), 2..QUOTAS_US.len()).prop_map(|(container, quota)| Event::Replace { container, quota }),
        1 => container().prop_map(Event::Vanish),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Model {
    own: i64,
    in_force: i64,
    due_s: Option<u64>,
    generation: u64,
}

impl Model {
    fn new(own: i64) -> Self {
        Self { own, in_force: own, due_s: None, generation: 0 }
    }

    fn give_back(&mut self) {
        self.in_force = self.own;
        self.due_s = None;
    }
}

struct Life {
    machine: FakeMachine,
    lender: Lender,
    models: [Option<Model>; NAMES.len()],
    now_s: u64,
    generation: u64,
}

fn open(machine: &FakeMachine, now_s: u64) -> Lender {
    let means = Means {
        hierarchy: machine.hierarchy().clone(),
        parents: machine.parents(&["p"]),
        capacity: Cores::new(2.0).unwrap(),
        sample_interval: Duration::from_secs(1),
        clock: FakeClock::at(0.0),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(&machine.state_dir(), "boot"),
    };
    Lender::open(means, Duration::from_secs(now_s)).unwrap()
}

fn limit(quota_us: i64) -> Limit<Cores> {
    if quota_us < 0 { Limit::Max } else { cores(f64::from(i32::try_from(quota_us).unwrap()) / 100_000.0) }
}

fn path(container: usize) -> String {
    format!("p/{}", NAMES[container])
}

impl Life {
    fn new(machine: FakeMachine) -> Self {
        let own = [-1, 50_000, 150_000];
        for (container, quota) in own.into_iter().enumerate() {
            machine.add(&path(container), &quota.to_string());
        }
        let lender = open(&machine, 0);
        Self { machine, lender, models: own.map(|own| Some(Model::new(own))), now_s: 0, generation: 2 }
    }

    fn now(&self) -> Duration {
        Duration::from_secs(self.now_s)
    }

    fn live(&mut self, event: &Event) {
        match event {
            Event::Plan { picks, generations_back, lease_s, dry_run } => {
                self.plan(picks, *generations_back, *lease_s, *dry_run);
            }
            Event::Wait { seconds } => {
                self.now_s += seconds;
                self.lender.expire(self.now());
                let now_s = self.now_s;
                let ended = |model: &&mut Model| model.due_s.is_some_and(|due_s| due_s <= now_s);
                self.models.iter_mut().flatten().filter(ended).for_each(Model::give_back);
            }
            Event::Restore(container) => {
                let answer = self.lender.restore(&name(NAMES[*container]), self.now());
                let model = &mut self.models[*container];
                model.iter_mut().for_each(Model::give_back);
                assert_eq!(answer.ok(), model.map(|model| Limits::of_cpu(limit(model.own))));
            }
            Event::Crash => {
                // Nothing is told to the old one: it is gone between two instructions.
                self.lender = open(&self.machine, self.now_s);
                for model in self.models.iter_mut().flatten() {
                    *model = Model::new(model.own);
                }
            }
            Event::Replace { container, quota } => {
                self.vanish(*container);
                let own = QUOTAS_US[*quota];
                self.machine.add(&path(*container), &own.to_string());
                self.models[*container] = Some(Model::new(own));
            }
            Event::Vanish(container) => self.vanish(*container),
        }
    }

    fn vanish(&mut self, container: usize) {
        if self.models[container].take().is_some() {
            self.machine.remove(&path(container));
        }
    }

    fn plan(&mut self, picks: &[(usize, usize)], generations_back: u64, lease_s: u64, dry_run: bool) {
        self.generation += 1;
        let generation = self.generation - generations_back;
        let change = |(container, quota): &(usize, usize)| LimitChange {
            container: name(NAMES[*container]),
            limits: Limits::of_cpu(limit(QUOTAS_US[*quota])),
        };
        let changes: Vec<_> = picks.iter().map(change).collect();
        let distinct: BTreeSet<_> = picks.iter().map(|(container, _)| container).collect();
        let acceptable = lease_s > 0
            && distinct.len() == picks.len()
            && picks.iter().all(|(container, quota)| {
                let in_bounds = !matches!(QUOTAS_US[*quota], 500 | 250_000);
                in_bounds && self.models[*container].is_some_and(|model| model.generation <= generation)
            });
        #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
        let plan = Plan { generation, lease_seconds: lease_s as f64, dry_run, changes };
        let outcome = self.lender.apply(&plan, self.now());
        assert_eq!(outcome.is_ok(), acceptable, "{plan:?} gave {outcome:?}");
        if acceptable && !dry_run {
            for (container, quota) in picks {
                let model = self.models[*container].as_mut().unwrap();
                model.in_force = QUOTAS_US[*quota];
                model.due_s = Some(self.now_s + lease_s);
                model.generation = generation;
            }
        }
    }

    /// The kernel's files, the lender's answer and the journal all say what the model says.
    fn check(&mut self) {
        let now = self.now();
        let states = self.lender.containers(now).unwrap();
        let alive = || (0..NAMES.len()).filter_map(|i| self.models[i].map(|model| (i, model)));
        assert_eq!(states.len(), alive().count());
        for ((container, model), state) in alive().zip(&states) {
            assert_eq!(self.machine.quota(&path(container)), model.in_force.to_string(), "{}", state.name);
            assert_eq!(state.name.as_str(), NAMES[container]);
            assert_eq!(state.limits, Limits::of_cpu(limit(model.in_force)));
            assert_eq!(state.baseline, Limits::of_cpu(limit(model.own)));
            assert_eq!(state.generation, model.generation);
            #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
            let remaining = model.due_s.map(|due_s| (due_s - self.now_s) as f64);
            assert_eq!(state.lease_remaining_seconds, remaining);
        }
        let journal = Journal::new(&self.machine.state_dir(), "boot").load().unwrap();
        let lent: Vec<_> = alive().filter(|(_, model)| model.due_s.is_some()).map(|(i, _)| path(i)).collect();
        assert_eq!(journal.iter().map(|entry| entry.cgroup.to_string()).collect::<Vec<_>>(), lent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn limits_in_force_are_those_of_the_model(on_v2: bool, events in proptest::collection::vec(event(), 1..25)) {
        let mut life = Life::new(if on_v2 { FakeMachine::v2() } else { FakeMachine::v1() });
        for event in &events {
            life.live(event);
            life.check();
        }
        // Whatever it was, one more crash and start leaves every container with its own limits.
        life.live(&Event::Crash);
        life.check();
    }
}
