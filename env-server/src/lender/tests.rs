//! The lender on a fake machine: what it refuses, what it undoes, and what survives it.

use ballast_api::{
    BitsPerSecond, BytesPerSecond, Cores, EgressIngress, Limit, LimitChange, PerResource, ReadWrite,
};
use ballast_kernel::{Interface, KernelError};

use super::*;
use crate::fake::{FakeClock, FakeMachine, cores, name};

const START: Duration = Duration::ZERO;

fn means(machine: &FakeMachine) -> Means {
    Means {
        machine: machine.machine(),
        discovery: Discovery::of_parents(&machine.parents(&["p"])),
        sample_interval: Duration::from_secs(1),
        clock: FakeClock::at(0.0),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(&machine.state_dir(), "boot"),
    }
}

fn open(machine: &FakeMachine, now: Duration) -> Lender {
    Lender::open(means(machine), now).unwrap()
}

fn journalled(machine: &FakeMachine) -> Vec<String> {
    let entries = Journal::new(&machine.state_dir(), "boot").load().unwrap();
    entries.into_iter().map(|entry| entry.cgroup.to_string()).collect()
}

/// Two containers: `a` without a limit, `b` with half a core.
fn two() -> FakeMachine {
    let machine = FakeMachine::v1();
    machine.add("p/a", "-1");
    machine.add("p/b", "50000");
    machine
}

fn plan(generation: u64, changes: &[(&str, Limit<Cores>)]) -> Plan {
    let change = |(container, limit): &(&str, Limit<Cores>)| LimitChange {
        container: name(container),
        limits: Limits::of_cpu(*limit),
    };
    Plan { generation, lease_seconds: 10.0, dry_run: false, changes: changes.iter().map(change).collect() }
}

/// What is shown of a container: its disk is not limited.
fn shown(cpu: Limit<Cores>) -> Limits {
    let unlimited = Limits {
        disk: Some(ReadWrite { read: Limit::Max, write: Limit::Max }),
        disk_operations: Some(ReadWrite { read: Limit::Max, write: Limit::Max }),
        ..Limits::default()
    };
    Limits::of_cpu(cpu).or(unlimited)
}

fn writing_at(rate: f64) -> Limits {
    let write = Limit::At(BytesPerSecond::new(rate).unwrap());
    Limits { disk: Some(ReadWrite { read: Limit::Max, write }), ..Limits::default() }
}

fn quotas(machine: &FakeMachine) -> [String; 2] {
    [machine.quota("p/a"), machine.quota("p/b")]
}

#[test]
fn a_plan_is_lent_and_answers_what_is_in_force() {
    let machine = two();
    let mut lender = open(&machine, START);
    let outcome = lender.apply(&plan(3, &[("b", cores(0.123_456_7)), ("a", Limit::Max)]), START).unwrap();
    let [b, a] = outcome.applied.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((b.before, b.applied), (Limits::of_cpu(cores(0.5)), Limits::of_cpu(cores(0.123_46))));
    assert_eq!((a.before, a.applied), (Limits::of_cpu(Limit::Max), Limits::of_cpu(Limit::Max)));
    let states = lender.containers(Duration::from_secs(4)).unwrap();
    assert_eq!(states[1].baseline, shown(cores(0.5)));
    assert_eq!(states[1].limits, shown(cores(0.123_46)));
    assert_eq!((states[1].generation, states[1].lease_remaining_seconds), (3, Some(6.0)));
    assert_eq!(journalled(&machine), ["p/a", "p/b"]);
}

#[test]
fn every_problem_of_a_plan_is_told_and_nothing_is_written() {
    let machine = two();
    let mut lender = open(&machine, START);
    let mut bad = plan(1, &[("a", cores(0.005)), ("b", cores(3.0)), ("b", cores(0.3))]);
    bad.lease_seconds = 3601.0;
    let network = Limit::At(BitsPerSecond::ZERO);
    bad.changes[0].limits.network = Some(EgressIngress { egress: network, ingress: network });
    bad.changes[1].limits.disk = writing_at(0.0).disk;
    bad.changes.push(LimitChange { container: name("c"), limits: Limits::default() });
    let NodeError::Invalid { problems } = lender.apply(&bad, START).unwrap_err() else { panic!() };
    let told = problems.join("\n");
    let parts = [
        "3600",
        "a: 0.005",
        "smallest limit is 0.0100",
        "b: 3 cores",
        "b: 0 bytes/s",
        "twice",
        "network",
        "c: the change",
    ];
    for part in parts {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    for lease_seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let bad = Plan { lease_seconds, ..plan(1, &[("a", cores(0.5))]) };
        assert!(matches!(lender.apply(&bad, START), Err(NodeError::Invalid { .. })), "{lease_seconds}");
    }
    let unknown = lender.apply(&plan(1, &[("a", cores(0.5)), ("geo", cores(0.5))]), START).unwrap_err();
    assert_eq!(unknown, NodeError::UnknownContainer { container: "geo".to_owned() });
    assert_eq!(quotas(&machine), ["-1", "50000"]);
    assert!(journalled(&machine).is_empty());
}

