//! What every node must do. Must not know which node it is: what only its world can do, the world does.

use std::time::Duration;

use ballast_api::{Capability, Cores, Limit, Limits, NodeAgent, NodeError, Plan, Resource};

use crate::plans::{LONG_LEASE_SECONDS, books, cores, example, examples, name, plan, state_of};

/// The containers of the suite: each with a limit of [`OWN_CORES`] and no other.
pub(crate) const CONTAINERS: [&str; 2] = [A, B];
pub(crate) const OWN_CORES: f64 = 0.2;
const A: &str = "geo";
const B: &str = "rate";

/// What happens around a node.
pub(crate) trait World {
    /// Lets time pass.
    async fn pass(&self, time: Duration);

    /// The kernel refuses to write CPU limits of a container until the answer is dropped.
    fn refuse_writes(&self, container: &str) -> impl Sized;
}

/// The whole suite. Each part leaves the containers with their own limits.
pub(crate) async fn conforms(node: &dyn NodeAgent, world: &impl World) {
    shows_itself(node).await;
    rounds_as_the_kernel_does(node).await;
    answers_a_dry_run_as_the_plan(node).await;
    lends_each_resource_on_its_own(node).await;
    refuses_whole_plans(node).await;
    keeps_the_order_of_generations(node).await;
    undoes_what_it_cannot_finish(node, world).await;
    ends_leases_and_renews_them(node, world).await;
}

async fn shows_itself(node: &dyn NodeAgent) {
    let info = node.node().await.unwrap();
    assert!(matches!(info.capabilities.cpu, Some(Capability::Available { .. })), "{info:?}");
    for resource in Resource::ALL {
        match info.capabilities.get(resource).expect("all five are told of") {
            Capability::Available { mechanism } => assert!(!mechanism.is_empty(), "{resource}"),
            Capability::Unavailable { reason } => assert!(reason.contains(' '), "{resource}: {reason}"),
        }
    }
    assert!(info.capacity.cpu.is_some_and(|capacity| capacity.get() >= 1.0), "{info:?}");
    let containers = node.containers().await.unwrap();
    assert!(containers.is_sorted_by(|one, next| one.name < next.name), "in the order of their names");
    for container in CONTAINERS {
        let state = state_of(node, container).await;
        assert_eq!(state.limits.cpu, cores(OWN_CORES).cpu);
        assert_eq!((state.limits, state.generation), (state.baseline, 0), "{container} is lent nothing");
        assert_eq!(state.lease_remaining_seconds, None);
        for resource in Resource::ALL {
            let is_limited = state.limits.named().any(|named| named == resource);
            let can = matches!(info.capabilities.get(resource), Some(Capability::Available { .. }));
            let is_missing = state.missing.get(resource).is_some();
            assert_eq!(is_limited, can && !is_missing, "{container}'s {resource}: {state:?}");
        }
    }
}

/// Whole microseconds of quota in a period of 100 ms, the nearest.
async fn rounds_as_the_kernel_does(node: &dyn NodeAgent) {
    let rounded = [(0.512_345_6, 0.512_35), (0.512_344_4, 0.512_34), (0.01, 0.01), (0.010_004, 0.01)];
    for (asked, expected) in rounded {
        let outcome = node.apply(&plan(10, &[(A, cores(asked))])).await.unwrap();
        let applied = &outcome.applied[0];
        assert_eq!((applied.requested, applied.applied), (cores(asked), cores(expected)));
        assert_eq!(state_of(node, A).await.limits.cpu, cores(expected).cpu, "what is told is in force");
    }
    let free = Limits::of_cpu(Limit::Max);
    let outcome = node.apply(&plan(10, &[(A, free)])).await.unwrap();
    assert_eq!((outcome.applied[0].before, outcome.applied[0].applied), (cores(0.01), free));
    assert_eq!(state_of(node, A).await.limits.cpu, Some(Limit::Max));
    assert_eq!(node.restore(&name(A)).await.unwrap().cpu, cores(OWN_CORES).cpu);
}

