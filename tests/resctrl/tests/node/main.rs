//! A node that lends caches and memory bandwidth: real cgroups and processes, over the emulator and over real hardware where
//! there is some.
//!
//! What a lender does with every resource is tested beside it: here is what only resctrl brings.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod model;
mod scene;
mod stopped;
#[path = "../support/mod.rs"]
mod support;
mod theirs;

use std::fs;

use ballast_api::{Bytes, BytesPerSecond, Capability, Cores, Limit, Limits, NodeError};
use ballast_env_server::{
    lender::Lender,
    machine::{Machine, Roots},
};
use ballast_kernel::resctrl::tasks::Procs;
use scene::{FREE, LEASE, START, Scene, apply, bandwidth, caches, llc, named, plan, state};
use support::{Process, allows, stage};

#[test]
fn caches_and_bandwidth_are_lent_and_taken_back() {
    for flavour in ["intel", "intel-cdp", "intel-mbps", "amd", "amd-cdp", "real"] {
        let Some(stage) = stage("caches_and_bandwidth_are_lent_and_taken_back", flavour) else { continue };
        let info = stage.node().info();
        let scene = Scene::new(&stage, &["geo", "rate"]);
        let mut node = scene.node();
        // Real hardware may have only one of both.
        let cache = if info.cache.is_ok() { llc(4e6) } else { Limits::default() };
        let memory = if info.bandwidth.is_ok() { bandwidth(20e9) } else { Limits::default() };
        let asked = cache.or(memory);
        let free = state(&mut node, "geo", START).limits.among(&asked);
        let applied = apply(&mut node, &[("geo", asked)], START).remove(0);
        assert_eq!(applied.before, free, "{flavour}");
        let (told_cache, told_memory) = (applied.applied.llc, applied.applied.memory_bandwidth);
        assert!(cache.llc.is_none() || allows(told_cache, 4e6) && told_cache != FREE.0, "{flavour}");
        assert!(
            memory.memory_bandwidth.is_none() || allows(told_memory, 20e9) && told_memory != FREE.1,
            "{flavour}"
        );
        let geo = state(&mut node, "geo", START);
        assert_eq!(caches(&geo.limits), caches(&applied.applied), "{flavour}: what is told is in force");
        assert_eq!((caches(&geo.baseline), geo.drift.iter().count()), (caches(&free), 0));
        assert!(scene.is_limited("geo") && !scene.is_limited("rate"));
        if info.cache.is_ok() {
            // The other one is left as it is.
            let changed = apply(&mut node, &[("geo", llc(8e6))], START).remove(0);
            assert!(changed.applied.memory_bandwidth.is_none());
            assert_eq!(state(&mut node, "geo", START).limits.memory_bandwidth, told_memory);
        }
        node.expire(LEASE);
        assert_eq!(caches(&state(&mut node, "geo", LEASE).limits), caches(&free));
        assert!(!scene.is_limited("geo") && stage.ours().is_empty(), "{flavour}: {:?}", stage.ours());
    }
}

#[test]
fn what_a_machine_cannot_limit_is_said_and_the_rest_goes_on() {
    let Some(stage) = stage("what_a_machine_cannot_limit_is_said_and_the_rest_goes_on", "haswell") else {
        return;
    };
    let scene = Scene::new(&stage, &["geo"]);
    let machine = Machine::new(scene.tree.hierarchy().clone(), Roots::default(), Cores::new(2.0).unwrap());
    let told = machine.clone().with_resctrl(&stage.mount, None).capabilities();
    let Some(Capability::Available { mechanism }) = told.llc else { panic!("{told:?}") };
    assert_eq!(mechanism, "resctrl L3: 20 ways, at least 2 for a container; 3 groups");
    let Some(Capability::Unavailable { reason }) = told.memory_bandwidth else { panic!("no bandwidth") };
    assert!(reason.contains("info/MB"), "{reason}");
    let Some(Capability::Unavailable { reason }) = machine.capabilities().llc else { panic!("not tried") };
    assert!(!reason.is_empty());
    let mut node = scene.node();
    let refused = node.apply(&plan(&[("geo", llc(4e6).or(bandwidth(1e9)))]), START).unwrap_err();
    let NodeError::Invalid { problems } = refused else { panic!("{refused}") };
    assert!(problems.len() == 1 && problems[0].contains("info/MB"), "{problems:?}");
    let too_much = node.apply(&plan(&[("geo", llc(1e12))]), START).unwrap_err();
    assert!(too_much.to_string().contains("more than the node has"), "{too_much}");
    apply(&mut node, &[("geo", llc(4e6).or(Limits::of_cpu(Limit::At(Cores::new(0.5).unwrap()))))], START);
    assert!(node.close(START).is_empty());
}

