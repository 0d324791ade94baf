//! What others do meanwhile: containers made anew or renamed, limits changed by somebody else.

use super::*;

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
