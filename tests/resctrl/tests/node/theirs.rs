//! What somebody else does to resctrl while containers are limited: seen, told, and left to them.

use std::{fs, time::Duration};

use ballast_api::{Cores, Limit, Limits, NodeError};
use ballast_kernel::resctrl::tasks::Procs;

use crate::{
    scene::{FREE, LEASE, START, Scene, apply, bandwidth, caches, llc, named, plan, state},
    support::stage,
};

#[test]
fn a_group_that_somebody_changed_is_left_alone_until_its_lease_ends() {
    let Some(stage) = stage("a_group_that_somebody_changed_is_left_alone_until_its_lease_ends", "intel")
    else {
        return;
    };
    let scene = Scene::new(&stage, &["geo", "rate"]);
    let mut node = scene.node();
    apply(&mut node, &[("geo", llc(4e6))], START);
    let file = stage.mount.point.join("ballast-0/schemata");
    fs::write(&file, "L3:0=7f;1=7f\n").unwrap();
    let theirs = fs::read_to_string(&file).unwrap();
    let geo = state(&mut node, "geo", START);
    assert!(geo.drift.llc.as_ref().unwrap().contains("somebody else"), "{:?}", geo.drift);
    assert!(geo.drift.memory_bandwidth.is_some(), "a plan for it would write the cache too");
    // Neither a plan for it nor one for another container writes over it.
    let applied = apply(&mut node, &[("geo", llc(2e6)), ("rate", llc(6e6))], START);
    assert_eq!(applied[0].applied.llc, geo.limits.llc);
    assert_eq!(fs::read_to_string(&file).unwrap(), theirs);
    assert!(scene.is_limited("rate"));
    // Once: it is told, and not again each second.
    assert_eq!(state(&mut node, "geo", START).drift, geo.drift);
    node.expire(LEASE);
    assert!(stage.ours().is_empty() && !scene.is_limited("geo"), "the group was Ballast's own");
}

#[test]
fn a_change_of_one_domain_or_of_code_alone_is_seen_and_not_written_over() {
    let cases =
        [("intel", "MB:0=10", Some(30e9)), ("intel-cdp", "L3CODE:0=1", None), ("amd", "MB:9=1", None)];
    for (flavour, line, found) in cases {
        let test = "a_change_of_one_domain_or_of_code_alone_is_seen_and_not_written_over";
        let Some(stage) = stage(test, flavour) else { return };
        let scene = Scene::new(&stage, &["geo", "rate"]);
        let mut node = scene.node();
        apply(&mut node, &[("geo", llc(6e6).or(bandwidth(50e9)))], START);
        let before = state(&mut node, "geo", START).limits;
        let file = stage.mount.point.join("ballast-0/schemata");
        fs::write(&file, format!("{line}\n")).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let geo = state(&mut node, "geo", START);
        assert!(
            geo.drift.llc.is_some() && geo.drift.memory_bandwidth.is_some(),
            "{flavour}: {:?}",
            geo.drift
        );
        assert_ne!(caches(&geo.limits), caches(&before), "{flavour}: what is left of it");
        if let Some(found) = found {
            assert_eq!(geo.limits.memory_bandwidth, bandwidth(found).memory_bandwidth);
        }
        apply(&mut node, &[("geo", bandwidth(60e9)), ("rate", llc(8e6))], START);
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "{flavour}");
        // The same once more is another change, as soon as the first is over.
        let later = START + Duration::from_secs(61);
        apply(&mut node, &[("geo", bandwidth(60e9))], later);
        assert_eq!(state(&mut node, "geo", later).drift.iter().count(), 0);
        fs::write(&file, format!("{line}\n")).unwrap();
        assert_eq!(state(&mut node, "geo", later).drift.iter().count(), 2, "{flavour}");
        assert!(node.close(later).is_empty() && stage.ours().is_empty());
    }
}