#[test]
fn a_second_cache_that_is_left_whole_is_told() {
    for (flavour, ending) in
        [("intel-both", "7 groups; the L2 is left whole"), ("intel-cdpl2", "3 groups; the L2 is left whole")]
    {
        let Some(stage) = stage("a_second_cache_that_is_left_whole_is_told", flavour) else { return };
        let scene = Scene::new(&stage, &[]);
        let machine =
            Machine::new(scene.tree.hierarchy().clone(), Roots::default(), Cores::new(2.0).unwrap());
        let told = machine.with_resctrl(&stage.mount, None).capabilities();
        let Some(Capability::Available { mechanism }) = told.llc else { panic!("{told:?}") };
        assert!(mechanism.starts_with("resctrl L3: ") && mechanism.ends_with(ending), "{mechanism}");
    }
}

#[test]
fn memory_bandwidth_is_given_back_also_without_a_peak() {
    let Some(stage) = stage("memory_bandwidth_is_given_back_also_without_a_peak", "intel") else { return };
    let scene = Scene::new(&stage, &["geo"]);
    let mut node = scene.node();
    apply(&mut node, &[("geo", llc(4e6).or(bandwidth(20e9)))], START);
    drop(node);
    // As `ballast-env-server restore` does, which is told no peak.
    let node = scene.node_with(None);
    assert_eq!((node.loans(), scene.journal().load().unwrap().len()), (0, 0));
    assert!(!scene.is_limited("geo") && stage.ours().is_empty());
}

#[test]
fn what_cannot_be_taken_over_is_not_given_back_until_it_can() {
    let Some(stage) = stage("what_cannot_be_taken_over_is_not_given_back_until_it_can", "intel") else {
        return;
    };
    let scene = Scene::new(&stage, &["geo", "rate"]);
    let mut node = scene.node();
    apply(
        &mut node,
        &[("geo", llc(4e6)), ("rate", Limits::of_cpu(Limit::At(Cores::new(0.5).unwrap())))],
        START,
    );
    drop(node);
    let other = fs::File::open(stage.mount.point.join("info")).unwrap();
    other.lock().unwrap();
    let mut node = scene.node();
    assert_eq!(node.loans(), 1, "the CPU's is restored");
    assert!(scene.is_limited("geo"), "and who says that it is restored would be wrong");
    drop(other);
    node.expire(LEASE);
    assert_eq!((node.loans(), scene.journal().load().unwrap().len()), (0, 0));
    assert!(!scene.is_limited("geo") && stage.ours().is_empty());
}

#[test]
fn a_plan_that_fails_leaves_everybody_the_need_that_was_its_own() {
    let Some(stage) = stage("a_plan_that_fails_leaves_everybody_the_need_that_was_its_own", "haswell") else {
        return;
    };
    let scene = Scene::new(&stage, &["a", "b", "d"]);
    // Which leaves two.
    let theirs = stage.foreign("group");
    let mut node = scene.node();
    let asked = |share: f64| llc(20e6 * share);
    apply(&mut node, &[("a", asked(0.1)), ("b", asked(0.3))], START);
    let alone = state(&mut node, "b", START).limits.llc;
    apply(&mut node, &[("d", asked(0.4))], START);
    assert_ne!(state(&mut node, "b", START).limits.llc, alone, "it shares a group with d");
    theirs.0.take(&Procs::new("/proc".into()), &*scene.processes["a"].family()).unwrap();
    node.apply(&plan(&[("b", asked(0.35)), ("a", asked(0.2))]), START).unwrap_err();
    node.restore(&named("d"), START).unwrap();
    assert_eq!(state(&mut node, "b", START).limits.llc, alone);
    assert!(node.close(START).is_empty());
}

#[test]
fn containers_that_share_a_group_are_told_and_it_is_no_drift() {
    let Some(stage) = stage("containers_that_share_a_group_are_told_and_it_is_no_drift", "haswell") else {
        return;
    };
    let names = ["a", "b", "c", "d"];
    let scene = Scene::new(&stage, &names);
    let mut node = scene.node();
    let asked = |share: f64| llc(20e6 * share);
    let three = [("a", asked(0.2)), ("b", asked(0.3)), ("c", asked(0.6))];
    assert!(apply(&mut node, &three, START).iter().all(|applied| applied.shared_with.is_empty()));
    let applied = apply(&mut node, &[("d", asked(0.35))], START).remove(0);
    assert_eq!(applied.shared_with, [named("b")], "whose need is nearest");
    assert!(allows(applied.applied.llc, 7e6));
    (0..2).for_each(|_| node.sample());
    assert!(state(&mut node, "b", START).unmeasured.llc.unwrap().contains("shares"));
    // The group grew for b too, which is nobody else's doing.
    let b = state(&mut node, "b", START);
    assert!(allows(b.limits.llc, 7e6) && b.drift.iter().next().is_none(), "{b:?}");
    node.restore(&named("d"), START).unwrap();
    let b = state(&mut node, "b", START);
    assert!(!allows(b.limits.llc, 7e6) && allows(b.limits.llc, 6e6), "{b:?}");
    assert!(b.drift.iter().next().is_none());
    assert_eq!(node.loans(), 3);
    assert!(node.close(START).is_empty());
    assert!(names.iter().all(|name| !scene.is_limited(name)));
}

