//! Random lives of a lender against a model of ten lines: whatever plans, expiries, restorations, crashes and restarts
//! come in whatever order, the limits in force are those of the model.

use ballast_api::{BytesPerSecond, Cores, Limit, LimitChange, ReadWrite};
use proptest::prelude::*;

use super::*;
use crate::fake::{FakeClock, FakeMachine, cores, name};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Quotas at a period of 100 ms. The first is too small, the last more than the machine has.
const QUOTAS_US: [i64; 7] = [500, 1000, 20_000, 50_000, 200_000, -1, 250_000];

/// Bytes written per second; none for no limit.
const RATES: [Option<u64>; 3] = [None, Some(4096), Some(1 << 20)];

/// What a plan asks of one container; an index each, none for a resource that it leaves alone.
#[derive(Debug, Clone, Copy)]
struct Pick {
    container: usize,
    quota: Option<usize>,
    rate: Option<usize>,
}

fn pick() -> impl Strategy<Value = Pick> {
    let quota = proptest::option::weighted(0.8, 0..QUOTAS_US.len());
    let rate = proptest::option::weighted(0.5, 0..RATES.len());
    (0..NAMES.len(), quota, rate).prop_map(|(container, quota, rate)| Pick { container, quota, rate })
}

impl Pick {
    fn limits(self) -> Limits {
        let quota = self.quota.map(|quota| Limits::of_cpu(limit(QUOTAS_US[quota]))).unwrap_or_default();
        let rate = self.rate.map(|rate| disk(RATES[rate])).unwrap_or_default();
        quota.or(rate)
    }

    fn in_bounds(self) -> bool {
        let named = self.quota.is_some() || self.rate.is_some();
        named && self.quota.is_none_or(|quota| !matches!(QUOTAS_US[quota], 500 | 250_000))
    }
}

#[derive(Debug, Clone)]
enum Event {
    Plan {
        picks: Vec<Pick>,
        generations_back: u64,
        lease_s: u64,
        dry_run: bool,
    },
    Wait {
        seconds: u64,
    },
    Restore(usize),
    Crash,
    Replace {
        container: usize,
        quota: usize,
        rate: usize,
    },
    Vanish(usize),
    /// Somebody else sets a limit.
    MeddleWithCpu {
        container: usize,
        quota: usize,
    },
    MeddleWithDisk {
        container: usize,
        rate: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let container = || 0..NAMES.len();
    let picks = proptest::collection::vec(pick(), 0..4);
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
        3 => prop_oneof![4 => 0..10u64, 1 => 60..130u64].prop_map(|seconds| Event::Wait { seconds }),
        1 => container().prop_map(Event::Restore),
        1 => Just(Event::Crash),
        1 => (container(), 2..QUOTAS_US.len(), 0..RATES.len())
            .prop_map(|(container, quota, rate)| Event::Replace { container, quota, rate }),
        1 => container().prop_map(Event::Vanish),
        1 => (container(), 2..QUOTAS_US.len())
            .prop_map(|(container, quota)| Event::MeddleWithCpu { container, quota }),
        1 => (container(), 0..RATES.len())
            .prop_map(|(container, rate)| Event::MeddleWithDisk { container, rate }),
    ]
}

/// Microseconds of quota, and bytes written per second.
type Both = (i64, Option<u64>);

/// One resource of a container.
#[derive(Debug, Clone, Copy)]
struct Part<T> {
    own: T,
    in_force: T,
    is_lent: bool,
    is_held: bool,
}

impl<T: Copy + PartialEq> Part<T> {
    fn new(own: T) -> Self {
        Self { own, in_force: own, is_lent: false, is_held: false }
    }

    fn give_back(&mut self) {
        (self.in_force, self.is_lent) = (self.own, false);
    }

    fn lend(&mut self, asked: Option<T>) {
        if let Some(asked) = asked.filter(|_| !self.is_held) {
            (self.in_force, self.is_lent) = (asked, true);
        }
    }

    /// Whether that took a loan away.
    fn meddle(&mut self, value: T) -> bool {
        let was_taken = self.is_lent && self.in_force != value;
        if was_taken {
            *self = Self { is_held: true, ..Self::new(value) };
        } else if !self.is_lent {
            (self.own, self.in_force) = (value, value);
        }
        was_taken
    }
}

#[derive(Debug, Clone, Copy)]
struct Model {
    cpu: Part<i64>,
    disk: Part<Option<u64>>,
    due_s: Option<u64>,
    generation: u64,
    held_until_s: u64,
    times_held: u32,
}

impl Model {
    fn new((quota_us, rate): Both) -> Self {
        let (cpu, disk) = (Part::new(quota_us), Part::new(rate));
        Self { cpu, disk, due_s: None, generation: 0, held_until_s: 0, times_held: 0 }
    }

    fn own(&self) -> Both {
        (self.cpu.own, self.disk.own)
    }

    fn in_force(&self) -> Both {
        (self.cpu.in_force, self.disk.in_force)
    }

    fn give_back(&mut self) {
        self.cpu.give_back();
        self.disk.give_back();
        self.due_s = None;
    }

    fn at(&mut self, now_s: u64) {
        if self.due_s.is_some_and(|due_s| due_s <= now_s) {
            self.give_back();
        }
        if self.held_until_s <= now_s {
            (self.cpu.is_held, self.disk.is_held) = (false, false);
        }
    }

    fn lend(&mut self, pick: Pick, due_s: u64) {
        self.cpu.lend(pick.quota.map(|quota| QUOTAS_US[quota]));
        self.disk.lend(pick.rate.map(|rate| RATES[rate]));
        self.due_s = self.is_lent().then_some(due_s);
    }

