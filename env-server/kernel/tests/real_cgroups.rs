//! The kernel crate against the kernel: groups, processes and quotas that really are there. Needs root.
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use ballast_api::{CgroupVersion, Cores, Limit};
use ballast_kernel::{AncestorQuotas, CgroupPath, CpuControl, Freezer, KernelError, Representatives};
use support::{Process, Scratch, now, sleep};

/// How far from its quota a container may be: 2 % of a core.
const TOLERANCE_CORES: f64 = 0.02;

fn cores(cores: f64) -> Limit<Cores> {
    Limit::At(Cores::new(cores).unwrap())
}

#[test]
fn a_group_holds_kills_and_forgets_its_processes() {
    let Some(scratch) = Scratch::new("a_group_holds_kills_and_forgets_its_processes") else { return };
    let (outer, path) = (scratch.child("outer"), "outer/inner");
    let inner = scratch.child(path);
    let (one, two) = (Process::start("sleep", &["100"]), Process::start("sleep", &["100"]));
    // On v2, a group whose children have limits holds no process itself.
    let is_v1 = scratch.tree.hierarchy().version() == CgroupVersion::V1;
    let beside = if is_v1 { outer.clone() } else { scratch.child("outer/beside") };
    beside.attach(one.0.id()).unwrap();
    inner.attach(two.0.id()).unwrap();
    assert_eq!(inner.pids().unwrap(), [two.0.id()]);
    let mut both = [one.0.id(), two.0.id()];
    both.sort_unstable();
    assert_eq!(outer.pids().unwrap(), both);
    assert!(fs::read_to_string(format!("/proc/{}/cgroup", two.0.id())).unwrap().contains(path));

    outer.kill_all().unwrap();
    assert!(outer.pids().unwrap().is_empty());
    outer.remove().unwrap();
    assert!(scratch.tree.find(outer.path().as_str()).unwrap().is_none());
    // Both calls are safe to repeat on a group that is gone.
    outer.kill_all().unwrap();
    outer.remove().unwrap();
}

#[test]
fn a_freezer_is_that_of_no_later_group_of_the_same_path() {
    let test = "a_freezer_is_that_of_no_later_group_of_the_same_path";
    let Some(scratch) = Scratch::new(test) else { return };
    let group = scratch.child("one");
    let find = || Freezer::find(Path::new("/proc/self/mountinfo"), group.path()).unwrap();
    let Some(freezer) = find() else {
        eprintln!("SKIPPED {test}: no freezer");
        return;
    };
    group.remove().unwrap();
    let later = scratch.child("one");
    let process = Process::start("sleep", &["100"]);
    later.attach(process.0.id()).unwrap();
    for frozen in [true, false] {
        assert!(freezer.freeze(frozen).unwrap_err().is_gone());
    }
    let of_later = find().unwrap();
    assert!(!of_later.is_frozen().unwrap());
    of_later.freeze(true).unwrap();
    assert!(freezer.freeze(false).unwrap_err().is_gone());
    of_later.freeze(false).unwrap();
    later.kill_all().unwrap();
}

/// On a machine of v1 too, where there is a unified tree beside it.
#[test]
fn a_threaded_group_hides_no_process() {
    let test = "a_threaded_group_hides_no_process";
    let Some(scratch) = Scratch::new(test) else { return };
    let group = scratch.child("domain");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let unified =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let threaded = unified.map(|root| Path::new(root).join(group.path()).join("threaded"));
    let Some(threaded) = threaded.filter(|folder| fs::create_dir(folder).is_ok()) else {
        eprintln!("SKIPPED {test}: no unified tree");
        return;
    };
    fs::write(threaded.join("cgroup.type"), "threaded").unwrap();
    let process = Process::start("sleep", &["100"]);
    group.attach(process.0.id()).unwrap();
    fs::write(threaded.join("cgroup.threads"), process.0.id().to_string()).unwrap();
    assert!(fs::read_to_string(threaded.join("cgroup.procs")).is_err(), "the kernel does not tell it");
    assert_eq!(group.pids().unwrap(), [process.0.id()]);
    assert_eq!(group.representatives().unwrap(), Representatives::Pids(vec![process.0.id()]));
    group.kill_all().unwrap();
}

