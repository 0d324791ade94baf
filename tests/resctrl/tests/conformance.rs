//! Ballast's resctrl code over a mount: the emulator in each flavour, and real hardware where nobody else uses it, or where
//! `BALLAST_TEST_RESCTRL` names it.
//!
//! Everything here must hold on both. What only a machine of one's own can show is in `emulated.rs`.

mod support;

use ballast_api::Limit;
use ballast_kernel::{
    CgroupPath, KernelError,
    resctrl::{GroupName, ResctrlLimits, Schemata, schemata::PerDomain, tasks::Procs},
};
use support::{Process, allows, bandwidth, cache_bytes, for_each_stage, llc, members, wait_until};

const NOTHING: ResctrlLimits = ResctrlLimits { llc: None, memory_bandwidth: None };

#[test]
fn limits_are_rounded_written_read_back_and_given_back() {
    for_each_stage("limits_are_rounded_written_read_back_and_given_back", |stage| {
        let (node, process) = (stage.node(), Process::idle());
        let geo = process.container(&node, "geo");
        let before = geo.in_force().unwrap().limits;
        assert_eq!((before.llc.is_some(), before.memory_bandwidth.is_some()), {
            (node.info().cache.is_ok(), node.info().bandwidth.is_ok())
        });
        assert!(before.llc.is_none_or(|limit| limit == Limit::Max));
        let mut expected = before;
        if let Some(bytes) = cache_bytes(stage, &node) {
            expected.llc = geo.rounded(llc(bytes / 3.0)).unwrap().llc;
            let applied = geo.set_limits(llc(bytes / 3.0)).unwrap();
            assert_eq!((applied.limits, applied.shared_with.len()), (expected, 0), "{}", stage.name);
            assert!(allows(applied.limits.llc, bytes / 3.0));
        }
        if node.info().bandwidth.is_ok() {
            expected.memory_bandwidth = geo.rounded(bandwidth(25.5e9)).unwrap().memory_bandwidth;
            assert_eq!(geo.set_limits(bandwidth(25.5e9)).unwrap().limits, expected, "{}", stage.name);
            assert!(allows(expected.memory_bandwidth, 25.5e9));
        }
        assert_eq!(geo.in_force().unwrap().limits, expected);
        assert_eq!(geo.set_limits(NOTHING).unwrap().limits, expected, "nothing named, nothing changed");
        assert!(stage.group_of(process.id()).is_some(), "{}", stage.name);
        geo.restore().unwrap();
        assert_eq!((geo.in_force().unwrap().limits, stage.group_of(process.id())), (before, None));
        geo.restore().unwrap();
    });
}

#[test]
fn every_number_of_ways_and_every_step_is_accepted() {
    for_each_stage("every_number_of_ways_and_every_step_is_accepted", |stage| {
        let (node, process) = (stage.node(), Process::idle());
        let geo = process.container(&node, "geo");
        for part in (0..=20).map(|part| f64::from(part) / 20.0) {
            if let Some(bytes) = cache_bytes(stage, &node) {
                let applied = geo.set_limits(llc(bytes * part)).unwrap();
                assert!(allows(applied.limits.llc, bytes * part), "{} {part}: {applied:?}", stage.name);
            }
            if node.info().bandwidth.is_ok() {
                let applied = geo.set_limits(bandwidth(support::PEAK * part)).unwrap();
                let limit = applied.limits.memory_bandwidth;
                assert!(allows(limit, support::PEAK * part), "{} {part}: {applied:?}", stage.name);
            }
        }
        let max = ResctrlLimits {
            llc: node.info().cache.is_ok().then_some(Limit::Max),
            memory_bandwidth: node.info().bandwidth.is_ok().then_some(Limit::Max),
        };
        assert_eq!(geo.set_limits(max).unwrap().limits, max);
        assert_eq!(stage.group_of(process.id()), None, "who has no limit needs no group");
    });
}

#[test]
fn containers_get_ways_of_their_own_while_there_are_some() {
    for_each_stage("containers_get_ways_of_their_own_while_there_are_some", |stage| {
        let node = stage.node();
        let Some(bytes) = cache_bytes(stage, &node) else { return };
        let processes = [Process::idle(), Process::idle()];
        let containers =
            ["a", "b"].iter().zip(&processes).map(|(name, process)| process.container(&node, name));
        let containers: Vec<_> = containers.collect();
        let line = node.info().cache.unwrap().lines[0].clone();
        let masks = processes.iter().zip(&containers).map(|(process, container)| {
            container.set_limits(llc(bytes / 4.0)).unwrap();
            stage.group_of(process.id()).unwrap().schemata().unwrap().masks(&line).unwrap().clone()
        });
        let masks: Vec<_> = masks.collect();
        for (domain, mask) in &masks[0] {
            assert_eq!(mask & masks[1][domain], 0, "{}: {masks:?}", stage.name);
        }
        containers.iter().for_each(|container| container.restore().unwrap());
    });
}

