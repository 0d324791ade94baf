//! Random lives of a lender against a model of few lines: whatever plans, expiries, restorations, refusals of the kernel,
//! crashes and restarts come in whatever order, the limits in force are those of the model.

mod expected;

use ballast_api::{BytesPerSecond, CgroupVersion, Cores, Limit, LimitChange, OperationsPerSecond, ReadWrite};
use proptest::prelude::*;

use super::*;
use crate::fake::{FakeClock, FakeMachine, UNLIMITED, cores, name};

use expected::{Model, Values};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Quotas at a period of 100 ms. The first is too small, the second more than the machine has.
const QUOTAS_US: [i64; 8] = [500, 250_000, 1000, 20_000, 50_000, STUCK_US, 200_000, -1];
/// How many of them are out of bounds.
const BAD_QUOTAS: usize = 2;
/// What is in force where the kernel refuses to write.
const STUCK_US: i64 = 65_536;

/// Of a disk, per second; none for no limit.
type Rates = ReadWrite<Option<u64>>;

/// Bytes, or operations.
const RATES: [Rates; 4] = [
    UNLIMITED,
    ReadWrite { read: None, write: Some(4096) },
    ReadWrite { read: Some(1 << 20), write: Some(4096) },
    ReadWrite { read: Some(300), write: None },
];

/// What a plan asks of one container; an index each, none for a resource that it leaves alone.
#[derive(Debug, Clone, Copy)]
struct Pick {
    container: usize,
    quota: Option<usize>,
    bytes: Option<usize>,
    operations: Option<usize>,
}

fn pick() -> impl Strategy<Value = Pick> {
    // Mostly good ones, or hardly a plan would be accepted.
    let quota = prop_oneof![1 => 0..BAD_QUOTAS, 9 => BAD_QUOTAS..QUOTAS_US.len()];
    let rates = || proptest::option::weighted(0.4, 0..RATES.len());
    (0..NAMES.len(), proptest::option::weighted(0.8, quota), rates(), rates())
        .prop_map(|(container, quota, bytes, operations)| Pick { container, quota, bytes, operations })
}

impl Pick {
    fn limits(self) -> Limits {
        let quota = self.quota.map(|quota| Limits::of_cpu(limit(QUOTAS_US[quota]))).unwrap_or_default();
        let bytes = self.bytes.map(|rates| bytes(RATES[rates])).unwrap_or_default();
        quota.or(bytes).or(self.operations.map(|rates| operations(RATES[rates])).unwrap_or_default())
    }

    fn in_bounds(self) -> bool {
        let named = self.quota.is_some() || self.bytes.is_some() || self.operations.is_some();
        named && self.quota.is_none_or(|quota| quota >= BAD_QUOTAS)
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
        bytes: usize,
    },
    Vanish(usize),
    /// Somebody else sets a limit.
    MeddleWithCpu {
        container: usize,
        quota: usize,
    },
    MeddleWithBytes {
        container: usize,
        rates: usize,
    },
    MeddleWithOperations {
        container: usize,
        rates: usize,
    },
    /// The kernel takes no quota any more; only on v1, where the fake can do that.
    Refuse(usize),
    Accept(usize),
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
        1 => (container(), BAD_QUOTAS..QUOTAS_US.len(), 0..RATES.len())
            .prop_map(|(container, quota, bytes)| Event::Replace { container, quota, bytes }),
        1 => container().prop_map(Event::Vanish),
        1 => (container(), BAD_QUOTAS..QUOTAS_US.len())
            .prop_map(|(container, quota)| Event::MeddleWithCpu { container, quota }),
        1 => (container(), 0..RATES.len())
            .prop_map(|(container, rates)| Event::MeddleWithBytes { container, rates }),
        1 => (container(), 0..RATES.len())
            .prop_map(|(container, rates)| Event::MeddleWithOperations { container, rates }),
        1 => container().prop_map(Event::Refuse),
        1 => container().prop_map(Event::Accept),
    ]
}