#[test]
fn a_group_of_many_processes_is_killed_to_the_last() {
    let Some(scratch) = Scratch::new("a_group_of_many_processes_is_killed_to_the_last") else { return };
    let group = scratch.child("many");
    let crowd: Vec<_> = (0..20).map(|_| Process::start("sleep", &["100"])).collect();
    crowd.iter().for_each(|process| group.attach(process.0.id()).unwrap());
    group.kill_all().unwrap();
    for mut process in crowd {
        assert!(!process.0.wait().unwrap().success());
    }
}

#[test]
fn a_process_that_only_the_v1_groups_hold_is_killed_one_by_one() {
    let test = "a_process_that_only_the_v1_groups_hold_is_killed_one_by_one";
    let Some(scratch) = Scratch::new(test) else { return };
    if scratch.tree.hierarchy().version() != CgroupVersion::V1 {
        eprintln!("SKIPPED {test}: cgroup v1 only");
        return;
    }
    let group = scratch.child("half");
    let process = Process::start("sleep", &["100"]);
    let procs = scratch.tree.hierarchy().cpu_folder(group.path()).join("cgroup.procs");
    fs::write(procs, process.0.id().to_string()).unwrap();
    group.kill_all().unwrap();
    assert!(group.pids().unwrap().is_empty());
}

#[test]
fn what_exists_is_not_made_twice_and_a_dead_process_is_not_moved() {
    let Some(scratch) = Scratch::new("what_exists_is_not_made_twice") else { return };
    let group = scratch.child("once");
    let error = scratch.tree.create(group.path().as_str()).unwrap_err();
    assert!(matches!(error, KernelError::Io { operation: "create", .. }), "{error}");
    assert!(scratch.tree.find(group.path().as_str()).unwrap().is_some(), "the first one must stay");
    assert!(scratch.tree.create("../escape").is_err());

    let mut process = Process::start("true", &[]);
    process.0.wait().unwrap();
    let error = group.attach(process.0.id()).unwrap_err();
    assert!(error.to_string().contains("cgroup.procs"), "{error}");
}

#[test]
fn a_group_with_a_process_in_it_is_not_removed() {
    let Some(scratch) = Scratch::new("a_group_with_a_process_in_it_is_not_removed") else { return };
    let group = scratch.child("busy");
    let process = Process::start("sleep", &["100"]);
    group.attach(process.0.id()).unwrap();
    assert!(matches!(group.remove(), Err(KernelError::StillBusy { pids, .. }) if pids == [process.0.id()]));
}

#[test]
fn limits_are_written_read_back_and_removed() {
    let Some(scratch) = Scratch::new("limits_are_written_read_back_and_removed") else { return };
    let cpu = scratch.cpu(&scratch.child("limited"));
    assert_eq!(cpu.limit().unwrap(), Limit::Max);
    assert_eq!(cpu.set_limit(cores(0.123_456_7)).unwrap(), cores(0.123_46));
    assert_eq!(cpu.set_limit(cores(0.01)).unwrap(), cores(0.01), "the smallest limit is accepted");
    assert!(matches!(cpu.set_limit(cores(0.0099)), Err(KernelError::LimitTooSmall { .. })));
    assert_eq!(cpu.limit().unwrap(), cores(0.01));
    assert_eq!(cpu.set_limit(Limit::Max).unwrap(), Limit::Max);
}