#[test]
fn each_resource_is_lent_and_given_back_on_its_own() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("a", cores(0.5))]), START).unwrap();
    // Somebody limits the disk, which nobody has been lent: from here on that is the container's own.
    machine.put_disk("p/a", ReadWrite { read: Some(7000), write: None });
    let disk = LimitChange { container: name("a"), limits: writing_at(5000.0) };
    let outcome = lender.apply(&Plan { changes: vec![disk], ..plan(2, &[]) }, START).unwrap();
    let read = Limit::At(BytesPerSecond::new(7000.0).unwrap());
    assert_eq!(outcome.applied[0].before.disk, Some(ReadWrite { read, write: Limit::Max }));
    assert_eq!(outcome.applied[0].applied, writing_at(5000.0), "only what was asked for is told");
    assert_eq!(machine.quota("p/a"), "50000", "the CPU is still lent");
    assert_eq!(machine.disk("p/a"), ReadWrite { read: None, write: Some(5000) });
    // The journal knows both, whichever was lent first.
    drop(lender);
    open(&machine, START);
    assert_eq!(machine.quota("p/a"), "-1");
    assert_eq!(machine.disk("p/a"), ReadWrite { read: Some(7000), write: None });
}

#[test]
fn a_write_that_fails_undoes_the_resources_before_it() {
    let machine = two();
    machine.refuse_disk_writes("p/b");
    let mut lender = open(&machine, START);
    let both = Limits::of_cpu(cores(0.3)).or(writing_at(5000.0));
    let change = |container: &str| LimitChange { container: name(container), limits: both };
    let asked = Plan { changes: vec![change("a"), change("b")], ..plan(1, &[]) };
    let error = lender.apply(&asked, START).unwrap_err();
    assert!(matches!(&error, NodeError::WriteFailed { container, .. } if container == "b"), "{error}");
    assert_eq!(quotas(&machine), ["-1", "50000"]);
    assert_eq!(machine.disk("p/a"), ReadWrite { read: None, write: None });
    assert_eq!((lender.loans(), journalled(&machine).len()), (0, 0));
}

#[test]
fn a_resource_that_one_container_lacks_is_told_and_the_rest_goes_on() {
    let machine = two();
    machine.lose_disk("p/a");
    let mut lender = open(&machine, START);
    let states = lender.containers(START).unwrap();
    assert_eq!((states[0].limits.disk, states[1].limits.disk.is_some()), (None, true));
    assert!(states[0].missing.disk.is_some() && states[1].missing.disk.is_none(), "{:?}", states[0].missing);
    let disk = LimitChange { container: name("a"), limits: writing_at(5000.0) };
    let refused = lender.apply(&Plan { changes: vec![disk], ..plan(1, &[]) }, START).unwrap_err();
    assert!(refused.to_string().contains("its disk cannot be limited"), "{refused}");
    lender.apply(&plan(1, &[("a", cores(0.5))]), START).unwrap();
    assert_eq!(quotas(&machine), ["50000", "50000"]);
}

