//! What a plan lends, what it answers, and which plans are refused.

use ballast_api::{BitsPerSecond, EgressIngress};

use super::*;

/// What is shown of a container: its disk is not limited.
fn shown(cpu: Limit<Cores>) -> Limits {
    let unlimited = Limits {
        disk: Some(ReadWrite { read: Limit::Max, write: Limit::Max }),
        disk_operations: Some(ReadWrite { read: Limit::Max, write: Limit::Max }),
        ..Limits::default()
    };
    Limits::of_cpu(cpu).or(unlimited)
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
fn a_clock_that_is_set_back_holds_up_no_sample() {
    let (machine, clock) = (two(), FakeClock::at(1000.0));
    let mut lender = Lender::open(Means { clock: clock.clone(), ..means(&machine) }, START).unwrap();
    lender.containers(START).unwrap();
    machine.count("p/a", 100);
    clock.set(1001.0);
    clock.set_back(Duration::from_secs(600));
    lender.sample();
    let a = lender.containers(START).unwrap().remove(0);
    assert_eq!(a.sampled_at_unix_nanos.as_seconds(), 401.0);
    assert_eq!(a.usage.unwrap().cpu, Some(Cores::new(0.1).unwrap()), "a second has passed");
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