#[test]
fn containers_share_by_need_when_the_hardware_has_too_few_groups() {
    for_each_stage("containers_share_by_need_when_the_hardware_has_too_few_groups", |stage| {
        let node = stage.node();
        let Some(bytes) = cache_bytes(stage, &node) else { return };
        let groups = usize::try_from(node.info().groups()).unwrap();
        // Two more than there are groups, if all are ours; the needs are three kinds in turn.
        let processes: Vec<_> = (0..groups + 2).map(|_| Process::idle()).collect();
        let asked = |index: usize| bytes * [0.2, 0.25, 0.5][index % 3];
        let containers = processes.iter().enumerate();
        let containers: Vec<_> =
            containers.map(|(i, process)| process.container(&node, &format!("c{i}"))).collect();
        for (index, container) in containers.iter().enumerate() {
            let applied = container.set_limits(llc(asked(index))).unwrap();
            assert!(allows(applied.limits.llc, asked(index)), "{}: {applied:?}", stage.name);
        }
        assert!(stage.ours().len() <= groups);
        let shared: Vec<_> =
            containers.iter().map(|container| container.set_limits(NOTHING).unwrap()).collect();
        assert!(shared.iter().any(|answer| !answer.shared_with.is_empty()), "the answer says so");
        for (index, answer) in shared.iter().enumerate() {
            assert!(allows(answer.limits.llc, asked(index)));
            let me = stage.group_of(processes[index].id());
            let same = |name: &CgroupPath| {
                let other: usize = name.as_str()[1..].parse().unwrap();
                stage.group_of(processes[other].id()) == me
            };
            assert!(me.is_some() && answer.shared_with.iter().all(same), "{}: {answer:?}", stage.name);
        }
        // Who leaves makes room: then everybody has a group alone again.
        containers[..3].iter().for_each(|container| container.restore().unwrap());
        if stage.emulated.is_some() {
            assert!(containers[3..].iter().all(|c| c.set_limits(NOTHING).unwrap().shared_with.is_empty()));
        }
        containers.iter().for_each(|container| container.restore().unwrap());
    });
}

#[test]
fn tasks_that_fork_while_they_are_moved_are_all_moved() {
    // 200 processes in about a second, each from a parent that may or may not have been moved yet.
    const FORKER: &str = "i=0; while [ $i -lt 100 ]; do ( sleep 60 & sleep 60 ) & i=$((i+1)); done; wait";
    for_each_stage("tasks_that_fork_while_they_are_moved_are_all_moved", |stage| {
        let node = stage.node();
        let limits = match cache_bytes(stage, &node) {
            Some(bytes) => llc(bytes / 2.0),
            None => bandwidth(support::PEAK / 2.0),
        };
        let process = Process::start("sh", &["-c", FORKER]);
        let forking = process.container(&node, "forking");
        wait_until("the first forks", || members(process.id()).len() > 5);
        forking.set_limits(limits).unwrap();
        let outside = || {
            let inside = stage.group_of(process.id()).unwrap().tasks().unwrap();
            members(process.id()).into_iter().filter(|pid| !inside.contains(pid)).count()
        };
        // Who is forked from now on begins in the group, and nobody is left outside.
        wait_until("the last fork", || members(process.id()).len() > 200);
        assert_eq!(outside(), 0, "{}", stage.name);
        forking.restore().unwrap();
        assert!(members(process.id()).into_iter().all(|pid| stage.group_of(pid).is_none()));
    });
}

#[test]
fn all_threads_of_a_process_are_moved_and_strays_are_fetched() {
    for_each_stage("all_threads_of_a_process_are_moved_and_strays_are_fetched", |stage| {
        let (node, process) = (stage.node(), Process::with_threads());
        let procs = Procs::new("/proc".into());
        let geo = process.container(&node, "geo");
        let limits = cache_bytes(stage, &node).map_or(bandwidth(1e9), |bytes| llc(bytes / 2.0));
        geo.set_limits(limits).unwrap();
        let group = stage.group_of(process.id()).unwrap();
        let inside = |thread: &u32| group.tasks().unwrap().contains(thread);
        assert!(process.threads().iter().all(inside), "{}", stage.name);
        // As if it had been started from outside the container.
        stage.groups().root().take(&procs, &|| Ok(vec![process.id()])).unwrap();
        assert!(!process.threads().iter().any(inside), "{}", stage.name);
        geo.gather().unwrap();
        assert!(process.threads().iter().all(inside), "{}", stage.name);
        geo.restore().unwrap();
    });
}