/// A pod's own quota: on v1 the kernel would refuse the write, on v2 the pod's would be in force.
#[test]
fn more_than_a_parent_has_is_a_problem_before_anything_is_written() {
    for machine in [FakeMachine::v1(), FakeMachine::v2()] {
        machine.add("p/a", "-1");
        machine.add("p/b", "50000");
        machine.put("p", "100000");
        let mut lender = open(&machine, START);
        let error = lender.apply(&plan(1, &[("b", cores(0.3)), ("a", cores(1.5))]), START).unwrap_err();
        let NodeError::Invalid { problems } = error else { panic!("{error}") };
        assert!(problems.len() == 1 && problems[0].starts_with("a: 1.5"), "{problems:?}");
        assert!(problems[0].contains("/p leaves") && problems[0].contains("(1 cores)"), "{problems:?}");
        assert_eq!(quotas(&machine), ["-1", "50000"]);
        lender.apply(&plan(1, &[("a", cores(1.0)), ("b", Limit::Max)]), START).unwrap();
        assert_eq!(quotas(&machine), ["100000", "-1"]);
    }
}

/// Nobody hands the CPU controller down: the container is there, with its disk and the reason.
#[test]
fn a_container_whose_cpu_cannot_be_limited_is_told_and_the_rest_goes_on() {
    let machine = FakeMachine::v2();
    machine.add("p/a", "-1");
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("a", cores(0.5))]), START).unwrap();
    machine.lose_cpu("p/a");
    lender.sample();
    let states = lender.containers(START).unwrap();
    assert_eq!((states[0].limits.cpu, states[0].limits.disk.is_some()), (None, true));
    let reason = states[0].missing.cpu.clone().unwrap();
    assert!(reason.contains("cpu.max") && reason.contains("does not hand the controller down"), "{reason}");
    let refused = lender.apply(&plan(2, &[("a", cores(0.4))]), START).unwrap_err();
    assert!(refused.to_string().contains("its cpu cannot be limited"), "{refused}");
    let disk = LimitChange { container: name("a"), limits: writing_at(5000.0) };
    lender.apply(&Plan { changes: vec![disk], ..plan(2, &[]) }, START).unwrap();
    assert_eq!(machine.disk("p/a").write, Some(5000));
    // It is handed down again: what was lent goes back.
    machine.put("p/a", "50000");
    assert!(lender.close(START).is_empty());
    assert_eq!((machine.quota("p/a").as_str(), machine.disk("p/a").write), ("-1", None));
}

#[test]
fn an_older_plan_is_refused_and_an_equal_one_renews() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(5, &[("a", cores(0.5))]), START).unwrap();
    let older = lender.apply(&plan(4, &[("b", cores(0.3)), ("a", cores(0.4))]), START).unwrap_err();
    assert_eq!(older, NodeError::StaleGeneration { container: "a".to_owned(), offered: 4, current: 5 });
    assert_eq!(quotas(&machine), ["50000", "50000"]);
    lender.apply(&plan(5, &[("a", cores(0.5))]), Duration::from_secs(9)).unwrap();
    lender.expire(Duration::from_secs(18));
    assert_eq!(lender.next_due(), Some(Duration::from_secs(19)));
    lender.expire(Duration::from_secs(19));
    assert_eq!((machine.quota("p/a").as_str(), lender.next_due()), ("-1", None));
    // What came back stays newer than a plan that was delayed on its way.
    assert!(lender.apply(&plan(4, &[("a", cores(0.4))]), Duration::from_secs(20)).is_err());
}

#[test]
fn a_dry_run_answers_the_same_and_writes_nothing() {
    let machine = two();
    let mut lender = open(&machine, START);
    let asked = plan(1, &[("a", cores(0.123_456_7)), ("b", cores(0.4))]);
    let dry = lender.apply(&Plan { dry_run: true, ..asked.clone() }, START).unwrap();
    assert_eq!(quotas(&machine), ["-1", "50000"]);
    assert!(!machine.state_dir().join("journal.json").exists());
    let wet = lender.apply(&asked, START).unwrap();
    assert_eq!(dry.applied, wet.applied);
    assert!(dry.dry_run && !wet.dry_run);
}

#[test]
fn a_write_that_fails_undoes_those_before_it() {
    let machine = two();
    machine.refuse_writes("p/b");
    let mut lender = open(&machine, START);
    let error = lender.apply(&plan(1, &[("a", cores(0.5)), ("b", cores(0.3))]), START).unwrap_err();
    assert!(matches!(&error, NodeError::WriteFailed { container, .. } if container == "b"), "{error}");
    assert!(error.to_string().contains("30000"), "{error}");
    assert_eq!(machine.quota("p/a"), "-1");
    assert_eq!((lender.loans(), journalled(&machine).len()), (0, 0));
    let states = lender.containers(START).unwrap();
    assert!(states.iter().all(|state| state.generation == 0 && state.lease_remaining_seconds.is_none()));
}