struct Life {
    machine: FakeMachine,
    lender: Lender,
    models: [Option<Model>; NAMES.len()],
    now_ms: u64,
    generation: u64,
}

fn open(machine: &FakeMachine, now_ms: u64) -> Lender {
    let means = Means {
        machine: machine.machine(),
        discovery: Discovery::of_parents(&machine.parents(&["p"])),
        sample_interval: Duration::from_secs(1),
        clock: FakeClock::at(0.0),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(&machine.state_dir(), "boot"),
    };
    Lender::open(means, Duration::from_millis(now_ms)).unwrap()
}

fn limit(quota_us: i64) -> Limit<Cores> {
    if quota_us < 0 { Limit::Max } else { cores(f64::from(i32::try_from(quota_us).unwrap()) / 100_000.0) }
}

#[expect(clippy::cast_precision_loss, reason = "rates of a test")]
fn bytes(rates: Rates) -> Limits {
    let limit = |rate: u64| Limit::At(BytesPerSecond::new(rate as f64).unwrap());
    Limits { disk: Some(rates.map(|rate| rate.map_or(Limit::Max, limit))), ..Limits::default() }
}

#[expect(clippy::cast_precision_loss, reason = "rates of a test")]
fn operations(rates: Rates) -> Limits {
    let limit = |rate: u64| Limit::At(OperationsPerSecond::new(rate as f64).unwrap());
    Limits { disk_operations: Some(rates.map(|rate| rate.map_or(Limit::Max, limit))), ..Limits::default() }
}

/// What is shown of a container.
fn shown((quota_us, of_bytes, of_operations): Values) -> Limits {
    Limits::of_cpu(limit(quota_us)).or(bytes(of_bytes)).or(operations(of_operations))
}

fn path(container: usize) -> String {
    format!("p/{}", NAMES[container])
}

fn add(machine: &FakeMachine, container: usize, (quota_us, bytes, operations): Values) {
    machine.add(&path(container), &quota_us.to_string());
    machine.put_disk(&path(container), bytes);
    machine.put_operations(&path(container), operations);
}