async fn answers_a_dry_run_as_the_plan(node: &dyn NodeAgent) {
    let all = examples(node, A).await;
    let real = plan(12, &[(A, all), (B, cores(0.512_345_6))]);
    let dry = Plan { dry_run: true, ..real.clone() };
    let before = books(node, CONTAINERS).await;
    let foreseen = node.apply(&dry).await.unwrap();
    assert!(foreseen.dry_run);
    assert_eq!(books(node, CONTAINERS).await, before, "a dry run changes nothing, not even the generation");
    let outcome = node.apply(&real).await.unwrap();
    assert!(!outcome.dry_run);
    assert_eq!((outcome.generation, &outcome.applied), (foreseen.generation, &foreseen.applied));
    let [a, b] = books(node, CONTAINERS).await;
    assert_eq!((a.limits.among(&all), a.generation), (all, 12));
    assert_eq!((b.limits.cpu, b.generation), (cores(0.512_35).cpu, 12));
    // As stale as the plan itself would be.
    let older = node.apply(&Plan { generation: 11, ..dry }).await.unwrap_err();
    assert!(matches!(older, NodeError::StaleGeneration { current: 12, offered: 11, .. }), "{older}");
    for (container, own) in CONTAINERS.into_iter().zip(before) {
        assert_eq!(node.restore(&name(container)).await.unwrap(), own.limits);
    }
}

async fn lends_each_resource_on_its_own(node: &dyn NodeAgent) {
    let capabilities = node.node().await.unwrap().capabilities;
    let own = state_of(node, A).await.limits;
    for (resource, capability) in capabilities.iter() {
        let asked = example(resource);
        let change = plan(15, &[(A, asked)]);
        let missing = state_of(node, A).await.missing.get(resource).cloned();
        let refusal = match capability {
            Capability::Unavailable { reason } => Some(reason.clone()),
            Capability::Available { .. } => missing,
        };
        if let Some(reason) = refusal {
            let refused = node.apply(&change).await.unwrap_err();
            assert!(matches!(refused, NodeError::Invalid { .. }), "{resource}: {refused}");
            assert!(refused.to_string().contains(&reason), "{resource}: {refused} hides why: {reason}");
            continue;
        }
        let applied = node.apply(&change).await.unwrap().applied.remove(0);
        assert_eq!((applied.requested, applied.before), (asked, own.among(&asked)), "{resource}");
        let state = state_of(node, A).await;
        assert_eq!(state.limits, applied.applied.or(own), "{resource} alone has changed");
        assert_eq!(state.baseline, own);
        if [Resource::Cpu, Resource::Disk, Resource::Network].contains(&resource) {
            assert_eq!(applied.applied, asked, "{resource}: the kernel takes it as it is");
        }
        assert_eq!(node.restore(&state.name).await.unwrap(), own);
    }
}

async fn refuses_whole_plans(node: &dyn NodeAgent) {
    let info = node.node().await.unwrap();
    let capacity = info.capacity.cpu.unwrap_or(Cores::ZERO).get();
    let is_missing = |capability: &Capability| matches!(capability, Capability::Unavailable { .. });
    let mut missing = info.capabilities.iter().filter(|(_, capability)| is_missing(capability));
    let missing = missing.next().map(|(resource, _)| plan(20, &[(A, cores(0.4)), (B, example(resource))]));
    let good = plan(20, &[(A, cores(0.4))]);
    let invalid = [
        plan(20, &[(A, cores(0.4)), (A, cores(0.3))]),
        plan(20, &[(A, cores(0.4)), (B, Limits::default())]),
        plan(20, &[(A, cores(0.4)), (B, cores(0.000_1))]),
        plan(20, &[(A, cores(0.4)), (B, cores(capacity + 0.01))]),
        // The problems of a plan are told before it is looked for who is unknown.
        plan(20, &[(A, cores(0.000_1)), ("nobody", cores(0.4))]),
        Plan { lease_seconds: 0.0, ..good.clone() },
        Plan { lease_seconds: -1.0, ..good.clone() },
        Plan { lease_seconds: f64::NAN, ..good.clone() },
        Plan { lease_seconds: 3600.1, ..good.clone() },
    ];
    let before = books(node, CONTAINERS).await;
    for plan in invalid.into_iter().chain(missing) {
        let refused = node.apply(&plan).await.unwrap_err();
        assert!(matches!(refused, NodeError::Invalid { .. }), "{plan:?}: {refused}");
        assert_eq!(books(node, CONTAINERS).await, before, "half of {plan:?} was done");
    }
    let unknown = plan(20, &[(A, cores(0.4)), ("nobody", cores(0.4))]);
    let refused = node.apply(&unknown).await.unwrap_err();
    assert!(
        matches!(&refused, NodeError::UnknownContainer { container } if container == "nobody"),
        "{refused}"
    );
    assert_eq!(books(node, CONTAINERS).await, before, "half of it was done");
    let refused = node.restore(&name("nobody")).await.unwrap_err();
    assert!(
        matches!(&refused, NodeError::UnknownContainer { container } if container == "nobody"),
        "{refused}"
    );
}