#[test]
fn a_write_that_fails_leaves_an_earlier_loan_as_it_was() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("a", cores(0.7))]), START).unwrap();
    machine.refuse_writes("p/b");
    lender.apply(&plan(2, &[("a", cores(0.5)), ("b", cores(0.3))]), Duration::from_secs(3)).unwrap_err();
    assert_eq!(machine.quota("p/a"), "70000");
    assert_eq!(journalled(&machine), ["p/a"]);
    assert_eq!(lender.next_due(), Some(Duration::from_secs(10)), "the old lease goes on");
}

#[test]
fn what_cannot_be_undone_is_told_and_goes_back_to_the_baseline_later() {
    let machine = two();
    let mut lender = open(&machine, START);
    let asked = plan(1, &[("a", cores(0.5)), ("b", cores(0.3))]);
    let changes = lender.check(&asked, START).unwrap();
    let first_touched = lender.borrow_limits(&changes, START).unwrap();
    changes[0].controls.change(&changes[0].before, &changes[0].target, None).unwrap();
    machine.refuse_writes("p/a");
    let refused = KernelError::InvalidPath { text: "x".to_owned(), reason: "stands for any refusal" };
    let error = lender.undo(&changes, &first_touched, "b", &refused, START);
    assert!(matches!(&error, NodeError::Internal { detail } if detail.contains("retried for a")), "{error}");
    assert_eq!(journalled(&machine), ["p/a"]);
    machine.accept_writes("p/a", "50000");
    lender.expire(START);
    assert_eq!(machine.quota("p/a"), "-1");
    assert!(journalled(&machine).is_empty());
}

#[test]
fn a_baseline_that_cannot_be_restored_is_tried_again_with_growing_pauses() {
    let machine = two();
    let mut lender = open(&machine, START);
    // What it holds once it cannot be written: nobody has changed it then.
    lender.apply(&plan(1, &[("a", cores(0.655_36))]), START).unwrap();
    machine.refuse_writes("p/a");
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let due = lender.next_due().unwrap();
        lender.expire(due);
        pauses.push((lender.next_due().unwrap() - due).as_secs_f64());
    }
    assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    assert!(lender.means.metrics.render().contains("ballast_restoration_failures_total 9"));
    assert!(lender.restore(&name("a"), START).unwrap_err().to_string().contains("retried"));
    assert_eq!(lender.close(START).len(), 1);
    assert_eq!(journalled(&machine), ["p/a"], "the next env-server is to know it");
    machine.accept_writes("p/a", "50000");
    assert_eq!(open(&machine, START).loans(), 0);
    assert_eq!(machine.quota("p/a"), "-1");
}

#[test]
fn what_came_back_in_part_is_nobody_elses_doing() {
    let machine = two();
    machine.put_disk("p/b", ReadWrite { read: None, write: Some(9000) });
    let mut lender = open(&machine, START);
    let disk = Some(ReadWrite { read: Limit::Max, write: Limit::Max });
    let limits = Limits { disk, ..Limits::of_cpu(cores(0.3)) };
    let change = LimitChange { container: name("b"), limits };
    lender.apply(&Plan { changes: vec![change], ..plan(1, &[]) }, START).unwrap();
    machine.refuse_disk_writes("p/b");
    let end = Duration::from_secs(10);
    lender.expire(end);
    assert_eq!((machine.quota("p/b").as_str(), lender.loans()), ("50000", 1));
    assert_eq!(lender.containers(end).unwrap()[1].drift, PerResource::default());
    machine.accept_disk_writes("p/b");
    lender.expire(end + Duration::from_secs(1));
    assert_eq!(machine.disk("p/b"), ReadWrite { read: None, write: Some(9000) });
    assert_eq!((lender.loans(), journalled(&machine).len()), (0, 0));
}