#[test]
fn a_restart_after_a_kill_frees_everybody() {
    let Some(stage) = stage("a_restart_after_a_kill_frees_everybody", "amd") else { return };
    let scene = Scene::new(&stage, &["geo", "rate"]);
    let mut node = scene.node();
    apply(&mut node, &[("geo", llc(4e6)), ("rate", bandwidth(8e9))], START);
    assert_eq!(stage.ours().len(), 2);
    drop(node);
    assert_eq!(stage.ours().len(), 2, "nobody was there to clean up");
    let mut node = scene.node();
    assert!(stage.ours().is_empty() && node.loans() == 0);
    for name in ["geo", "rate"] {
        assert_eq!(caches(&state(&mut node, name, START).limits), FREE);
        assert!(!scene.is_limited(name));
    }
}

#[test]
fn a_container_that_is_gone_frees_its_group_and_late_tasks_are_fetched() {
    let Some(stage) = stage("a_container_that_is_gone_frees_its_group_and_late_tasks_are_fetched", "intel")
    else {
        return;
    };
    let mut scene = Scene::new(&stage, &["geo", "rate"]);
    let mut node = scene.node();
    apply(&mut node, &[("geo", llc(4e6)), ("rate", llc(4e6))], START);
    let late = Process::idle();
    let rate = scene.tree.find(&format!("{}/rate", scene.parent.path())).unwrap().unwrap();
    rate.attach(late.id()).unwrap();
    assert!(stage.group_of(late.id()).is_none());
    (0..6).for_each(|_| node.sample());
    assert_eq!(stage.group_of(late.id()), stage.group_of(scene.processes["rate"].id()));
    scene.remove("geo");
    scene.add("geo");
    assert_eq!(caches(&state(&mut node, "geo", START).limits), FREE, "a new one has its own limits");
    assert!(stage.ours().len() == 1 && !scene.is_limited("geo"));
    drop(late);
    assert!(node.close(START).is_empty());
}

#[test]
fn a_container_that_went_unseen_frees_its_group_at_the_end_of_its_lease() {
    let test = "a_container_that_went_unseen_frees_its_group_at_the_end_of_its_lease";
    let Some(stage) = stage(test, "intel") else { return };
    type End = fn(&mut Lender);
    let ends: [End; 2] = [|node| node.expire(LEASE), |node| assert!(node.close(START).is_empty())];
    for end in ends {
        let mut scene = Scene::new(&stage, &["geo"]);
        let mut node = scene.node();
        apply(&mut node, &[("geo", llc(4e6))], START);
        scene.remove("geo");
        scene.add("geo");
        end(&mut node);
        assert!(stage.ours().is_empty() && node.loans() == 0);
    }
}

#[test]
fn what_a_limited_container_uses_is_measured() {
    let Some(stage) = stage("what_a_limited_container_uses_is_measured", "intel") else { return };
    let scene = Scene::new(&stage, &["geo"]);
    let mut node = scene.node();
    let usage = |node: &mut Lender| state(node, "geo", START).usage;
    apply(&mut node, &[("geo", llc(4e6))], START);
    let emulated = stage.emulated.as_ref().unwrap();
    node.sample();
    emulated.set("ballast-0 0 llc_occupancy 1000000");
    emulated.set("ballast-0 1 llc_occupancy 500000");
    node.sample();
    let used = usage(&mut node).unwrap();
    assert_eq!(used.llc, Some(Bytes::new(1.5e6).unwrap()));
    assert_eq!(used.memory_bandwidth, Some(BytesPerSecond::ZERO));
    assert_eq!(used.memory_bandwidth_local, Some(BytesPerSecond::ZERO));
    assert_eq!(state(&mut node, "geo", START).unmeasured.iter().count(), 0);
    emulated.set("ballast-0 1 mbm_total_bytes Unavailable");
    node.sample();
    let used = usage(&mut node).unwrap();
    assert!(used.llc.is_some() && used.memory_bandwidth.is_none(), "absent, never zero");
    assert!(used.memory_bandwidth_local.is_some());
    let reasons = state(&mut node, "geo", START).unmeasured;
    assert!(reasons.memory_bandwidth.unwrap().contains("Unavailable") && reasons.llc.is_none());
    assert!(node.close(START).is_empty());
}