async fn keeps_the_order_of_generations(node: &dyn NodeAgent) {
    node.apply(&plan(30, &[(A, cores(0.5))])).await.unwrap();
    node.apply(&plan(32, &[(B, cores(0.3))])).await.unwrap();
    let before = books(node, CONTAINERS).await;
    for stale in
        [plan(31, &[(A, cores(0.6)), (B, cores(0.6))]), plan(31, &[(B, cores(0.6)), (A, cores(0.6))])]
    {
        let older = node.apply(&stale).await.unwrap_err();
        let expected = NodeError::StaleGeneration { container: B.to_owned(), offered: 31, current: 32 };
        assert_eq!(older, expected);
        assert_eq!(
            books(node, CONTAINERS).await,
            before,
            "nothing of it is done, not even what is not stale"
        );
    }
    node.apply(&plan(32, &[(A, cores(0.5)), (B, cores(0.4))])).await.expect("an equal generation may change");
    let [a, b] = books(node, CONTAINERS).await;
    assert_eq!((a.generation, b.generation, b.limits.cpu), (32, 32, cores(0.4).cpu));
    for container in CONTAINERS {
        assert_eq!(node.restore(&name(container)).await.unwrap().cpu, cores(OWN_CORES).cpu);
        assert_eq!(state_of(node, container).await.generation, 32, "it stays with the container");
    }
    let older = node.apply(&plan(31, &[(A, cores(0.6))])).await.unwrap_err();
    assert!(
        matches!(older, NodeError::StaleGeneration { current: 32, .. }),
        "also of what is given back: {older}"
    );
}

async fn undoes_what_it_cannot_finish(node: &dyn NodeAgent, world: &impl World) {
    let all = examples(node, A).await;
    let too_much = plan(41, &[(A, all), (B, cores(0.4))]);
    let fails = async || {
        let before = books(node, CONTAINERS).await;
        let failed = node.apply(&too_much).await.unwrap_err();
        assert!(matches!(&failed, NodeError::WriteFailed { container, .. } if container == B), "{failed}");
        assert_eq!(books(node, CONTAINERS).await, before, "what was written before is undone");
    };
    let refused = world.refuse_writes(B);
    fails().await;
    // Also what is lent already stays as it is.
    node.apply(&plan(40, &[(A, cores(0.5))])).await.unwrap();
    fails().await;
    drop(refused);
    let outcome = node.apply(&too_much).await.unwrap();
    assert_eq!((outcome.applied[0].before.cpu, outcome.applied[0].applied), (cores(0.5).cpu, all));
    assert_eq!(outcome.applied[1].applied, cores(0.4));
    for container in CONTAINERS {
        let own = state_of(node, container).await.baseline;
        assert_eq!(node.restore(&name(container)).await.unwrap(), own);
    }
}

const SECOND: Duration = Duration::from_secs(1);

async fn ends_leases_and_renews_them(node: &dyn NodeAgent, world: &impl World) {
    let all = examples(node, A).await;
    let own = books(node, CONTAINERS).await;
    let remaining = async || state_of(node, A).await.lease_remaining_seconds;
    let lease = Plan { lease_seconds: 8.0, ..plan(50, &[(A, all)]) };
    node.apply(&lease).await.unwrap();
    node.apply(&plan(50, &[(B, cores(0.3))])).await.unwrap();
    let at_first = remaining().await.unwrap();
    assert!(at_first > 0.0 && at_first <= 8.0, "{at_first}");
    world.pass(4 * SECOND).await;
    let later = remaining().await.unwrap();
    // A machine may be late by any time, never early.
    assert!(later <= at_first - 3.9, "{at_first}, and 4 s later {later}");
    node.apply(&lease).await.unwrap();
    assert!(remaining().await.unwrap() > later, "an equal plan renews");
    world.pass(5 * SECOND).await;
    let [a, _] = books(node, CONTAINERS).await;
    assert!(a.is_lent && a.limits.among(&all) == all, "9 s after a lease of 8 s, renewed after 4: {a:?}");

    let mut waited = 0;
    while remaining().await.is_some() {
        assert!(waited < 30, "a lease of 8 s has not ended in {waited} s");
        world.pass(SECOND).await;
        waited += 1;
    }
    let [a, b] = books(node, CONTAINERS).await;
    assert_eq!((a.limits, a.baseline, a.generation), (own[0].limits, own[0].limits, 50));
    assert!(b.is_lent && b.limits.cpu == cores(0.3).cpu, "the other's lease goes on: {b:?}");
    let left = state_of(node, B).await.lease_remaining_seconds.unwrap();
    assert!((LONG_LEASE_SECONDS - 200.0..LONG_LEASE_SECONDS - 8.9).contains(&left), "{left}");
    assert_eq!(node.restore(&name(B)).await.unwrap(), own[1].limits);
    assert_eq!(state_of(node, B).await.lease_remaining_seconds, None, "what is given back is lent no longer");
}