    fn is_lent(&self) -> bool {
        self.cpu.is_lent || self.disk.is_lent
    }

    /// A minute, then two, then four: the lives here are too short for the hour.
    fn begin_hold(&mut self, now_s: u64) {
        self.held_until_s = now_s + (60 << self.times_held);
        self.times_held += 1;
        self.due_s = self.due_s.filter(|_| self.is_lent());
    }

    fn end_hold(&mut self) {
        (self.held_until_s, self.times_held) = (0, 0);
        (self.cpu.is_held, self.disk.is_held) = (false, false);
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
        machine: machine.machine(),
        discovery: Discovery::of_parents(&machine.parents(&["p"])),
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

fn disk(write: Option<u64>) -> Limits {
    #[expect(clippy::cast_precision_loss, reason = "rates of a test")]
    let write = write.map_or(Limit::Max, |rate| Limit::At(BytesPerSecond::new(rate as f64).unwrap()));
    Limits { disk: Some(ReadWrite { read: Limit::Max, write }), ..Limits::default() }
}

/// What is shown of a container; nobody limits operations.
fn shown((quota_us, write): Both) -> Limits {
    let operations = Some(ReadWrite { read: Limit::Max, write: Limit::Max });
    let operations = Limits { disk_operations: operations, ..Limits::default() };
    Limits::of_cpu(limit(quota_us)).or(disk(write)).or(operations)
}

fn path(container: usize) -> String {
    format!("p/{}", NAMES[container])
}

fn add(machine: &FakeMachine, container: usize, (quota_us, write): Both) {
    machine.add(&path(container), &quota_us.to_string());
    machine.put_disk(&path(container), ReadWrite { read: None, write });
}

impl Life {
    fn new(machine: FakeMachine) -> Self {
        let own = [(-1, None), (50_000, Some(9000)), (150_000, None)];
        for (container, own) in own.into_iter().enumerate() {
            add(&machine, container, own);
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
                self.models.iter_mut().flatten().for_each(|model| model.at(now_s));
            }
            Event::Restore(container) => {
                let answer = self.lender.restore(&name(NAMES[*container]), self.now());
                let model = &mut self.models[*container];
                model.iter_mut().for_each(Model::give_back);
                model.iter_mut().for_each(Model::end_hold);
                assert_eq!(answer.ok(), model.map(|model| shown(model.own())));
            }
            Event::Crash => {
                // Nothing is told to the old one: it is gone between two instructions.
                self.lender = open(&self.machine, self.now_s);
                for model in self.models.iter_mut().flatten() {
                    *model = Model::new(model.own());
                }
            }
            Event::Replace { container, quota, rate } => {
                self.vanish(*container);
                let own = (QUOTAS_US[*quota], RATES[*rate]);
                add(&self.machine, *container, own);
                self.models[*container] = Some(Model::new(own));
            }
            Event::Vanish(container) => self.vanish(*container),
            Event::MeddleWithCpu { container, quota } => {
                let Some(model) = &mut self.models[*container] else { return };
                self.machine.put(&path(*container), &QUOTAS_US[*quota].to_string());
                if model.cpu.meddle(QUOTAS_US[*quota]) {
                    model.begin_hold(self.now_s);
                }
            }
            Event::MeddleWithDisk { container, rate } => {
                let Some(model) = &mut self.models[*container] else { return };
                self.machine.put_disk(&path(*container), ReadWrite { read: None, write: RATES[*rate] });
                if model.disk.meddle(RATES[*rate]) {
                    model.begin_hold(self.now_s);
                }
            }
        }
    }

    fn vanish(&mut self, container: usize) {
        if self.models[container].take().is_some() {
            self.machine.remove(&path(container));
        }
    }

    fn plan(&mut self, picks: &[Pick], generations_back: u64, lease_s: u64, dry_run: bool) {
        self.generation += 1;
        let generation = self.generation - generations_back;
        let change =
            |pick: &Pick| LimitChange { container: name(NAMES[pick.container]), limits: pick.limits() };
        let changes: Vec<_> = picks.iter().map(change).collect();
        let distinct: BTreeSet<_> = picks.iter().map(|pick| pick.container).collect();
        let is_fresh = |model: Model| model.generation <= generation;
        let acceptable = lease_s > 0
            && distinct.len() == picks.len()
            && picks.iter().all(|pick| pick.in_bounds() && self.models[pick.container].is_some_and(is_fresh));
        #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
        let plan = Plan { generation, lease_seconds: lease_s as f64, dry_run, changes };
        let outcome = self.lender.apply(&plan, self.now());
        assert_eq!(outcome.is_ok(), acceptable, "{plan:?} gave {outcome:?}");
        if acceptable && !dry_run {
            for pick in picks {
                let model = self.models[pick.container].as_mut().unwrap();
                model.lend(*pick, self.now_s + lease_s);
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
            let (quota, write) = model.in_force();
            assert_eq!(self.machine.quota(&path(container)), quota.to_string(), "{}", state.name);
            assert_eq!(
                self.machine.disk(&path(container)),
                ReadWrite { read: None, write },
                "{}",
                state.name
            );
            assert_eq!(state.name.as_str(), NAMES[container]);
            assert_eq!(state.limits, shown(model.in_force()));
            assert_eq!(state.baseline, shown(model.own()));
            let held = (state.drift.cpu.is_some(), state.drift.disk.is_some());
            assert_eq!(held, (model.cpu.is_held, model.disk.is_held));
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