#[test]
fn a_child_over_its_parents_quota_is_a_named_error() {
    let test = "a_child_over_its_parents_quota_is_a_named_error";
    let Some(scratch) = Scratch::new(test) else { return };
    if scratch.tree.hierarchy().version() != CgroupVersion::V1 {
        eprintln!("SKIPPED {test}: cgroup v2 accepts it");
        return;
    }
    let (parent, child) = (scratch.cpu(&scratch.parent), scratch.cpu(&scratch.child("c")));
    parent.set_limit(cores(0.5)).unwrap();
    child.set_limit(cores(0.4)).unwrap();
    let error = child.set_limit(cores(0.8)).unwrap_err();
    assert!(matches!(&error, KernelError::QuotaConflict { value, .. } if value == "80000"), "{error}");
    assert_eq!(child.limit().unwrap(), cores(0.4));
    assert!(matches!(parent.set_limit(cores(0.3)), Err(KernelError::QuotaConflict { .. })));
}

/// What is said to be above an ancestor's quota is what the kernel refuses, where it refuses anything.
#[test]
fn an_ancestors_quota_is_known_before_it_is_written_below() {
    let Some(scratch) = Scratch::new("an_ancestors_quota_is_known") else { return };
    let hierarchy = scratch.tree.hierarchy();
    let (middle, group) = (scratch.child("m"), scratch.child("m/c"));
    let (parent, child) = (scratch.cpu(&scratch.parent), scratch.cpu(&group));
    assert_eq!(AncestorQuotas::new(hierarchy).least_above(group.path()).unwrap(), None);
    parent.set_limit(cores(0.5)).unwrap();
    let least = AncestorQuotas::new(hierarchy).least_above(group.path()).unwrap();
    for asked in [cores(0.4), cores(0.5), cores(0.500_01), cores(0.500_02), cores(2.0), Limit::Max] {
        child.set_limit(cores(0.1)).unwrap();
        let told = child.rounded_below(child.bandwidth().unwrap(), asked, least.as_ref());
        let is_too_much =
            matches!(&told, Err(KernelError::AboveAncestor { allowed, .. }) if allowed.contains("0.5"));
        assert_eq!(is_too_much, told.is_err(), "{told:?}");
        let written = child.set_limit(asked);
        if hierarchy.version() == CgroupVersion::V1 {
            assert_eq!(written.is_err(), is_too_much, "{asked}: {written:?}");
        }
    }
    scratch.cpu(&middle).set_limit(cores(0.3)).unwrap();
    let least = AncestorQuotas::new(hierarchy).least_above(group.path()).unwrap();
    assert!(child.rounded_below(child.bandwidth().unwrap(), cores(0.31), least.as_ref()).is_err());
}

#[test]
fn a_removed_group_is_told_apart_from_a_refusal() {
    let Some(scratch) = Scratch::new("a_removed_group_is_told_apart_from_a_refusal") else { return };
    let group = scratch.child("short");
    let path = CgroupPath::new(group.path().as_str()).unwrap();
    let identity = scratch.tree.hierarchy().identity(&path).unwrap();
    let children = scratch.tree.hierarchy().children(scratch.parent.path()).unwrap();
    assert_eq!(children, BTreeMap::from([("short".to_owned(), identity)]));
    group.remove().unwrap();
    assert!(scratch.cpu(&group).limit().unwrap_err().is_gone());
    assert!(scratch.cpu(&group).counters().unwrap_err().is_gone());
    assert_eq!(scratch.tree.hierarchy().identity(&path), None);
    scratch.child("short");
    assert_ne!(scratch.tree.hierarchy().identity(&path), Some(identity), "a new group is a new one");
}

/// The quota must hold a process that never stops computing to its share, and the counters must say so.
#[test]
fn a_busy_process_gets_its_quota_and_no_more() {
    let Some(scratch) = Scratch::new("a_busy_process_gets_its_quota_and_no_more") else { return };
    let group = scratch.child("busy");
    let cpu = scratch.cpu(&group);
    cpu.set_limit(cores(0.2)).unwrap();
    let process = Process::start("yes", &[]);
    group.attach(process.0.id()).unwrap();
    shares_until_achieved(&cpu, 0.2);
    let counters = cpu.counters().unwrap();
    assert!(counters.throttled_periods * 10 >= counters.periods * 8, "{counters:?}");
    assert!(counters.throttled > Duration::from_secs(1), "{counters:?}");
}

