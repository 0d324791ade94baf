//! The simulator as a node: the answers of an env-server, and leases in simulated time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ballast_api::{
    Capability, CgroupVersion, Cores, Limit, LimitChange, Limits, NodeAgent, NodeError, Plan, Resource,
};
use ballast_sim::{SimulatedNode, Simulation};

use crate::support::{hotel, name};

fn node() -> (Arc<Mutex<Simulation>>, SimulatedNode) {
    let simulation = Arc::new(Mutex::new(hotel(1)));
    (Arc::clone(&simulation), SimulatedNode::new(simulation))
}

fn cores(cores: f64) -> Limits {
    Limits::of_cpu(Limit::At(Cores::new(cores).unwrap()))
}

fn plan(generation: u64, lease_seconds: f64, changes: &[(&str, Limits)]) -> Plan {
    let changes =
        changes.iter().map(|(container, limits)| LimitChange { container: name(container), limits: *limits });
    Plan { generation, lease_seconds, dry_run: false, changes: changes.collect() }
}

fn pass(simulation: &Mutex<Simulation>, seconds: f64) {
    simulation.lock().unwrap().advance(Duration::from_secs_f64(seconds));
}

async fn geo(node: &SimulatedNode) -> ballast_api::ContainerState {
    node.containers().await.unwrap().into_iter().find(|state| state.name.as_str() == "geo").unwrap()
}

#[tokio::test]
async fn only_the_cpu_is_available_and_the_others_say_why() {
    let info = node().1.node().await.unwrap();
    assert_eq!((info.cgroup_version, info.capacity.cpu), (CgroupVersion::Simulated, Cores::new(2.0).ok()));
    for resource in Resource::ALL {
        match info.capabilities.get(resource).unwrap() {
            Capability::Available { .. } => assert_eq!(resource, Resource::Cpu),
            Capability::Unavailable { reason } => assert!(reason.contains(&resource.to_string()), "{reason}"),
        }
    }
}

#[tokio::test]
async fn rates_appear_after_the_second_sample() {
    let (simulation, node) = node();
    assert_eq!((geo(&node).await.usage, geo(&node).await.throttling), (None, None));
    pass(&simulation, 0.9);
    assert_eq!(geo(&node).await.usage, None);
    pass(&simulation, 0.1);
    let state = geo(&node).await;
    assert_eq!(state.sampled_at_unix_nanos, simulation.lock().unwrap().now());
    let usage = state.usage.unwrap().cpu.unwrap().get();
    assert!((0.01..0.12).contains(&usage), "{usage}");
    assert_eq!((state.limits, state.baseline, state.generation), (cores(0.2), cores(0.2), 0));
    let states = node.containers().await.unwrap();
    assert!(states.is_sorted_by(|a, b| a.name < b.name) && states.len() == 11);
}

#[tokio::test]
async fn limits_are_lent_rounded_renewed_and_given_back() {
    let (simulation, node) = node();
    let outcome = node.apply(&plan(3, 10.0, &[("geo", cores(0.123_456_7))])).await.unwrap();
    assert_eq!(
        (outcome.applied[0].before, outcome.applied[0].applied, outcome.applied[0].requested),
        (cores(0.2), cores(0.12346), cores(0.123_456_7))
    );
    pass(&simulation, 6.0);
    let state = geo(&node).await;
    assert_eq!((state.limits, state.baseline, state.generation), (cores(0.12346), cores(0.2), 3));
    assert!((state.lease_remaining_seconds.unwrap() - 4.0).abs() < 1e-6);
    // The same generation renews.
    node.apply(&plan(3, 10.0, &[("geo", cores(0.123_456_7))])).await.unwrap();
    pass(&simulation, 9.9);
    assert_eq!(geo(&node).await.limits, cores(0.12346));
    pass(&simulation, 0.2);
    let state = geo(&node).await;
    assert_eq!((state.limits, state.lease_remaining_seconds, state.generation), (cores(0.2), None, 3));
}

#[tokio::test]
async fn restoring_ends_the_lease() {
    let (_simulation, node) = node();
    node.apply(&plan(1, 10.0, &[("geo", Limits::of_cpu(Limit::Max))])).await.unwrap();
    assert_eq!(geo(&node).await.limits, Limits::of_cpu(Limit::Max));
    assert_eq!(node.restore(&name("geo")).await.unwrap(), cores(0.2));
    assert_eq!(geo(&node).await.lease_remaining_seconds, None);
    assert_eq!(
        node.restore(&name("nobody")).await.unwrap_err(),
        NodeError::UnknownContainer { container: "nobody".to_owned() }
    );
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let (_simulation, node) = node();
    let before = node.containers().await.unwrap();
    let dry = Plan { dry_run: true, ..plan(7, 10.0, &[("geo", cores(1.0))]) };
    let outcome = node.apply(&dry).await.unwrap();
    assert!(outcome.dry_run && outcome.applied[0].applied == cores(1.0));
    assert_eq!(node.containers().await.unwrap(), before);
}

#[tokio::test]
async fn a_plan_with_one_fault_changes_nothing() {
    let (_simulation, node) = node();
    node.apply(&plan(5, 10.0, &[("rate", cores(0.3))])).await.unwrap();
    let before = node.containers().await.unwrap();
    let good = ("geo", cores(0.5));
    let llc = Limits { llc: Some(Limit::Max), ..Limits::default() };
    let invalid = [
        (plan(6, 10.0, &[good, ("geo", cores(0.4))]), "geo is changed twice"),
        (plan(6, 10.0, &[good, ("rate", Limits::default())]), "names no resource"),
        (plan(6, 10.0, &[good, ("rate", cores(2.1))]), "more than the node has"),
        (plan(6, 10.0, &[good, ("rate", cores(0.009))]), "the smallest limit is 1000 us"),
        (plan(6, 10.0, &[good, ("rate", llc)]), "does not model the llc"),
        (plan(6, 0.0, &[good]), "lease_seconds"),
        (plan(6, 3600.1, &[good]), "lease_seconds"),
        (plan(6, f64::NAN, &[good]), "lease_seconds"),
    ];
    for (plan, part) in invalid {
        let refused = node.apply(&plan).await.unwrap_err();
        assert!(
            matches!(&refused, NodeError::Invalid { .. }) && refused.to_string().contains(part),
            "{refused}"
        );
    }
    let unknown = node.apply(&plan(6, 10.0, &[good, ("nobody", cores(1.0))])).await.unwrap_err();
    assert_eq!(unknown, NodeError::UnknownContainer { container: "nobody".to_owned() });
    let stale = node.apply(&plan(4, 10.0, &[good, ("rate", cores(1.0))])).await.unwrap_err();
    assert_eq!(stale, NodeError::StaleGeneration { container: "rate".to_owned(), offered: 4, current: 5 });
    assert_eq!(node.containers().await.unwrap(), before);
}
