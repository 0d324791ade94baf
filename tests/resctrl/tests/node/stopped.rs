//! A machine that stops anywhere in what is done to resctrl, and once more anywhere in the start after that: the next start
//! finds everything as it was before Ballast came.

use ballast_env_server::lender::Lender;

use crate::{
    scene::{FREE, LEASE, START, Scene, bandwidth, caches, llc, named, plan, state},
    support::{Stage, stage},
};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What is done before, and what is stopped.
type Act = (&'static str, fn(&mut Lender), fn(&mut Lender));

const ACTS: [Act; 4] = [
    ("a first plan", |_| {}, first),
    ("another plan", first, second),
    ("a restoration", first, |node| NAMES.iter().for_each(|name| drop(node.restore(&named(name), START)))),
    ("the end of a lease", first, |node| node.expire(LEASE)),
];

/// Three needs for two groups.
fn first(node: &mut Lender) {
    let changes = [("a", llc(4e6)), ("b", llc(6e6)), ("c", llc(20e6).or(bandwidth(50e9)))];
    drop(node.apply(&plan(&changes), START));
}

/// Others are the nearest now.
fn second(node: &mut Lender) {
    drop(node.apply(&plan(&[("a", llc(4e6)), ("b", llc(24e6)), ("c", llc(22e6))]), START));
}

#[test]
fn wherever_it_is_stopped_the_next_start_frees_everybody() {
    let Some(stage) = stage("wherever_it_is_stopped_the_next_start_frees_everybody", "intel-cdp") else {
        return;
    };
    let _theirs = stage.foreign("group");
    let scene = Scene::new(&stage, &NAMES);
    let before = limits(&stage);
    for (what, prepare, act) in ACTS {
        let mut points = 0;
        for changes in 0.. {
            let (stopped, starts) = stop(&scene, &stage, changes, prepare, act, &before);
            points += starts;
            if !stopped {
                break;
            }
        }
        eprintln!("{what}: stopped at {points} points");
        assert!(points > 1, "{what} changes something");
    }
}

#[test]
fn what_a_failed_plan_could_not_undo_is_undone_with_the_next_sample() {
    let test = "what_a_failed_plan_could_not_undo_is_undone_with_the_next_sample";
    let Some(stage) = stage(test, "intel-cdp") else { return };
    let (scene, emulated) = (Scene::new(&stage, &NAMES), stage.emulated.as_ref().unwrap());
    for changes in 0.. {
        let mut node = scene.node();
        emulated.freeze_after(changes);
        first(&mut node);
        if !emulated.thaw() {
            break;
        }
        assert_eq!((node.loans(), scene.journal().load().unwrap().len()), (0, 0), "{changes}");
        node.sample();
        assert!(stage.ours().is_empty(), "{changes}: {:?}", stage.ours());
        assert!(NAMES.iter().all(|name| !scene.is_limited(name)), "{changes}");
    }
}

/// Stops after so many changes, and the next start after every number of changes. Answers whether there was anything to stop,
/// and how many starts were stopped.
fn stop(
    scene: &Scene<'_>,
    stage: &Stage,
    changes: u32,
    prepare: fn(&mut Lender),
    act: fn(&mut Lender),
    before: &[String],
) -> (bool, u32) {
    let emulated = stage.emulated.as_ref().unwrap();
    for changes_of_start in 0.. {
        let mut node = scene.node();
        prepare(&mut node);
        emulated.freeze_after(changes);
        act(&mut node);
        drop(node);
        let stopped = emulated.thaw();
        emulated.freeze_after(changes_of_start);
        drop(scene.node());
        let start_stopped = emulated.thaw();
        let mut node = scene.node();
        assert_eq!(
            (node.loans(), scene.journal().load().unwrap().len()),
            (0, 0),
            "{changes} {changes_of_start}"
        );
        for name in NAMES {
            assert!(!scene.is_limited(name), "{changes} {changes_of_start}: {name}");
            assert_eq!(caches(&state(&mut node, name, START).limits), FREE);
        }
        assert_eq!(limits(stage), before, "{changes} {changes_of_start}");
        if !start_stopped {
            return (stopped, changes_of_start + 1);
        }
    }
    (false, 0)
}

/// Every group there is with its limits.
fn limits(stage: &Stage) -> Vec<String> {
    let mut limits = vec![stage.groups().root().schemata().unwrap().to_string()];
    for name in stage.groups().names().unwrap() {
        let schemata = std::fs::read_to_string(stage.mount.point.join(&name).join("schemata")).unwrap();
        limits.push(format!("{name}\n{schemata}"));
    }
    limits
}
