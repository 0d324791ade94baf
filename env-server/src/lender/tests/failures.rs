//! Writes that fail, crashes, and a journal that is damaged or gone: what is undone, and what is tried again.

use ballast_kernel::KernelError;

use super::*;

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
    lender.ready().unwrap();
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

/// Lent the CPU and the disk of `b`, of which the disk does not come back.
fn whose_disk_stays_lent() -> (FakeMachine, Lender) {
    let machine = two();
    machine.put_disk("p/b", ReadWrite { read: None, write: Some(9000) });
    let mut lender = open(&machine, START);
    let disk = Some(ReadWrite { read: Limit::Max, write: Limit::Max });
    let limits = Limits { disk, ..Limits::of_cpu(cores(0.3)) };
    let change = LimitChange { container: name("b"), limits };
    lender.apply(&Plan { changes: vec![change], ..plan(1, &[]) }, START).unwrap();
    machine.refuse_disk_writes("p/b");
    (machine, lender)
}

#[test]
fn what_came_back_in_part_is_nobody_elses_doing() {
    let (machine, mut lender) = whose_disk_stays_lent();
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
fn what_is_back_is_whoever_sets_it_who_owns_it() {
    let (machine, mut lender) = whose_disk_stays_lent();
    lender.expire(Duration::from_secs(10));
    assert_eq!((machine.quota("p/b").as_str(), lender.loans()), ("50000", 1));
    let journalled = Journal::new(&machine.state_dir(), "boot").load().unwrap().remove(0);
    assert_eq!((journalled.baseline.cpu, journalled.baseline.disk.is_some()), (None, true));

    machine.put("p/b", "70000");
    for seconds in 11..100 {
        lender.expire(Duration::from_secs(seconds));
        assert_eq!(machine.quota("p/b"), "70000", "it is not written again");
    }
    let b = lender.containers(Duration::from_secs(100)).unwrap().remove(1);
    assert_eq!((b.baseline.cpu, b.drift.cpu), (Some(cores(0.7)), None));
    drop(lender);
    assert_eq!(
        (open(&machine, START).loans(), machine.quota("p/b").as_str()),
        (1, "70000"),
        "nor by the next"
    );
    machine.accept_disk_writes("p/b");
    assert_eq!((open(&machine, START).loans(), machine.quota("p/b").as_str()), (0, "70000"));
    assert_eq!(machine.disk("p/b"), ReadWrite { read: None, write: Some(9000) });
}

#[test]
fn where_only_the_journal_fails_only_that_is_tried_again() {
    let machine = two();
    let mut lender = open(&machine, START);
    lender.apply(&plan(1, &[("a", cores(0.5)), ("b", cores(0.3))]), START).unwrap();
    std::fs::rename(machine.state_dir(), machine.state_dir().with_extension("away")).unwrap();
    let mut now = Duration::from_secs(10);
    lender.expire(now);
    assert_eq!((quotas(&machine), lender.loans()), (["-1".to_owned(), "50000".to_owned()], 0));
    machine.put("p/a", "70000");
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let due = lender.next_due().unwrap();
        pauses.push((due - now).as_secs_f64());
        now = due;
        lender.expire(now);
    }
    assert_eq!(pauses, [0.5, 1.0, 2.0]);
    let told = lender.close(now);
    assert!(told.len() == 1 && told[0].contains("still names limits that are back"), "{told:?}");
    assert_eq!(machine.quota("p/a"), "70000", "it is theirs");

    std::fs::rename(machine.state_dir().with_extension("away"), machine.state_dir()).unwrap();
    assert_eq!(journalled(&machine), ["p/a", "p/b"]);
    lender.expire(lender.next_due().unwrap());
    assert_eq!((journalled(&machine).len(), lender.next_due()), (0, None));
    assert!(lender.close(now).is_empty());
}

#[test]
fn a_crash_at_any_moment_of_a_plan_is_put_right_by_the_next_start() {
    for written in 0..=2 {
        let machine = two();
        let mut lender = open(&machine, START);
        lender.ready().unwrap();
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
