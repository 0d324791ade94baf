//! Each rule of the machine, one by one, without a mount.

use proptest::prelude::*;

use super::*;

fn machine(flavour: &str) -> Machine {
    Machine::new(Hardware::flavour(flavour).unwrap())
}

impl Machine {
    fn put(&mut self, path: &str, text: &str) -> Result<(), Errno> {
        self.write(&split(path), text.as_bytes(), 1, 0)
    }

    fn show(&self, path: &str) -> String {
        self.read(&split(path)).unwrap()
    }

    fn make(&mut self, path: &str) -> Result<(), Errno> {
        self.mkdir(&split(path))
    }

    fn remove(&mut self, path: &str) -> Result<(), Errno> {
        self.rmdir(&split(path), 0)
    }

    /// Writes, expects EINVAL, and answers the reason.
    fn reason(&mut self, path: &str, text: &str) -> String {
        assert_eq!(self.put(path, text), Err(Errno::EINVAL), "{text:?}");
        self.show("info/last_cmd_status").trim_end().to_owned()
    }

    fn run(&mut self, tasks: &[(u32, u32)]) {
        let seen: Vec<_> =
            tasks.iter().map(|(task, origin)| Seen { task: *task, origin: *origin, started: 1 }).collect();
        self.observe(&seen);
    }
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

#[test]
fn a_fresh_mount_has_everything_in_the_root_group() {
    let mut intel = machine("intel");
    intel.run(&[(1, 0), (7, 1)]);
    assert_eq!(intel.show("schemata"), "MB:0=100;1=100\nL3:0=fffff;1=fffff\n");
    assert_eq!(intel.show("size"), "MB:0=100;1=100\nL3:0=20971520;1=20971520\n");
    assert_eq!((intel.show("tasks").as_str(), intel.show("mode").as_str()), ("1\n7\n", "shareable\n"));
    assert_eq!((intel.show("cpus").as_str(), intel.show("cpus_list").as_str()), ("ff\n", "0-7\n"));
    assert_eq!(intel.show("info/last_cmd_status"), "ok\n");
    assert_eq!(intel.show("info/L3/cbm_mask"), "fffff\n");
    assert_eq!(intel.show("info/L3_MON/mon_features"), "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n");
}

#[test]
fn older_kernels_pad_and_amd_has_slow_memory() {
    let amd = machine("amd");
    let padded = "SMBA:0=2048;1=2048;8=2048;9=2048\n  MB:0=2048;1=2048;8=2048;9=2048\n  L3:0=ffff;1=ffff;8=ffff;9=ffff\n";
    assert_eq!(amd.show("schemata"), padded);
    assert_eq!(amd.show("info/MB/delay_linear"), "0\n");
}

#[test]
fn every_listed_file_is_there_and_reads() {
    for flavour in crate::hardware::FLAVOURS {
        let mut machine = machine(flavour);
        machine.make("g").unwrap();
        let mut folders = vec![Vec::<String>::new()];
        while let Some(folder) = folders.pop() {
            let path: Vec<_> = folder.iter().map(String::as_str).collect();
            for (name, kind) in machine.list(&path).unwrap() {
                let child: Vec<_> = folder.iter().cloned().chain([name]).collect();
                let path: Vec<_> = child.iter().map(String::as_str).collect();
                assert_eq!(machine.kind(&path), Some(kind), "{flavour} {path:?}");
                if kind == Kind::Folder {
                    folders.push(child);
                } else {
                    machine.read(&path).unwrap();
                }
            }
        }
    }
}

#[test]
fn masks_that_the_hardware_cannot_hold_are_refused_with_the_reason() {
    let mut intel = machine("intel");
    for (mask, reason) in [
        ("f7", "non-consecutive"),
        ("0", "out of range"),
        ("100000", "out of range"),
        ("xyz", "Non-hex"),
        ("", "Non-hex"),
        ("-1", "Non-hex"),
    ] {
        let said = intel.reason("schemata", &format!("L3:0={mask}\n"));
        assert!(said.contains(reason), "{mask}: {said}");
    }
    assert!(machine("haswell").reason("schemata", "L3:0=1\n").contains("at least 2 bits"));
    machine("amd").put("schemata", "L3:0=f0f;1=0\n").unwrap();
    intel.put("schemata", "L3:1=0xff00;\n").unwrap();
    assert_eq!(intel.show("schemata").lines().last(), Some("L3:0=fffff;1=ff00"));
    assert_eq!(intel.show("info/last_cmd_status"), "ok\n");
}

#[test]
fn bandwidths_are_rounded_up_and_held_within_their_range() {
    let mut intel = machine("intel");
    intel.put("schemata", "MB:0=51;1=10\n").unwrap();
    assert_eq!(intel.show("schemata").lines().next(), Some("MB:0=60;1=10"));
    for (value, reason) in
        [("9", "out of range"), ("101", "out of range"), ("x", "Invalid"), ("-1", "Invalid")]
    {
        assert!(intel.reason("schemata", &format!("MB:0={value}\n")).contains(reason), "{value}");
    }
    let mut amd = machine("amd");
    amd.put("schemata", "MB:1=16\n").unwrap();
    assert!(amd.show("schemata").contains("MB:0=2048;1=  16;8=2048"));
    assert!(amd.reason("schemata", "MB:0=2049\n").contains("out of range"));
    let mut software = machine("intel-mbps");
    assert!(software.show("schemata").starts_with("MB:0=4294967295;"));
    software.put("schemata", "MB:0=1234\n").unwrap();
    assert!(software.show("schemata").starts_with("MB:0=1234;"));
}

#[test]
fn a_write_is_all_or_nothing() {
    let mut intel = machine("intel");
    let before = intel.show("schemata");
    assert!(intel.reason("schemata", "L3:0=f\nMB:0=5\n").contains("out of range"));
    assert!(intel.reason("schemata", "L3:0=f;0=f\n").contains("Duplicate domain 0"));
    assert!(intel.reason("schemata", "L3:0=f\nL4:0=f\n").contains("'L4'"));
    assert!(intel.reason("schemata", "L3\n").contains("Missing ':'"));
    assert!(intel.reason("schemata", "L3:\n").contains("Missing 'L3' value"));
    assert!(intel.reason("schemata", "L3:0\n").contains("Missing '='"));
    assert_eq!(intel.reason("schemata", "L3:2=f\n"), "ok", "an unknown domain has no reason");
    assert_eq!(intel.put("schemata", "L3:0=f"), Err(Errno::EINVAL), "no newline");
    assert_eq!(intel.put("schemata", &" ".repeat(5000)), Err(Errno::E2BIG));
    assert_eq!(intel.show("schemata"), before);
}

#[test]
fn groups_are_as_many_as_classes_of_service() {
    for (flavour, groups) in [
        ("intel", 7),
        ("intel-cdp", 3),
        ("intel-l2", 3),
        ("intel-both", 7),
        ("intel-cdpl2", 3),
        ("haswell", 3),
        ("amd", 15),
    ] {
        let mut machine = machine(flavour);
        for number in 0..groups {
            machine.make(&format!("g{number}")).unwrap();
        }
        assert_eq!(machine.make("one-more"), Err(Errno::ENOSPC), "{flavour}");
        assert!(machine.show("info/last_cmd_status").contains("Out of CLOSIDs"));
        machine.remove("g0").unwrap();
        machine.make("one-more").unwrap();
    }
}

#[test]
fn a_stopped_machine_refuses_changes_and_shows_what_it_holds() {
    let mut intel = machine("intel");
    intel.freeze_after(2);
    intel.make("g").unwrap();
    assert_eq!(intel.put("g/schemata", "L3:0=0\n"), Err(Errno::EINVAL), "counts as well");
    let text = intel.show("g/schemata");
    assert_eq!(intel.put("g/schemata", "L3:0=f\n"), Err(Errno::EIO));
    assert_eq!((intel.make("h"), intel.remove("g")), (Err(Errno::EIO), Err(Errno::EIO)));
    assert_eq!(intel.show("g/schemata"), text);
    assert_eq!((intel.thaw(), intel.thaw()), (3, 0));
    intel.remove("g").unwrap();
}

#[test]
fn monitoring_ids_run_out_as_well() {
    let mut haswell = machine("haswell");
    for number in 0..15 {
        haswell.make(&format!("mon_groups/m{number}")).unwrap();
    }
    assert_eq!(haswell.make("mon_groups/m15"), Err(Errno::ENOSPC));
    assert_eq!(haswell.make("g"), Err(Errno::ENOSPC));
    assert!(haswell.show("info/last_cmd_status").contains("Out of RMIDs"));
}

#[test]
fn folders_are_made_and_removed_only_where_groups_are() {
    let mut intel = machine("intel");
    intel.make("g").unwrap();
    for (path, errno) in [
        ("g", Errno::EEXIST),
        ("info", Errno::EEXIST),
        ("mon_data", Errno::EEXIST),
        ("mon_groups", Errno::EEXIST),
        ("schemata", Errno::EEXIST),
        ("g/x", Errno::EPERM),
        ("info/x", Errno::EPERM),
        ("mon_data/x", Errno::EPERM),
        ("mon_groups/mon_groups", Errno::EPERM),
        ("a\nb", Errno::EINVAL),
        ("none/x", Errno::ENOENT),
    ] {
        assert_eq!(intel.make(path), Err(errno), "{path:?}");
    }
    for path in ["", "info", "mon_data", "g/mon_groups", "info/L3"] {
        assert_eq!(intel.remove(path), Err(Errno::EPERM), "{path}");
    }
    assert_eq!(intel.remove("none"), Err(Errno::ENOENT));
    assert_eq!(machine("intel-l2").make("mon_groups/x"), Err(Errno::ENOENT), "nothing is measured there");
}

#[test]
fn removing_a_group_gives_its_tasks_and_processors_back() {
    let mut intel = machine("intel");
    intel.run(&[(1, 0), (2, 1), (3, 1)]);
    intel.make("g").unwrap();
    intel.make("g/mon_groups/m").unwrap();
    intel.put("g/tasks", "2,3\n").unwrap();
    intel.put("g/mon_groups/m/tasks", "3").unwrap();
    intel.put("g/cpus_list", "1-2\n").unwrap();
    intel.put("g/mon_groups/m/cpus", "2\n").unwrap();
    assert_eq!(
        (intel.show("g/tasks").as_str(), intel.show("g/mon_groups/m/tasks").as_str()),
        ("2\n3\n", "3\n")
    );
    assert_eq!((intel.show("cpus_list").as_str(), intel.show("g/cpus").as_str()), ("0,3-7\n", "06\n"));
    assert_eq!(intel.show("tasks"), "1\n");
    intel.remove("g/mon_groups/m").unwrap();
    assert_eq!(intel.show("g/tasks"), "2\n3\n");
    intel.remove("g").unwrap();
    assert_eq!((intel.show("tasks").as_str(), intel.show("cpus_list").as_str()), ("1\n2\n3\n", "0-7\n"));
}

#[test]
fn tasks_are_moved_one_by_one_until_one_fails() {
    let mut intel = machine("intel");
    intel.run(&[(1, 0), (2, 1), (3, 1)]);
    intel.make("g").unwrap();
    intel.make("h").unwrap();
    assert_eq!(intel.put("g/tasks", "2,99,3\n"), Err(Errno::ESRCH));
    assert!(intel.show("info/last_cmd_status").starts_with("No task 99"));
    assert_eq!(intel.show("g/tasks"), "2\n");
    assert!(intel.reason("g/tasks", "x\n").contains("parsing error"));
    assert!(intel.reason("g/tasks", "-5\n").contains("Invalid pid"));
    intel.put("g/tasks", "0\n").unwrap();
    assert_eq!(intel.show("g/tasks"), "1\n2\n", "0 is the writer");
    intel.make("h/mon_groups/m").unwrap();
    assert!(intel.reason("h/mon_groups/m/tasks", "2\n").contains("different control group"));
    intel.put("h/tasks", "2").unwrap();
    assert_eq!((intel.show("g/tasks").as_str(), intel.show("h/tasks").as_str()), ("1\n", "2\n"));
}

#[test]
fn processors_belong_to_one_group() {
    let mut intel = machine("intel");
    intel.make("g").unwrap();
    intel.make("h").unwrap();
    intel.put("g/cpus", "f\n").unwrap();
    intel.put("h/cpus_list", "3-4\n").unwrap();
    let lists = ["", "g/", "h/"].map(|group| intel.show(&format!("{group}cpus_list")));
    assert_eq!(lists, ["5-7\n", "0-2\n", "3-4\n"]);
    assert!(intel.reason("cpus_list", "6\n").contains("drop CPUs"));
    assert!(intel.reason("g/cpus_list", "8\n").contains("online"));
    assert!(intel.reason("g/cpus", "zz\n").contains("Bad CPU"));
    intel.make("h/mon_groups/m").unwrap();
    assert!(intel.reason("h/mon_groups/m/cpus_list", "0\n").contains("belong to parent"));
    intel.put("h/cpus_list", "\n").unwrap();
    assert_eq!(intel.show("cpus_list"), "3-7\n");
}

/// Example 4 of the documentation, step by step, on an L2.
#[test]
fn an_exclusive_group_shares_with_nobody() {
    let mut l2 = machine("intel-l2");
    l2.make("p0").unwrap();
    l2.put("p0/schemata", "L2:0=3;2=3;4=3;6=3\n").unwrap();
    assert!(l2.reason("p0/mode", "exclusive\n").contains("overlaps"));
    l2.put("schemata", "L2:0=fc;2=fc;4=fc;6=fc\n").unwrap();
    l2.put("p0/mode", "exclusive\n").unwrap();
    assert_eq!((l2.show("p0/mode").as_str(), l2.show("p0/size").as_str()), {
        ("exclusive\n", "L2:0=524288;2=524288;4=524288;6=524288\n")
    });
    l2.make("p1").unwrap();
    assert_eq!(l2.show("p1/schemata"), "L2:0=fc;2=fc;4=fc;6=fc\n");
    assert_eq!(l2.show("info/L2/bit_usage"), "0=SSSSSSEE;2=SSSSSSEE;4=SSSSSSEE;6=SSSSSSEE\n");
    assert!(l2.reason("p1/schemata", "L2:0=1\n").contains("exclusive group"));
    assert!(l2.reason("p0/schemata", "L2:0=7\n").contains("other group"));
    assert!(l2.reason("p0/mode", "pseudo-locksetup\n").contains("unsupported mode"));
    l2.put("p0/mode", "shareable\n").unwrap();
    l2.put("p1/schemata", "L2:0=1\n").unwrap();
}

#[test]
fn nothing_is_left_for_a_new_group_when_all_ways_are_exclusive() {
    let mut l2 = machine("intel-l2");
    l2.make("p0").unwrap();
    l2.put("schemata", "L2:0=1\n").unwrap();
    l2.put("p0/schemata", "L2:0=fe;2=1;4=1;6=1\n").unwrap();
    l2.put("schemata", "L2:2=fe;4=fe;6=fe\n").unwrap();
    l2.put("p0/mode", "exclusive\n").unwrap();
    l2.put("mode", "exclusive\n").unwrap();
    assert_eq!(l2.make("p1"), Err(Errno::ENOSPC));
    assert!(l2.show("info/last_cmd_status").contains("No space on L2:0"));
}

#[test]
fn ways_of_devices_are_never_exclusive_and_code_shares_the_cache_with_data() {
    let mut cdp = machine("intel-cdp");
    cdp.put("schemata", "L3DATA:0=f0000;1=f0000\nL3CODE:0=f0000;1=f0000\n").unwrap();
    cdp.make("g").unwrap();
    cdp.put("g/schemata", "L3DATA:0=f;1=f\nL3CODE:0=ff00;1=ff00\n").unwrap();
    cdp.put("g/mode", "exclusive\n").unwrap();
    assert!(cdp.reason("schemata", "L3DATA:0=100\n").contains("exclusive group"), "code of g");
    assert!(cdp.reason("mode", "exclusive\n").contains("overlaps"), "devices");
    assert!(cdp.show("info/L3CODE/bit_usage").starts_with("0=XXSSEEEEEEEE00000000;"));
}

#[test]
fn counters_are_what_was_set_and_a_control_group_counts_its_monitors() {
    let mut intel = machine("intel");
    intel.make("g").unwrap();
    intel.make("g/mon_groups/m").unwrap();
    let place =
        |monitor: Option<&str>| Place { control: "g".to_owned(), monitor: monitor.map(str::to_owned) };
    assert!(intel.set_counter(&place(None), 1, Event::Total, Counter::Value(5)));
    assert!(intel.set_counter(&place(Some("m")), 1, Event::Total, Counter::Value(7)));
    assert_eq!(intel.show("g/mon_data/mon_L3_01/mbm_total_bytes"), "12\n");
    assert_eq!(intel.show("g/mon_groups/m/mon_data/mon_L3_01/mbm_total_bytes"), "7\n");
    assert!(intel.set_counter(&place(Some("m")), 1, Event::Total, Counter::Unavailable));
    assert_eq!(intel.show("g/mon_data/mon_L3_01/mbm_total_bytes"), "Unavailable\n");
    assert!(!intel.set_counter(&place(None), 2, Event::Total, Counter::Error));
    assert!(!intel.set_counter(&place(Some("none")), 0, Event::Total, Counter::Error));
    assert!(!machine("haswell").set_counter(&Place::default(), 0, Event::Local, Counter::Error));
}

#[test]
fn the_threshold_is_kept() {
    let mut intel = machine("intel");
    intel.put("info/L3_MON/max_threshold_occupancy", "1000\n").unwrap();
    assert_eq!(intel.show("info/L3_MON/max_threshold_occupancy"), "1000\n");
    assert_eq!(intel.put("info/L3_MON/max_threshold_occupancy", "x"), Err(Errno::EINVAL));
    assert_eq!(intel.put("size", "x"), Err(Errno::ENOENT));
}

proptest! {
    /// Whatever is written, the limits stay within the hardware's, and a refusal changes nothing.
    #[test]
    fn limits_stay_within_the_hardware(
        flavour in proptest::sample::select(crate::hardware::FLAVOURS.to_vec()),
        text in "(L3|L2|MB|L3CODE|:|=|;|[0-9a-f]|0=|\\n| |\\PC){0,12}\\n",
    ) {
        let mut machine = machine(flavour);
        let before = machine.show("schemata");
        let written = machine.put("schemata", &text);
        if written.is_err() && !flavour.ends_with("mbps") {
            prop_assert_eq!(machine.show("schemata"), before);
        }
        for cache in &machine.hardware.caches {
            for domain in &cache.domains {
                let ways = machine.groups[ROOT].ways(cache, *domain);
                prop_assert!(ways & !cache.mask() == 0 && ways.count_ones() >= cache.fewest);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        file in proptest::sample::select(vec!["schemata", "tasks", "cpus", "cpus_list", "mode", "info/L3_MON/max_threshold_occupancy"]),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut machine = machine("amd");
        let _ = machine.write(&split(file), &bytes, 1, 0);
    }
}