#[test]
fn a_device_that_turns_up_while_something_is_lent_is_found() {
    let machine = two();
    machine.lose_disk("p/a");
    let often = Means { sample_interval: Duration::ZERO, ..means(&machine) };
    let mut lender = Lender::open(often, START).unwrap();
    lender.apply(&plan(1, &[("a", cores(0.5))]), START).unwrap();
    machine.put_disk("p/a", ReadWrite { read: None, write: Some(7000) });
    (0..5).for_each(|_| lender.sample());
    let disk = LimitChange { container: name("a"), limits: writing_at(5000.0) };
    lender.apply(&Plan { changes: vec![disk], ..plan(2, &[]) }, START).unwrap();
    assert_eq!(machine.disk("p/a"), ReadWrite { read: None, write: Some(5000) });
    drop(lender);
    open(&machine, START);
    assert_eq!(machine.quota("p/a"), "-1");
    assert_eq!(machine.disk("p/a"), ReadWrite { read: None, write: Some(7000) });
}

#[test]
fn what_is_found_and_not_under_control_is_refused() {
    let machine = two();
    machine.lose_disk("p/a");
    let mut lender = open(&machine, START);
    lender.containers(START).unwrap();
    lender.containers.get_mut(&name("a")).unwrap().missing = PerResource::default();
    let both = Limits::of_cpu(cores(0.3)).or(writing_at(5000.0));
    let change = LimitChange { container: name("a"), limits: both };
    let refused = lender.apply(&Plan { changes: vec![change], ..plan(1, &[]) }, START).unwrap_err();
    assert!(refused.to_string().contains("its disk cannot be limited: it is not under control"), "{refused}");
    assert_eq!(machine.quota("p/a"), "-1");
}

#[test]
fn a_container_keeps_its_generation_under_another_name() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(7, &[("a", cores(0.5))]), START).unwrap();
    let a = lender.containers.remove(&name("a")).unwrap();
    lender.containers.insert(name("earlier"), a);
    let states = lender.containers(START).unwrap();
    let generations: Vec<_> = states.iter().map(|state| (state.name.as_str(), state.generation)).collect();
    assert_eq!(generations, [("a", 7), ("b", 0)]);
    assert_eq!(states[0].lease_remaining_seconds, Some(10.0));
}

/// Without asking the kernel: what these interfaces are is tested with real ones.
#[test]
fn who_is_not_alone_on_an_interface_is_left_alone_there() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.containers(START).unwrap();
    let shared = Interface { index: 7, peer_index: 2, namespace: 5, address: None };
    let other = Interface { index: 8, ..shared };
    let mut play = |interfaces: [Option<Interface>; 2], lent_to: Option<&str>| {
        for (container, interface) in lender.containers.values_mut().zip(interfaces) {
            container.interface = interface;
        }
        lender.loans.clear();
        if let Some(container) = lent_to {
            let Container { place, .. } = &lender.containers[&name(container)];
            let network = Some(EgressIngress { egress: Limit::Max, ingress: Limit::Max });
            let (_, mut loan) = loan(
                Entry {
                    cgroup: place.path.clone(),
                    identity: place.identity,
                    devices: Devices { network: Some(shared), disk: None },
                    baseline: Limits { network, ..Limits::default() },
                    cpu_burst_us: None,
                },
                START,
            );
            loan.due = Duration::from_secs(1);
            lender.loans.insert(place.clone(), loan);
        }
        lender.share_out_networks();
        let told = |container: &Container| (container.devices.network, container.missing.network.clone());
        lender.containers.values().map(told).collect::<Vec<_>>()
    };
    let shares = |with: &str| (None, Some(format!("it shares its network with {with}")));
    let both = [Some(shared); 2];
    assert_eq!(play(both, None), [shares("b"), shares("a")]);
    assert_eq!(play(both, Some("a")), [(Some(shared), None), shares("a")], "a had it before b came");
    let apart = [Some(shared), Some(other)];
    assert_eq!(play(apart, Some("a")), [(Some(shared), None), (Some(other), None)]);
    let swapped = play([Some(other), Some(shared)], Some("a")).remove(1);
    assert!(swapped.0.is_none() && swapped.1.unwrap().contains("not given back yet"));
    assert_eq!(play([None, Some(other)], None)[1], (Some(other), None));
}

#[test]
fn a_crash_at_any_moment_of_a_plan_is_put_right_by_the_next_start() {
    for written in 0..=2 {
        let machine = two();
        let mut lender = open(&machine, START);
        let changes = lender.check(&plan(1, &[("a", cores(0.5)), ("b", cores(0.3))]), START).unwrap();
        lender.borrow_limits(&changes, START).unwrap();
        for change in &changes[..written] {
            change.controls.change(&change.before, &change.target, None).unwrap();
        }
        drop(lender);
        assert_eq!(open(&machine, START).loans(), 0);
        assert_eq!(quotas(&machine), ["-1", "50000"], "after {written} writes");
        assert!(journalled(&machine).is_empty());
    }
}

