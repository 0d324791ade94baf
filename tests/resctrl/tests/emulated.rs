//! What only a machine of one's own can show: counters that are set, groups of others everywhere, random orders.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{fs, io::ErrorKind, time::Duration};

use ballast_api::{BytesPerSecond, Limit};
use ballast_kernel::{
    CgroupPath, KernelError,
    resctrl::{GroupName, ResctrlLimits, monitor::rates, schemata::PerDomain, tasks::Procs},
};
use nix::errno::Errno;
use proptest::prelude::*;
use support::{PEAK, Process, Stage, allows, bandwidth, cache_bytes, llc, stage};

#[test]
fn counters_become_rates() {
    let Some(stage) = stage("counters_become_rates", "intel") else { return };
    let (node, process) = (stage.node(), Process::idle());
    let geo = process.container(&node, "geo");
    geo.set_limits(llc(1e6)).unwrap();
    let emulated = stage.emulated.as_ref().unwrap();
    let set = |counter: &str| emulated.set(&format!("ballast-0 {counter}"));
    // The counter of the second domain wraps at 64 bits on the way.
    set("1 mbm_total_bytes 18446744073709550616");
    let before = geo.counters().unwrap();
    set("0 mbm_total_bytes 4000000");
    set("1 mbm_total_bytes 1000");
    set("1 llc_occupancy 77");
    set("0 mbm_local_bytes Unavailable");
    let used = rates(&before, &geo.counters().unwrap(), Duration::from_secs(2));
    assert_eq!(used.total, Ok(BytesPerSecond::new(2_001_000.0).unwrap()));
    assert_eq!(used.occupancy.unwrap().get().to_bits(), 77_f64.to_bits());
    assert!(used.local.unwrap_err().contains("mbm_local_bytes of domain 0"));
    for word in ["Error", "Unassigned"] {
        set(&format!("0 mbm_total_bytes {word}"));
        let used = rates(&before, &geo.counters().unwrap(), Duration::from_secs(2));
        assert!(used.total.unwrap_err().contains(word));
    }
    geo.restore().unwrap();
}

#[test]
fn what_is_in_force_is_not_written_again() {
    let Some(stage) = stage("what_is_in_force_is_not_written_again", "amd") else { return };
    let (node, process) = (stage.node(), Process::idle());
    let geo = process.container(&node, "geo");
    let limits = ResctrlLimits { memory_bandwidth: bandwidth(5e9).memory_bandwidth, ..llc(20e6) };
    let first = geo.set_limits(limits).unwrap();
    // Each write, also one that succeeds, would replace the status of this refusal.
    let bad = stage.mount.point.join("ballast-0/schemata");
    assert_eq!(fs::write(bad, "L9:0=1\n").unwrap_err().kind(), ErrorKind::InvalidInput);
    let status = stage.status();
    assert_eq!(geo.set_limits(limits).unwrap(), first);
    assert_eq!(stage.status(), status);
    geo.restore().unwrap();
}

#[test]
fn lines_that_are_not_ours_are_left_alone() {
    let Some(stage) = stage("lines_that_are_not_ours_are_left_alone", "amd") else { return };
    let (node, process) = (stage.node(), Process::idle());
    let geo = process.container(&node, "geo");
    geo.set_limits(llc(20e6)).unwrap();
    let file = stage.mount.point.join("ballast-0/schemata");
    fs::write(&file, "SMBA:8=64\n").unwrap();
    geo.set_limits(bandwidth(10e9)).unwrap();
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains("SMBA:0=2048;1=2048;8=  64"), "{text}");
    // 10 GB/s over four caches are 20 eighths each.
    assert!(text.contains("MB:0=  20;1=  20;8=  20;9=  20"), "{text}");
    geo.restore().unwrap();
}

#[test]
fn code_and_data_get_the_same_ways() {
    let Some(stage) = stage("code_and_data_get_the_same_ways", "intel-cdp") else { return };
    let (node, process) = (stage.node(), Process::idle());
    let geo = process.container(&node, "geo");
    geo.set_limits(llc(10e6)).unwrap();
    let schemata = stage.group_of(process.id()).unwrap().schemata().unwrap();
    assert_eq!(schemata.masks("L3CODE"), schemata.masks("L3DATA"));
    // 5 ways of 1 MiB in each of two caches hold 10 MB; the two ways of devices are at the other end.
    assert_eq!(schemata.masks("L3CODE"), Some(&PerDomain::from([(0, 0x1f), (1, 0x1f)])));
    geo.restore().unwrap();
}

