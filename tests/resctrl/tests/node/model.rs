//! Random plans, expiries and kills, beside a model that knows what each container was asked to have.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    scene::{FREE, LEASE, START, Scene, apply, bandwidth, caches, llc, named, state},
    support::{PEAK, allows, stage},
};

#[derive(Debug, Clone)]
enum Step {
    Plan(Vec<(usize, Option<f64>, Option<f64>)>),
    Restore(usize),
    Wait,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let share = || proptest::option::of(0.02f64..1.0);
    let change = (0usize..4, share(), share());
    let changes = proptest::collection::vec(change, 1..4).prop_map(Step::Plan);
    prop_oneof![6 => changes, 2 => (0usize..4).prop_map(Step::Restore), 1 => Just(Step::Wait), 1 => Just(Step::Kill)]
}

/// What a container was asked to have at least, as shares of what there is.
type Asked = BTreeMap<usize, (f64, f64)>;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const CACHE: f64 = 40.0 * 1_048_576.0;

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Four containers on a machine with three groups: whatever is planned, expires or is killed, who is lent something has
    /// at least that, what is told is in force, and who is not is free.
    #[test]
    fn limits_in_force_are_those_of_the_model(steps in proptest::collection::vec(step(), 1..14)) {
        let Some(stage) = stage("limits_in_force_are_those_of_the_model", "intel-cdp") else { return Ok(()) };
        let scene = Scene::new(&stage, &NAMES);
        let mut node = Some(scene.node());
        let mut asked = Asked::new();
        let mut now = START;
        for step in steps {
            match step {
                Step::Plan(changes) => {
                    let changes: BTreeMap<_, _> = changes.into_iter().map(|(at, c, b)| (at, (c, b))).collect();
                    let limits = |(cache, memory): &(Option<f64>, Option<f64>)| {
                        let cache = cache.map(|share| llc(CACHE * share)).unwrap_or_default();
                        cache.or(memory.map(|share| bandwidth(PEAK * share)).unwrap_or_default())
                    };
                    let changes: Vec<_> = changes.iter().filter(|(_, (c, b))| c.is_some() || b.is_some()).collect();
                    let wanted: Vec<_> = changes.iter().map(|(at, change)| (NAMES[**at], limits(change))).collect();
                    if wanted.is_empty() {
                        continue;
                    }
                    apply(node.as_mut().unwrap(), &wanted, now);
                    for (at, (cache, memory)) in changes {
                        let before = asked.get(at).copied().unwrap_or((1.0, 1.0));
                        asked.insert(*at, (cache.unwrap_or(before.0), memory.unwrap_or(before.1)));
                    }
                }
                Step::Restore(at) => {
                    node.as_mut().unwrap().restore(&named(NAMES[at]), now).unwrap();
                    asked.remove(&at);
                }
                Step::Wait => {
                    now += LEASE;
                    node.as_mut().unwrap().expire(now);
                    asked.clear();
                }
                Step::Kill => {
                    drop(node.take());
                    node = Some(scene.node());
                    now = START;
                    asked.clear();
                }
            }
            for (at, name) in NAMES.iter().enumerate() {
                let told = state(node.as_mut().unwrap(), name, now);
                prop_assert!(told.drift.iter().next().is_none(), "{:?}", told);
                prop_assert_eq!(caches(&told.limits) == FREE, !scene.is_limited(name), "{:?}", told);
                match asked.get(&at) {
                    None => prop_assert_eq!(caches(&told.limits), FREE),
                    Some((cache, memory)) => {
                        prop_assert!(allows(told.limits.llc, CACHE * cache), "{:?}", told);
                        prop_assert!(allows(told.limits.memory_bandwidth, PEAK * memory), "{:?}", told);
                    }
                }
            }
        }
        prop_assert!(node.unwrap().close(now).is_empty());
        prop_assert_eq!(stage.ours(), Vec::<String>::new());
    }
}