/// What the kernel refuses of a burst above its quota is tested where the order of the writes is decided.
#[test]
fn a_burst_is_held_down_with_the_quota_and_comes_back_with_it() {
    let machine = two();
    machine.put_burst("p/b", 40_000);
    let state = || (machine.quota("p/b"), machine.burst("p/b"));
    let own = ("50000".to_owned(), Some(40_000));
    let mut lender = open(&machine, START);
    for (generation, lent, burst) in [(1, 0.2, 20_000), (2, 0.3, 30_000), (3, 0.45, 40_000), (4, 0.1, 10_000)]
    {
        lender.apply(&plan(generation, &[("b", cores(lent))]), START).unwrap();
        assert_eq!(machine.burst("p/b"), Some(burst), "{lent}");
    }
    lender.restore(&name("b"), START).unwrap();
    assert_eq!(state(), own);

    // A crash after a plan, and one between the two writes of a plan.
    lender.apply(&plan(5, &[("b", cores(0.1))]), START).unwrap();
    drop(lender);
    let mut lender = open(&machine, START);
    assert_eq!(state(), own);
    let changes = lender.check(&plan(6, &[("b", cores(0.1))]), START).unwrap();
    lender.borrow_limits(&changes, START).unwrap();
    machine.put_burst("p/b", 10_000);
    drop(lender);
    lender = open(&machine, START);
    assert_eq!(state(), own);

    // Undone because another container fails.
    machine.refuse_writes("p/a");
    lender.apply(&plan(7, &[("b", cores(0.1)), ("a", cores(0.3))]), START).unwrap_err();
    assert_eq!(state(), own);
}

#[test]
fn a_burst_comes_back_as_far_as_somebody_elses_quota_allows() {
    let machine = two();
    machine.put_burst("p/b", 40_000);
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("b", cores(0.1))]), START).unwrap();
    machine.put("p/b", "30000");
    lender.containers(START).unwrap();
    assert_eq!(
        (machine.quota("p/b").as_str(), machine.burst("p/b"), lender.loans()),
        ("30000", Some(30_000), 0)
    );
}

#[test]
fn a_container_made_anew_under_the_same_name_is_not_touched() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(7, &[("a", cores(0.5)), ("b", cores(0.3))]), START).unwrap();
    machine.replace("p/a", "90000");
    machine.remove("p/b");
    drop(lender);
    let mut lender = open(&machine, START);
    assert_eq!((machine.quota("p/a").as_str(), lender.loans()), ("90000", 0));

    lender.apply(&plan(7, &[("a", cores(0.5))]), START).unwrap();
    machine.replace("p/a", "80000");
    lender.expire(Duration::from_secs(60));
    assert_eq!(machine.quota("p/a"), "80000");
    let state = lender.containers(START).unwrap().remove(0);
    assert_eq!((state.generation, state.lease_remaining_seconds), (0, None));
}

#[test]
fn a_limit_that_somebody_else_changed_is_told_and_left_to_them() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("a", cores(0.5)), ("b", cores(0.3))]), START).unwrap();
    machine.put("p/a", "70000");
    let a = lender.containers(START).unwrap().remove(0);
    assert_eq!((a.limits.cpu, a.baseline.cpu), (Some(cores(0.7)), Some(cores(0.7))), "it is their own now");
    assert!(a.drift.cpu.unwrap().contains("0.7 cores"));
    assert_eq!((a.lease_remaining_seconds, journalled(&machine)), (None, vec!["p/b".to_owned()]));
    assert!(lender.means.metrics.render().contains("ballast_drifts_total 1"));

    let outcome = lender.apply(&plan(2, &[("a", cores(0.4)), ("b", cores(0.2))]), START).unwrap();
    assert_eq!(outcome.applied[0].applied, Limits::of_cpu(cores(0.7)), "it is told that this was left out");
    assert_eq!(quotas(&machine), ["70000", "20000"], "and the rest goes on");
    lender.expire(Duration::from_secs(30));
    assert_eq!(quotas(&machine), ["70000", "50000"]);

    // After a minute it may be lent again, and goes back to what they set.
    let later = Duration::from_secs(60);
    lender.apply(&plan(3, &[("a", cores(0.4))]), later).unwrap();
    assert_eq!(machine.quota("p/a"), "40000");
    assert_eq!(lender.containers(later).unwrap()[0].drift, PerResource::default());
    lender.expire(later + Duration::from_secs(10));
    assert_eq!(machine.quota("p/a"), "70000");
}