/// Root keeps the upper half, somebody holds the lowest quarter exclusively.
fn with_an_exclusive_group(stage: &Stage) -> support::Foreign {
    let theirs = stage.foreign("exclusive");
    let write = |path: &std::path::Path, text: &str| fs::write(path, text).unwrap();
    write(&stage.mount.point.join("schemata"), "L2:0=f0;2=f0;4=f0;6=f0\n");
    write(&theirs.0.folder().join("schemata"), "L2:0=3;2=3;4=3;6=3\n");
    write(&theirs.0.folder().join("mode"), "exclusive\n");
    theirs
}

#[test]
fn ways_of_an_exclusive_group_are_never_touched() {
    let Some(stage) = stage("ways_of_an_exclusive_group_are_never_touched", "intel-l2") else { return };
    let theirs = with_an_exclusive_group(&stage);
    let (node, process) = (stage.node(), Process::idle());
    let geo = process.container(&node, "geo");
    let bytes = cache_bytes(&stage, &node).unwrap();
    let masks = |llc_share: f64| {
        let applied = geo.set_limits(llc(bytes * llc_share)).unwrap();
        let schemata = stage.group_of(process.id()).unwrap().schemata().unwrap();
        (applied.limits.llc.unwrap(), schemata.masks("L2").unwrap()[&0])
    };
    assert_eq!(masks(0.25).1, 0x0c, "between theirs and the root's");
    let (limit, mask) = masks(0.7);
    assert_eq!((limit, mask), (Limit::Max, 0xfc), "all that anybody else can have");
    geo.restore().unwrap();
    drop(theirs);
}

#[test]
fn without_any_group_left_nothing_is_changed() {
    let Some(stage) = stage("without_any_group_left_nothing_is_changed", "haswell") else { return };
    let others: Vec<_> = (0..3).map(|number| stage.foreign(&number.to_string())).collect();
    let (node, process) = (stage.node(), Process::idle());
    let geo = process.container(&node, "geo");
    let error = geo.set_limits(llc(1e6)).unwrap_err();
    assert!(
        matches!(&error, KernelError::OutOfClosids { status, .. } if status.contains("CLOSID")),
        "{error:?}"
    );
    assert_eq!((geo.in_force().unwrap().limits.llc, stage.group_of(process.id())), (Some(Limit::Max), None));
    drop(others);
    geo.set_limits(llc(1e6)).unwrap();
    geo.restore().unwrap();
}