/// What is used, measured until it is what was asked for. On a loaded machine it may be less for a while, never more: as
/// often as it takes, at most eight times.
fn shares_until_achieved(cpu: &CpuControl, asked: f64) -> Vec<f64> {
    let mut shares = Vec::new();
    for _ in 0..8 {
        let share = used_share(cpu, Duration::from_secs(2));
        shares.push(share);
        assert!(share < asked + TOLERANCE_CORES, "more than the {asked} asked for: {shares:?}");
        if share > asked - TOLERANCE_CORES {
            return shares;
        }
    }
    panic!("less than the {asked} asked for: {shares:?}");
}

fn used_share(cpu: &CpuControl, time: Duration) -> f64 {
    let (started, before) = (now(), cpu.counters().unwrap());
    sleep(time);
    let (elapsed, after) = (started.elapsed(), cpu.counters().unwrap());
    (after.usage - before.usage).as_secs_f64() / elapsed.as_secs_f64()
}

/// Each limit in its turn, on one process that would take a whole core.
#[test]
fn what_is_used_is_what_was_asked_within_two_percent_of_a_core() {
    let test = "what_is_used_is_what_was_asked_within_two_percent_of_a_core";
    let Some(scratch) = Scratch::new(test) else { return };
    let group = scratch.child("busy");
    let cpu = scratch.cpu(&group);
    let process = Process::start("yes", &[]);
    group.attach(process.0.id()).unwrap();
    for asked in [0.1, 0.5, 0.9] {
        cpu.set_limit(cores(asked)).unwrap();
        // The period in which the limit changed belongs to both.
        sleep(Duration::from_millis(200));
        let shares = shares_until_achieved(&cpu, asked);
        println!("{test}: asked for {asked} cores, used {shares:.3?}");
    }
}

/// The kernel refuses a quota below the burst, and a burst above the quota.
#[test]
fn a_burst_goes_down_with_the_quota_and_comes_back_to_the_byte() {
    let test = "a_burst_goes_down_with_the_quota_and_comes_back_to_the_byte";
    let Some(scratch) = Scratch::new(test) else { return };
    let group = scratch.child("bursting");
    let (cpu, folder) = (scratch.cpu(&group), scratch.tree.hierarchy().cpu_folder(group.path()));
    let files = match scratch.tree.hierarchy().version() {
        CgroupVersion::V1 => ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"].as_slice(),
        _ => &["cpu.max", "cpu.max.burst"],
    };
    let Some(burst) = files.last().map(|file| folder.join(file)).filter(|file| file.exists()) else {
        eprintln!("SKIPPED {test}: this kernel has no burst");
        return;
    };
    let bytes = || files.iter().map(|file| fs::read(folder.join(file)).unwrap()).collect::<Vec<_>>();
    for quota in [cores(0.8), Limit::Max] {
        cpu.set_limit(quota).unwrap();
        fs::write(&burst, "50000").unwrap();
        let (own, before) = (cpu.bandwidth().unwrap(), bytes());
        for lent in [0.1, 0.01, 0.3, 0.9] {
            let now = cpu.bandwidth().unwrap();
            assert_eq!(cpu.change(now, cores(lent), own.burst_us()).unwrap(), cores(lent));
            let allowed = (lent * 1e5).min(5e4);
            assert_eq!(fs::read_to_string(&burst).unwrap().trim(), format!("{allowed:.0}"));
        }
        cpu.set_limit(cores(0.2)).unwrap();
        cpu.change(cpu.bandwidth().unwrap(), quota, own.burst_us()).unwrap();
        assert_eq!(bytes(), before);
        fs::write(&burst, "0").unwrap();
    }
}