#[test]
fn whoever_changes_a_limit_again_is_left_alone_for_longer() {
    let machine = two();
    let mut lender = open(&machine, START);
    let (mut now, mut pauses) = (START, Vec::new());
    for generation in 1..=8 {
        lender.apply(&plan(generation, &[("a", cores(0.5))]), now).unwrap();
        machine.put("p/a", &format!("{}", 70_000 + generation));
        lender.containers(now).unwrap();
        let hold = lender.containers[&name("a")].hold.clone();
        pauses
            .push((1..5000).find(|second| hold.at(now + Duration::from_secs(*second)) == Limits::default()));
        now += Duration::from_secs(3600);
    }
    assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600].map(Some));
}

#[test]
fn drift_is_noticed_by_whoever_comes_first() {
    type Call = fn(&mut Lender, Duration);
    let calls: [Call; 4] = [
        |lender, now| lender.expire(now),
        |lender, now| drop(lender.apply(&plan(2, &[("a", cores(0.4))]), now)),
        |lender, now| drop(lender.restore(&name("a"), now)),
        |lender, now| drop(lender.close(now)),
    ];
    for call in calls {
        let machine = two();
        let mut lender = open(&machine, START);
        lender.apply(&plan(1, &[("a", cores(0.5))]), START).unwrap();
        machine.put("p/a", "70000");
        call(&mut lender, Duration::from_secs(20));
        assert_eq!((machine.quota("p/a").as_str(), lender.loans()), ("70000", 0));
    }
}

#[test]
fn who_asks_for_the_own_limits_ends_the_hold() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("a", cores(0.5))]), START).unwrap();
    machine.put("p/a", "70000");
    assert_eq!(lender.restore(&name("a"), START).unwrap().cpu, Some(cores(0.7)));
    lender.apply(&plan(2, &[("a", cores(0.4))]), START).unwrap();
    assert_eq!(machine.quota("p/a"), "40000");
}

#[test]
fn without_a_journal_nothing_is_lent() {
    let machine = two();
    let mut lender = open(&machine, START);
    std::fs::remove_dir_all(machine.state_dir()).unwrap();
    let error = lender.apply(&plan(1, &[("a", cores(0.5))]), START).unwrap_err();
    assert!(error.to_string().contains("journal"), "{error}");
    assert_eq!((machine.quota("p/a").as_str(), lender.loans()), ("-1", 0));
}

#[test]
fn a_damaged_journal_stops_the_start() {
    let machine = two();
    std::fs::write(machine.state_dir().join("journal.json"), "{").unwrap();
    assert!(matches!(Lender::open(means(&machine), START), Err(JournalError::Damaged { .. })));
}

#[test]
fn what_happens_is_counted() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("a", cores(0.5)), ("b", cores(0.3))]), START).unwrap();
    let _ = lender.apply(&plan(0, &[("a", cores(0.5))]), START);
    let _ = lender.apply(&Plan { dry_run: true, ..plan(1, &[("a", cores(0.4))]) }, START);
    let text = lender.means.metrics.render();
    let dry_run = "ballast_plans_total{result=\"DryRun\"} 1";
    for line in
        ["ballast_containers 2", "ballast_loans 2", "ballast_plans_total{result=\"Applied\"} 1", dry_run]
    {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    lender.restore(&name("a"), START).unwrap();
    lender.expire(Duration::from_secs(10));
    std::fs::write(machine.hierarchy().cpu_folder(&machine.parents(&["p/a"])[0]).join("cpu.stat"), "x y")
        .unwrap();
    lender.sample();
    let text = lender.means.metrics.render();
    for line in [
        "ballast_loans 0",
        "ballast_plans_total{result=\"Refused\"} 1",
        "ballast_restorations_total{cause=\"Request\"} 1",
        "ballast_restorations_total{cause=\"Expiry\"} 1",
        "ballast_restoration_failures_total 0",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}