#[test]
fn a_container_in_somebody_elses_group_is_left_alone() {
    for_each_stage("a_container_in_somebody_elses_group_is_left_alone", |stage| {
        let (node, process) = (stage.node(), Process::idle());
        let theirs = stage.foreign("group");
        let procs = Procs::new("/proc".into());
        theirs.0.take(&procs, &*process.family()).unwrap();
        let limits = cache_bytes(stage, &node).map_or(bandwidth(1e9), |bytes| llc(bytes / 2.0));
        let geo = process.container(&node, "geo");
        let error = geo.set_limits(limits).unwrap_err();
        assert!(
            matches!(&error, KernelError::ForeignGroup { tasks, .. } if *tasks == [process.id()]),
            "{error}"
        );
        geo.restore().unwrap();
        node.sweep().unwrap();
        assert_eq!(stage.group_of(process.id()), Some(theirs.0.clone()), "{}", stage.name);
    });
}

#[test]
fn leftovers_of_an_earlier_run_are_swept() {
    for_each_stage("leftovers_of_an_earlier_run_are_swept", |stage| {
        let (leftover, theirs) = (GroupName::ours(4711), stage.foreign("swept"));
        let process = Process::idle();
        let procs = Procs::new("/proc".into());
        stage.groups().create(&leftover).unwrap().take(&procs, &*process.family()).unwrap();
        stage.node();
        assert!(stage.groups().find(&leftover).is_none());
        assert_eq!(stage.group_of(process.id()), None);
        assert!(
            stage
                .groups()
                .names()
                .unwrap()
                .contains(&theirs.0.folder().file_name().unwrap().to_str().unwrap().to_owned())
        );
    });
}

#[test]
fn refusals_carry_the_kernels_words_and_change_nothing() {
    for_each_stage("refusals_carry_the_kernels_words_and_change_nothing", |stage| {
        let (info, theirs) = (stage.node().info(), stage.foreign("refused"));
        let before = theirs.0.schemata().unwrap();
        let mut bad = Vec::new();
        if let Ok(cache) = &info.cache {
            let line = |mask| {
                let masks = before.masks(&cache.lines[0]).unwrap().keys().map(|domain| (*domain, mask));
                Schemata::default().with_masks(&cache.lines[0], masks.collect::<PerDomain<u64>>())
            };
            bad.push(line(cache.mask << 1 | 1));
            // AMD's caches take an empty mask, and the kernel says so.
            bad.extend((cache.fewest > 0).then(|| line(0)));
            bad.extend((!cache.sparse).then(|| line(0b101)));
        }
        if let (Ok(_), Some(values)) = (&info.bandwidth, before.bandwidths())
            && !stage.mount.mebibytes
        {
            let most = values.keys().map(|domain| (*domain, 1 << 20));
            bad.push(Schemata::default().with_bandwidths(most.collect()));
        }
        for lines in bad {
            let error = theirs.0.write_schemata(&lines).unwrap_err();
            assert!(
                matches!(&error, KernelError::ResctrlRefused { status, .. } if !status.is_empty()),
                "{error:?}"
            );
            assert_eq!(theirs.0.schemata().unwrap(), before, "{}: {lines}", stage.name);
        }
        let unknown = Schemata::parse("XYZ:0=1").unwrap();
        assert!(theirs.0.write_schemata(&unknown).unwrap_err().to_string().contains("XYZ"));
    });
}

#[test]
fn counters_belong_to_who_has_a_group_alone() {
    for_each_stage("counters_belong_to_who_has_a_group_alone", |stage| {
        let (node, process) = (stage.node(), Process::idle());
        let geo = process.container(&node, "geo");
        assert!(geo.counters().unwrap().total.is_err(), "no group yet");
        let limits = cache_bytes(stage, &node).map_or(bandwidth(1e9), |bytes| llc(bytes / 2.0));
        geo.set_limits(limits).unwrap();
        let counters = geo.counters().unwrap();
        match node.info().monitoring {
            Err(_) => assert!(counters.occupancy.is_err()),
            Ok(monitoring) => {
                let measured = |event: &str| monitoring.features.iter().any(|feature| feature == event);
                assert_eq!(counters.occupancy.is_ok(), measured("llc_occupancy"), "{}", stage.name);
                assert_eq!(counters.total.is_ok(), measured("mbm_total_bytes"), "{}", stage.name);
                assert_eq!(counters.local.is_ok(), measured("mbm_local_bytes"), "{}", stage.name);
            }
        }
        geo.restore().unwrap();
    });
}

#[test]
fn a_container_that_is_gone_leaves_no_group() {
    for_each_stage("a_container_that_is_gone_leaves_no_group", |stage| {
        let (node, mut process) = (stage.node(), Process::idle());
        let geo = process.container(&node, "geo");
        let limits = cache_bytes(stage, &node).map_or(bandwidth(1e9), |bytes| llc(bytes / 2.0));
        geo.set_limits(limits).unwrap();
        process.end();
        geo.restore().unwrap();
    });
}