#[test]
fn a_group_taken_by_others_meanwhile_makes_containers_share() {
    let Some(stage) = stage("a_group_taken_by_others_meanwhile_makes_containers_share", "haswell") else {
        return;
    };
    let (node, processes) = (stage.node(), [Process::idle(), Process::idle()]);
    let (a, b) = (processes[0].container(&node, "a"), processes[1].container(&node, "b"));
    a.set_limits(llc(2e6)).unwrap();
    let others = [stage.foreign("0"), stage.foreign("1")];
    let answer = b.set_limits(llc(6e6)).unwrap();
    assert_eq!(answer.shared_with.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a"]);
    assert!(
        allows(a.in_force().unwrap().limits.llc, 6e6)
            && a.counters().unwrap().occupancy.unwrap_err().contains("shares")
    );
    drop(others);
    assert!(b.set_limits(llc(6e6)).unwrap().shared_with.is_empty());
    assert_eq!(a.in_force().unwrap().limits, a.rounded(llc(2e6)).unwrap());
    [a, b].iter().for_each(|container| container.restore().unwrap());
}

#[test]
fn a_failure_on_the_way_is_undone() {
    let Some(stage) = stage("a_failure_on_the_way_is_undone", "intel") else { return };
    let (node, process) = (stage.node(), Process::idle());
    let geo = process.container(&node, "geo");
    let before = geo.set_limits(llc(4e6)).unwrap();
    // A container whose processes cannot be listed when they are to be moved.
    let id = process.id();
    let failing = node.container(
        CgroupPath::new("failing").unwrap(),
        None,
        std::sync::Arc::new(move || {
            let source = std::io::Error::from(Errno::EACCES);
            Err(KernelError::Io {
                operation: "list",
                path: format!("/proc/{id}").into(),
                value: None,
                source,
            })
        }),
    );
    let error = failing.set_limits(llc(2e6)).unwrap_err();
    assert!(error.to_string().contains("cannot list"), "{error}");
    assert_eq!(stage.ours(), ["ballast-0"], "the second group is gone");
    assert_eq!(
        (geo.in_force().unwrap().limits, failing.in_force().unwrap().limits.llc),
        (before.limits, Some(Limit::Max))
    );
    geo.restore().unwrap();
}

#[test]
fn undoing_moves_back_what_was_moved_and_nobody_else() {
    let Some(stage) = stage("undoing_moves_back_what_was_moved_and_nobody_else", "haswell") else { return };
    let (node, processes) = (stage.node(), [Process::idle(), Process::idle(), Process::idle()]);
    let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
    let containers = [a, b, c].into_iter().zip(&processes);
    let containers: Vec<_> = containers.map(|(name, process)| process.container(&node, &name)).collect();
    containers
        .iter()
        .zip([2e6, 6e6])
        .for_each(|(container, bytes)| drop(container.set_limits(llc(bytes)).unwrap()));
    let theirs = stage.foreign("group");
    theirs.0.take(&Procs::new("/proc".into()), &*processes[0].family()).unwrap();
    // Two groups for three, the last of which cannot have what it is ordered.
    let emulated = stage.emulated.as_ref().unwrap();
    for changes in 0..20 {
        emulated.freeze_after(changes);
        let done = containers[2].set_limits(llc(7e6));
        emulated.thaw();
        assert_eq!(stage.group_of(processes[0].id()), Some(theirs.0.clone()), "where they put it");
        if done.is_ok() {
            break;
        }
        node.sweep().unwrap();
    }
    containers.iter().for_each(|container| container.restore().unwrap());
    assert_eq!(stage.group_of(processes[0].id()), Some(theirs.0.clone()));
}

#[test]
fn who_comes_after_a_container_at_its_path_has_nothing_of_it() {
    let Some(stage) = stage("who_comes_after_a_container_at_its_path_has_nothing_of_it", "intel") else {
        return;
    };
    let (node, processes) = (stage.node(), [Process::idle(), Process::idle()]);
    let at = |identity: u64| {
        let process = &processes[usize::try_from(identity).unwrap()];
        node.container(CgroupPath::new("geo").unwrap(), Some(identity), process.family())
    };
    let (first, second) = (at(0), at(1));
    let limited = first.set_limits(llc(4e6)).unwrap();
    assert_eq!(second.in_force().unwrap().limits.llc, Some(Limit::Max));
    second.forget_earlier(Some(0)).unwrap();
    assert_eq!(first.in_force().unwrap(), limited, "it is there still");
    // Whoever orders for the second knows that the first is gone.
    let answer = second.set_limits(bandwidth(20e9)).unwrap();
    assert_eq!((answer.limits.llc, answer.shared_with.len()), (Some(Limit::Max), 0), "{answer:?}");
    assert_eq!((stage.group_of(processes[0].id()), stage.ours().len()), (None, 1));
    first.restore().unwrap();
    assert!(stage.group_of(processes[1].id()).is_some());
    second.forget_earlier(None).unwrap();
    assert_eq!(stage.ours(), Vec::<String>::new());
}

#[test]
fn files_are_the_kernels_and_no_others_can_be_made() {
    let Some(stage) = stage("files_are_the_kernels_and_no_others_can_be_made", "intel") else { return };
    let root = &stage.mount.point;
    let refused = |result: std::io::Result<()>| result.unwrap_err().raw_os_error().map(Errno::from_raw);
    assert_eq!(refused(fs::write(root.join("new"), "x")), Some(Errno::EACCES));
    assert_eq!(refused(fs::write(root.join("size"), "x")), Some(Errno::EACCES));
    assert_eq!(refused(fs::remove_file(root.join("tasks"))), Some(Errno::EPERM));
    assert_eq!(refused(fs::create_dir(root.join("info"))), Some(Errno::EEXIST));
    assert_eq!(refused(fs::create_dir(root.join("mon_data/x"))), Some(Errno::EPERM));
    assert_eq!(refused(fs::remove_dir(root.join("info"))), Some(Errno::EPERM));
    assert_eq!(refused(fs::write(root.join("tasks"), "4194304\n")), Some(Errno::ESRCH));
    assert_eq!(refused(fs::write(root.join("schemata"), "L3:0=5\n")), Some(Errno::EINVAL));
    fs::create_dir(root.join("g")).unwrap();
    assert_eq!(refused(fs::rename(root.join("g"), root.join("h"))), Some(Errno::EPERM));
    let open = fs::File::open(root.join("g/tasks")).unwrap();
    fs::remove_dir(root.join("g")).unwrap();
    assert!(std::io::read_to_string(open).is_err(), "the group is gone");
    assert!(!root.join("g").exists());
}

#[test]
fn a_mount_ends_with_its_owner_also_when_files_are_open() {
    let Some(stage) = stage("a_mount_ends_with_its_owner_also_when_files_are_open", "intel") else { return };
    let point = stage.mount.point.clone();
    let open = fs::File::open(point.join("schemata")).unwrap();
    let mounted = || fs::read_to_string("/proc/self/mountinfo").unwrap().contains(point.to_str().unwrap());
    assert!(mounted());
    drop(stage);
    assert!(!mounted());
    drop(open);
}

/// What a container is ordered.
#[derive(Debug, Clone, Copy)]
enum Order {
    Limit { container: usize, cache: f64, bandwidth: f64 },
    Restore { container: usize },
    TakeGroup,
    GiveGroup,
}

fn order() -> impl Strategy<Value = Order> {
    let limit = (0usize..5, 0.01f64..1.0, 0.01f64..1.0)
        .prop_map(|(container, cache, bandwidth)| Order::Limit { container, cache, bandwidth });
    let restore = (0usize..5).prop_map(|container| Order::Restore { container });
    prop_oneof![6 => limit, 2 => restore, 1 => Just(Order::TakeGroup), 1 => Just(Order::GiveGroup)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Five containers on a machine with three groups, while others take and give back some: nobody that was limited gets
    /// less than it asked, who is not limited is in the root group, and in the end nothing is left.
    #[test]
    fn whatever_is_ordered_nobody_gets_less_than_it_asked(orders in proptest::collection::vec(order(), 1..16)) {
        let Some(stage) = stage("whatever_is_ordered_nobody_gets_less_than_it_asked", "intel-cdp") else { return Ok(()) };
        let node = stage.node();
        let bytes = cache_bytes(&stage, &node).unwrap();
        let processes: Vec<_> = (0..5).map(|_| Process::idle()).collect();
        let containers: Vec<_> =
            processes.iter().enumerate().map(|(i, p)| p.container(&node, &format!("c{i}"))).collect();
        let mut asked = [None; 5];
        let mut taken = Vec::new();
        for order in orders {
            match order {
                Order::Limit { container, cache, bandwidth: share } => {
                    let limits = ResctrlLimits {
                        memory_bandwidth: bandwidth(PEAK * share).memory_bandwidth, ..llc(bytes * cache)
                    };
                    match containers[container].set_limits(limits) {
                        Ok(_) => asked[container] = Some((bytes * cache, PEAK * share)),
                        Err(error) => {
                            let full = matches!(&error, KernelError::OutOfClosids { .. });
                            prop_assert!(full && taken.len() == 3, "{}", error);
                        }
                    }
                }
                Order::Restore { container } => {
                    containers[container].restore().unwrap();
                    asked[container] = None;
                }
                Order::TakeGroup if stage.groups().names().unwrap().len() < 3 => {
                    taken.push(stage.foreign(&taken.len().to_string()));
                }
                Order::GiveGroup => drop(taken.pop()),
                Order::TakeGroup => {}
            }
            prop_assert!(stage.groups().names().unwrap().len() <= 3);
            for (index, asked) in asked.iter().enumerate() {
                let (limits, group) = (containers[index].in_force().unwrap().limits, stage.group_of(processes[index].id()));
                let whole = asked.is_some_and(|_| limits.llc == Some(Limit::Max) && limits.memory_bandwidth == Some(Limit::Max));
                match asked {
                    None => prop_assert!(group.is_none()),
                    Some((cache, bandwidth)) => {
                        prop_assert!(group.is_some() || whole);
                        prop_assert!(allows(limits.llc, *cache) && allows(limits.memory_bandwidth, *bandwidth));
                    }
                }
            }
        }
        for container in &containers {
            container.restore().unwrap();
        }
        prop_assert_eq!(stage.ours(), Vec::<String>::new());
        prop_assert!(processes.iter().all(|process| stage.group_of(process.id()).is_none()));
        prop_assert!(!GroupName::is_ours("theirs"));
    }
}
