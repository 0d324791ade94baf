//! Random plans, expiries, kills, and what others do meanwhile, beside a model that knows what each container needs.

use std::{collections::BTreeMap, fs};

use ballast_api::{Limit, Limits, Plan};
use ballast_env_server::lender::Lender;
use ballast_kernel::resctrl::{Group, schemata::Values};
use proptest::prelude::*;

use crate::{
    scene::{FREE, LEASE, START, Scene, apply, bandwidth, caches, llc, named, plan, state},
    support::{Foreign, PEAK, Stage, cache_bytes, stage},
};

#[derive(Debug, Clone)]
enum Step {
    Plan(Vec<(usize, Option<f64>, Option<f64>)>),
    Restore(usize),
    Wait,
    Kill,
    /// A container is gone, and another one comes in its place.
    Vanish(usize),
    /// Somebody changes the limits of a container's group.
    Disturb(usize),
    /// Somebody removes a container's group.
    Remove(usize),
    /// Somebody makes a group, or removes it.
    Take,
    Give,
}

fn step() -> impl Strategy<Value = Step> {
    let share = || proptest::option::of(0.02f64..1.0);
    let change = (0usize..4, share(), share());
    let changes = proptest::collection::vec(change, 1..4).prop_map(Step::Plan);
    prop_oneof![
        8 => changes,
        2 => (0usize..4).prop_map(Step::Restore),
        1 => Just(Step::Wait),
        1 => Just(Step::Kill),
        1 => (0usize..4).prop_map(Step::Vanish),
        1 => (0usize..4).prop_map(Step::Disturb),
        1 => (0usize..4).prop_map(Step::Remove),
        1 => Just(Step::Take),
        1 => Just(Step::Give),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const FLAVOURS: [&str; 6] = ["intel-cdp", "haswell", "intel-l2", "intel-mbps", "amd-cdp", "intel-cdpl2"];

/// What each container needs that has a limit: what it was lent, after the hardware's rounding.
type Needs = BTreeMap<usize, Limits>;

struct Play<'a> {
    stage: &'a Stage,
    scene: Scene<'a>,
    node: Option<Lender>,
    now: std::time::Duration,
    cache: f64,
    has_bandwidth: bool,
    groups: usize,
    needs: Needs,
    theirs: Vec<Foreign>,
}

impl<'a> Play<'a> {
    fn new(stage: &'a Stage) -> Self {
        let (cache, info) = {
            let node = stage.node();
            (cache_bytes(stage, &node).unwrap(), node.info())
        };
        let scene = Scene::new(stage, &NAMES);
        let (node, groups) = (Some(scene.node()), usize::try_from(info.groups()).unwrap());
        let has_bandwidth = info.bandwidth.is_ok();
        let (now, needs, theirs) = (START, Needs::new(), Vec::new());
        Self { stage, scene, node, now, cache, has_bandwidth, groups, needs, theirs }
    }

    fn node(&mut self) -> &mut Lender {
        self.node.as_mut().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Plan(changes) => self.plan(changes),
            Step::Restore(at) => self.restore(at),
            Step::Wait => {
                self.now += LEASE;
                let now = self.now;
                self.node().expire(now);
                self.needs.clear();
            }
            Step::Kill => {
                drop(self.node.take());
                (self.node, self.now) = (Some(self.scene.node()), START);
                self.needs.clear();
            }
            Step::Vanish(at) => {
                self.scene.remove(NAMES[at]);
                self.scene.add(NAMES[at]);
                self.needs.remove(&at);
            }
            Step::Disturb(at) => self.interfere(at, disturb),
            Step::Remove(at) => self.interfere(at, |group| fs::remove_dir(group.folder()).unwrap()),
            // One is left to Ballast, whose own groups nobody can take.
            Step::Take if self.stage.groups().names().unwrap().len() < self.groups => {
                if self.theirs.len() + 1 < self.groups {
                    self.theirs.push(self.stage.foreign(&self.theirs.len().to_string()));
                }
            }
            Step::Take => {}
            Step::Give => drop(self.theirs.pop()),
        }
    }

    fn plan(&mut self, changes: Vec<(usize, Option<f64>, Option<f64>)>) {
        let limits = |(at, cache, memory): (usize, Option<f64>, Option<f64>)| {
            let cache = cache.map(|share| llc(self.cache * share)).unwrap_or_default();
            let memory = memory.filter(|_| self.has_bandwidth).map(|share| bandwidth(PEAK * share));
            (at, cache.or(memory.unwrap_or_default()))
        };
        let asked: Needs =
            changes.into_iter().map(limits).filter(|(_, asked)| *asked != Limits::default()).collect();
        let changes: Vec<_> = asked.iter().map(|(at, asked)| (NAMES[*at], *asked)).collect();
        if changes.is_empty() {
            return;
        }
        let now = self.now;
        // What each would get alone, as the node itself says.
        let dry = Plan { dry_run: true, ..plan(&changes) };
        let alone = self.node().apply(&dry, now).unwrap().applied;
        apply(self.node(), &changes, now);
        for (at, alone) in asked.keys().zip(alone) {
            let need = alone.applied.or(self.needs.remove(at).unwrap_or_default());
            let is_limit =
                |limits: &Limits| [limits.llc == FREE.0, limits.memory_bandwidth == FREE.1] != [true; 2];
            let need = need.or(Limits { llc: FREE.0, memory_bandwidth: FREE.1, ..Limits::default() });
            if is_limit(&need) {
                self.needs.insert(*at, need);
            }
        }
        if self.needs.len() + self.theirs.len() <= self.groups {
            assert!(self.needs.keys().all(|at| self.sharing(*at).len() == 1), "nobody shares without need");
        }
    }

    fn restore(&mut self, at: usize) {
        let now = self.now;
        self.node().restore(&named(NAMES[at]), now).unwrap();
        self.needs.remove(&at);
    }

    /// Lets somebody do something to the group of a container, sees it told for all who are in there, and gives it up.
    fn interfere(&mut self, at: usize, act: impl Fn(&Group)) {
        let Some(group) = self.scene.group_of(NAMES[at]) else { return };
        let members = self.sharing(at);
        act(&group);
        let text = || fs::read_to_string(group.folder().join("schemata")).ok();
        let (theirs, now) = (text(), self.now);
        for member in &members {
            let told = state(self.node(), NAMES[*member], now);
            assert!(told.drift.llc.is_some(), "{told:?}");
            assert_eq!(told.drift.memory_bandwidth.is_some(), self.has_bandwidth);
        }
        for (left, member) in members.iter().enumerate() {
            assert!(left == 0 || text() == theirs, "who leaves changes nothing");
            self.restore(*member);
        }
    }

    /// Who is in the group of a container.
    fn sharing(&self, at: usize) -> Vec<usize> {
        let group = self.scene.group_of(NAMES[at]);
        (0..NAMES.len()).filter(|other| self.scene.group_of(NAMES[*other]) == group).collect()
    }

    fn check(&mut self) {
        for (at, name) in NAMES.iter().enumerate() {
            let now = self.now;
            let told = state(self.node(), name, now);
            assert!(told.drift.iter().next().is_none(), "{told:?}");
            assert_eq!(self.scene.is_limited(name), self.needs.contains_key(&at), "{told:?}");
            let expected = if self.needs.contains_key(&at) {
                self.sharing(at).iter().map(|member| self.needs[member]).reduce(join).unwrap()
            } else {
                Limits { llc: FREE.0, memory_bandwidth: FREE.1, ..Limits::default() }
            };
            assert_eq!(told.limits.llc, expected.llc, "{told:?}");
            let memory = expected.memory_bandwidth.filter(|_| self.has_bandwidth);
            assert_eq!(told.limits.memory_bandwidth, memory, "{told:?}");
            assert!(caches(&told.baseline).0 == FREE.0);
        }
    }
}