#[test]
fn who_leaves_a_group_that_somebody_changed_changes_nothing_about_it() {
    let Some(stage) = stage("who_leaves_a_group_that_somebody_changed_changes_nothing_about_it", "haswell")
    else {
        return;
    };
    let scene = Scene::new(&stage, &["a", "b", "c", "d"]);
    let mut node = scene.node();
    let asked = |share: f64| llc(20e6 * share);
    apply(&mut node, &[("a", asked(0.1)), ("b", asked(0.3)), ("c", asked(0.8)), ("d", asked(0.3))], START);
    let file = scene.group_of("b").unwrap().folder().join("schemata");
    assert_eq!(scene.group_of("b"), scene.group_of("d"));
    fs::write(&file, "L3:0=7f\n").unwrap();
    let drift = |node: &mut _| ["b", "d"].map(|name| state(node, name, START).drift.llc);
    let before = drift(&mut node);
    assert!(before.iter().all(Option::is_some), "{before:?}");
    node.restore(&named("d"), START).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), "L3:0=0007f");
    assert_eq!(drift(&mut node), [before[0].clone(), None]);
    assert!(!scene.is_limited("d") && node.close(START).is_empty());
}

#[test]
fn a_group_that_somebody_removed_is_lost_to_its_container_only() {
    let Some(stage) = stage("a_group_that_somebody_removed_is_lost_to_its_container_only", "intel") else {
        return;
    };
    let scene = Scene::new(&stage, &["geo", "rate"]);
    let mut node = scene.node();
    apply(&mut node, &[("geo", llc(4e6)), ("rate", llc(4e6))], START);
    let remove = |name| fs::remove_dir(scene.group_of(name).unwrap().folder()).unwrap();
    remove("geo");
    let cpu = Limits::of_cpu(Limit::At(Cores::new(0.5).unwrap()));
    apply(&mut node, &[("rate", llc(6e6).or(cpu))], START);
    let geo = state(&mut node, "geo", START);
    assert!(caches(&geo.limits) == FREE && !scene.is_limited("geo"), "{geo:?}");
    assert!(geo.drift.llc.unwrap().contains("somebody else"));
    let rate = state(&mut node, "rate", START);
    assert!(scene.is_limited("rate") && rate.drift.iter().count() == 0);
    (0..6).for_each(|_| node.sample());
    assert!(!scene.is_limited("geo"), "it is left to them");
    // Once the pause is over it can be limited again, and a lost group is as good as one given back.
    let later = START + Duration::from_secs(61);
    apply(&mut node, &[("geo", llc(4e6))], later);
    assert!(scene.is_limited("geo"));
    remove("geo");
    node.restore(&named("geo"), later).unwrap();
    remove("rate");
    assert!(node.close(later).is_empty() && stage.ours().is_empty());
}

#[test]
fn a_container_in_somebody_elses_group_says_so() {
    let Some(stage) = stage("a_container_in_somebody_elses_group_says_so", "intel") else { return };
    let scene = Scene::new(&stage, &["geo", "rate"]);
    let theirs = stage.foreign("group");
    let procs = Procs::new("/proc".into());
    theirs.0.take(&procs, &*scene.processes["geo"].family()).unwrap();
    let mut node = scene.node();
    let reason = state(&mut node, "geo", START).missing.llc.unwrap();
    assert!(reason.contains("somebody else"), "{reason}");
    let changes = [("rate", llc(4e6)), ("geo", llc(4e6))];
    assert!(matches!(node.apply(&plan(&changes), START), Err(NodeError::Invalid { .. })));
    assert!(!scene.is_limited("rate"), "all or nothing");
    // Later than the look: found out when it is written, and undone.
    apply(&mut node, &[("rate", llc(4e6))], START);
    theirs.0.take(&procs, &*scene.processes["rate"].family()).unwrap();
    let error = node.apply(&plan(&[("rate", llc(6e6))]), START).unwrap_err();
    assert!(error.to_string().contains("somebody else"), "{error}");
    (0..6).for_each(|_| node.sample());
    let drift = state(&mut node, "rate", START).drift;
    assert!(drift.llc.unwrap().contains("somebody else") && drift.memory_bandwidth.is_some());
    node.close(START);
    assert_eq!(stage.group_of(scene.processes["rate"].id()), Some(theirs.0.clone()), "where they put it");
}