impl Life {
    fn new(machine: FakeMachine) -> Self {
        let own = [(-1, UNLIMITED, RATES[3]), (50_000, RATES[2], UNLIMITED), (150_000, UNLIMITED, UNLIMITED)];
        for (container, own) in own.into_iter().enumerate() {
            add(&machine, container, own);
        }
        let lender = open(&machine, 0);
        Self { machine, lender, models: own.map(|own| Some(Model::new(own))), now_ms: 0, generation: 2 }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms)
    }

    fn live(&mut self, event: &Event) {
        match event {
            Event::Plan { picks, generations_back, lease_s, dry_run } => {
                self.plan(picks, *generations_back, *lease_s, *dry_run);
            }
            Event::Wait { seconds } => {
                self.now_ms += seconds * 1000;
                self.lender.expire(self.now());
                let now_ms = self.now_ms;
                self.models.iter_mut().flatten().for_each(|model| model.at(now_ms));
            }
            Event::Restore(container) => {
                let answer = self.lender.restore(&name(NAMES[*container]), self.now());
                let now_ms = self.now_ms;
                let restored = self.models[*container].as_mut().and_then(|model| {
                    let is_back = model.due_ms.is_none() || model.give_back(now_ms);
                    is_back.then(|| {
                        model.end_hold();
                        shown(model.own())
                    })
                });
                assert_eq!(answer.ok(), restored);
            }
            Event::Crash => {
                // Nothing is told to the old one: it is gone between two instructions.
                self.lender = open(&self.machine, self.now_ms);
                let now_ms = self.now_ms;
                self.models.iter_mut().flatten().for_each(|model| model.crash(now_ms));
            }
            Event::Replace { container, quota, bytes } => {
                self.vanish(*container);
                let own = (QUOTAS_US[*quota], RATES[*bytes], UNLIMITED);
                add(&self.machine, *container, own);
                self.models[*container] = Some(Model::new(own));
            }
            Event::Vanish(container) => self.vanish(*container),
            Event::MeddleWithCpu { container, quota } => {
                let Some(model) = &mut self.models[*container] else { return };
                if !model.refuses {
                    self.machine.put(&path(*container), &QUOTAS_US[*quota].to_string());
                    if model.cpu.meddle(QUOTAS_US[*quota]) {
                        model.begin_hold(self.now_ms);
                    }
                }
            }
            Event::MeddleWithBytes { container, rates } => {
                let Some(model) = &mut self.models[*container] else { return };
                self.machine.put_disk(&path(*container), RATES[*rates]);
                if model.bytes.meddle(RATES[*rates]) {
                    model.begin_hold(self.now_ms);
                }
            }
            Event::MeddleWithOperations { container, rates } => {
                let Some(model) = &mut self.models[*container] else { return };
                self.machine.put_operations(&path(*container), RATES[*rates]);
                if model.operations.meddle(RATES[*rates]) {
                    model.begin_hold(self.now_ms);
                }
            }
            Event::Refuse(container) => self.refuse(*container),
            Event::Accept(container) => self.accept(*container),
        }
    }

    fn refuse(&mut self, container: usize) {
        let is_v1 = self.machine.hierarchy().version() == CgroupVersion::V1;
        if let Some(model) = self.models[container].as_mut().filter(|model| is_v1 && !model.refuses) {
            self.machine.refuse_writes(&path(container));
            model.refuses = true;
            if model.cpu.meddle(STUCK_US) {
                model.begin_hold(self.now_ms);
            }
        }
    }

    fn accept(&mut self, container: usize) {
        if let Some(model) = self.models[container].as_mut().filter(|model| model.refuses) {
            self.machine.accept_writes(&path(container), &STUCK_US.to_string());
            model.refuses = false;
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
        let is_refused =
            |pick: &Pick| self.models[pick.container].is_some_and(|model| model.is_refused(*pick));
        let done = acceptable && (dry_run || !picks.iter().any(is_refused));
        let outcome = self.lender.apply(&plan, self.now());
        assert_eq!(outcome.is_ok(), done, "{plan:?} gave {outcome:?}");
        if done && !dry_run {
            for pick in picks {
                let model = self.models[pick.container].as_mut().unwrap();
                model.lend(*pick, self.now_ms + lease_s * 1000);
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
            let (quota, bytes, operations) = model.in_force();
            let path = path(container);
            assert_eq!(self.machine.quota(&path), quota.to_string(), "{}", state.name);
            assert_eq!(self.machine.disk(&path), bytes, "{}", state.name);
            assert_eq!(self.machine.operations(&path), operations, "{}", state.name);
            assert_eq!(state.name.as_str(), NAMES[container]);
            assert_eq!(state.limits, shown(model.in_force()));
            assert_eq!(state.baseline, shown(model.own()));
            let held = (state.drift.cpu.is_some(), state.drift.disk.is_some());
            assert_eq!(held, (model.cpu.is_held, model.bytes.is_held || model.operations.is_held));
            assert_eq!(state.generation, model.generation);
            #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
            let remaining = model.due_ms.map(|due_ms| (due_ms - self.now_ms) as f64 / 1000.0);
            assert_eq!(state.lease_remaining_seconds, remaining);
        }
        let journal = Journal::new(&self.machine.state_dir(), "boot").load().unwrap();
        let lent: Vec<_> =
            alive().filter(|(_, model)| model.due_ms.is_some()).map(|(i, _)| path(i)).collect();
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
        (0..NAMES.len()).for_each(|container| life.accept(container));
        // Whatever it was, one more crash and start leaves every container with its own limits.
        life.live(&Event::Crash);
        life.check();
    }
}
