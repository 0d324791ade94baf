//! The rails, one test each, and what holds whatever is proposed.

use std::{collections::BTreeMap, time::Duration};

use ballast_api::{
    Amounts, ContainerName, ContainerSource, ContainerState, Cores, Limit, Limits, PerResource, UnixNanos,
};
use proptest::prelude::*;

use super::*;

const NOW: UnixNanos = UnixNanos(1_000_000_000_000);

fn geo() -> ContainerName {
    ContainerName::new("geo").unwrap()
}

fn container(limit: f64) -> ContainerState {
    ContainerState {
        name: geo(),
        source: ContainerSource::Plain,
        labels: BTreeMap::new(),
        usage: Some(Amounts { cpu: Some(Cores::saturating(0.1)), ..Amounts::default() }),
        throttling: None,
        unmeasured: PerResource::default(),
        limits: Limits::of_cpu(Limit::At(Cores::saturating(limit))),
        baseline: Limits::of_cpu(Limit::At(Cores::saturating(limit))),
        missing: PerResource::default(),
        drift: PerResource::default(),
        sampled_at_unix_nanos: NOW,
        generation: 0,
        lease_remaining_seconds: None,
    }
}

fn situation(containers: &[ContainerState], violated: bool) -> Situation<'_> {
    Situation { now: NOW, containers, capacity: Cores::saturating(2.0), violated }
}

fn wants(cpu_cores: f64) -> Proposal {
    Proposal { container: geo(), cpu_cores, by: "test".to_owned() }
}

fn decide_once(containers: &[ContainerState], violated: bool, wanted: f64) -> Decision {
    let config = GuardConfig::default();
    decide(situation(containers, violated), &[wants(wanted)], &config, &mut History::default())
}

fn later(seconds: u64) -> UnixNanos {
    NOW.plus(Duration::from_secs(seconds))
}

#[test]
fn a_modest_growth_passes_unaltered() {
    let decision = decide_once(&[container(0.2)], true, 0.3);
    assert_eq!(decision.changes[0].after_cores, 0.3);
    assert_eq!(decision.changes[0].reasons, ["test proposed 0.300 cores"]);
}

#[test]
fn growth_and_shrink_are_bounded_in_one_step() {
    assert_eq!(decide_once(&[container(0.2)], true, 1.5).changes[0].after_cores, 0.4);
    let shrunk = &decide_once(&[container(0.2)], false, 0.06).changes[0];
    assert!((shrunk.after_cores - 0.18).abs() < 1e-12);
    assert!(shrunk.reasons[1].contains("10 %"), "{:?}", shrunk.reasons);
}

#[test]
fn the_ceiling_is_the_nodes_capacity() {
    let decision = decide_once(&[container(1.9)], true, 50.0);
    assert_eq!(decision.changes[0].after_cores, 2.0);
    assert!(decision.scale_out.is_empty(), "there was room left");
}

#[test]
fn at_the_ceiling_and_still_violated_more_replicas_are_asked_for() {
    let decision = decide_once(&[container(2.0)], true, 50.0);
    assert_eq!(decision.scale_out, [geo()]);
    assert!(decision.changes.is_empty());
}

#[test]
fn nothing_shrinks_on_missing_stale_or_undefined_data_or_in_trouble() {
    let mut blind = container(0.2);
    blind.usage = None;
    let mut stale = container(0.2);
    stale.sampled_at_unix_nanos = NOW.minus(Duration::from_secs(6));
    let mut ahead = container(0.2);
    ahead.sampled_at_unix_nanos = later(600);
    for (containers, violated, wanted, word) in [
        (vec![blind], false, 0.1, "usage is not known"),
        (vec![stale], false, 0.1, "6.0 s old"),
        (vec![ahead], false, 0.1, "dated 600.0 s ahead"),
        (vec![container(0.2)], true, 0.1, "violated"),
        (vec![container(0.2)], false, f64::NAN, "no limit"),
        (vec![], false, 0.1, "does not know"),
    ] {
        let decision = decide_once(&containers, violated, wanted);
        assert!(decision.changes.is_empty());
        assert!(decision.refusals[0].reason.contains(word), "{:?}", decision.refusals);
    }
}

#[test]
fn a_node_whose_clock_is_a_little_ahead_is_believed() {
    let mut state = container(0.2);
    state.sampled_at_unix_nanos = NOW.plus(Duration::from_millis(300));
    assert_eq!(decide_once(&[state], false, 0.19).changes.len(), 1);
}

#[test]
fn a_limit_that_grew_rests_before_it_shrinks() {
    let config = GuardConfig::default();
    let mut history = History::default();
    decide(situation(&[container(0.2)], true), &[wants(0.4)], &config, &mut history);
    let mut grown = container(0.4);
    for seconds in [1, 20, 30] {
        grown.sampled_at_unix_nanos = later(seconds);
        let containers = [grown.clone()];
        let now = Situation { now: later(seconds), ..situation(&containers, false) };
        assert!(decide(now, &[wants(0.3)], &config, &mut history).refusals[0].reason.contains("cool-down"));
    }
    grown.sampled_at_unix_nanos = later(31);
    let containers = [grown];
    let now = Situation { now: later(31), ..situation(&containers, false) };
    assert_eq!(decide(now, &[wants(0.3)], &config, &mut history).changes.len(), 1);
}

#[test]
fn a_shrink_that_hurts_is_given_back_whole_and_not_repeated() {
    let config = GuardConfig::default();
    let mut history = History::default();
    decide(situation(&[container(0.2)], false), &[wants(0.1)], &config, &mut history);
    let second = Situation { now: later(1), ..situation(&[], false) };
    let shrunk = [container(0.18)];
    decide(Situation { containers: &shrunk, ..second }, &[wants(0.1)], &config, &mut history);

    let twice_shrunk = [container(0.162)];
    let third = Situation { now: later(2), containers: &twice_shrunk, ..situation(&[], true) };
    let decision = decide(third, &[], &config, &mut history);
    assert_eq!(decision.changes[0].after_cores, 0.2, "the limit before the first shrink");
    assert!(decision.changes[0].reasons[0].contains("given back"));

    let mut back = container(0.2);
    back.sampled_at_unix_nanos = later(4);
    let fourth = Situation { now: later(4), containers: &[back], ..situation(&[], false) };
    assert!(decide(fourth, &[wants(0.1)], &config, &mut history).refusals[0].reason.contains("cool-down"));
}

#[test]
fn bad_bounds_are_all_told() {
    let bad = GuardConfig { min_cores: -1.0, max_growth: 0.5, max_shrink: 2.0, ..GuardConfig::default() };
    assert_eq!(bad.problems().len(), 3, "{:?}", bad.problems());
    assert!(GuardConfig::default().problems().is_empty());
}

proptest! {
    #[test]
    fn whatever_is_proposed_the_plan_keeps_its_bounds(
        limit in 0.01..3.0f64, wanted in proptest::num::f64::ANY, violated: bool, age in 0u64..20,
    ) {
        let mut state = container(limit);
        state.sampled_at_unix_nanos = NOW.minus(Duration::from_secs(age));
        let decision = decide_once(&[state], violated, wanted);
        for change in &decision.changes {
            let before = change.before_cores;
            prop_assert!(change.after_cores.is_finite() && change.after_cores > 0.0);
            prop_assert!(change.after_cores <= before * 2.0 + 1e-9);
            prop_assert!(change.after_cores >= before * 0.9 - 1e-9);
            prop_assert!(change.after_cores >= before || (!violated && age <= 5));
            prop_assert!(!change.reasons.is_empty());
        }
    }
}
