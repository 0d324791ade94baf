//! Each resource on its own: one that a container lacks, one that turns up, one that is shared, and the CPU's burst.

use ballast_api::EgressIngress;
use ballast_kernel::Interface;

use super::*;
use crate::{controls::Devices, journal::Entry};

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
            let (_, mut loan) = Loan::of(
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
    lender.ready().unwrap();
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