/// Gives the first domain of the group's last cache line another mask.
fn disturb(group: &Group) {
    let schemata = group.schemata().unwrap();
    let mut lines =
        ["L2", "L3", "L3CODE", "L3DATA"].into_iter().filter_map(|line| Some((line, schemata.get(line)?)));
    let Some((line, Values::Masks(masks))) = lines.next_back() else { panic!("{schemata}") };
    let (domain, mask) = masks.first_key_value().unwrap();
    let other = [0xf, 0x3f].into_iter().find(|other| other != mask).unwrap();
    fs::write(group.folder().join("schemata"), format!("{line}:{domain}={other:x}\n")).unwrap();
}

/// Enough for both.
fn join(left: Limits, right: Limits) -> Limits {
    fn larger<U: Copy + PartialOrd>(left: Option<Limit<U>>, right: Option<Limit<U>>) -> Option<Limit<U>> {
        match (left?, right?) {
            (Limit::At(left), Limit::At(right)) => Some(Limit::At(if left > right { left } else { right })),
            _ => Some(Limit::Max),
        }
    }
    Limits {
        llc: larger(left.llc, right.llc),
        memory_bandwidth: larger(left.memory_bandwidth, right.memory_bandwidth),
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Four containers on a machine with few groups: whatever is planned, expires, is killed or done by others, who is lent
    /// something has exactly what it and those who share its group need, what is told is in force, and who is not is free.
    #[test]
    fn limits_in_force_are_those_of_the_model(
        flavour in proptest::sample::select(FLAVOURS.to_vec()),
        steps in proptest::collection::vec(step(), 1..14),
    ) {
        let Some(stage) = stage("limits_in_force_are_those_of_the_model", flavour) else { return Ok(()) };
        let mut play = Play::new(&stage);
        for step in steps {
            play.step(step);
            play.check();
        }
        let now = play.now;
        prop_assert!(play.node().close(now).is_empty());
        prop_assert_eq!(stage.ours(), Vec::<String>::new());
    }
}
