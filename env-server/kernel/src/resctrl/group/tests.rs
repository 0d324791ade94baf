//! Groups in folders of a test: names, what is read, and which bytes are left behind.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn mount() -> (TempDir, Groups) {
    let folder = tempfile::tempdir().unwrap();
    for reserved in RESERVED {
        fs::create_dir(folder.path().join(reserved)).unwrap();
    }
    fs::write(folder.path().join("info/last_cmd_status"), "ok\n").unwrap();
    fs::write(folder.path().join("schemata"), "L3:0=ff\n").unwrap();
    let groups = Groups::new(folder.path());
    (folder, groups)
}

fn name(text: &str) -> GroupName {
    GroupName::new(text).unwrap()
}

#[test]
fn a_name_cannot_leave_the_mount_nor_hide_what_is_there() {
    let bad = ["", ".", "..", "a/b", "/", "a b", "a\n", "é", ".x", "info", "mon_data", "mon_groups"];
    for text in bad {
        assert!(matches!(GroupName::new(text), Err(KernelError::InvalidGroup { .. })), "{text:?}");
    }
    assert!(GroupName::new(&"x".repeat(256)).is_err());
    assert_eq!(name("p0").as_str(), "p0");
}

#[test]
fn ballasts_groups_are_known_by_their_names() {
    assert_eq!(GroupName::ours(3).as_str(), "ballast-3");
    assert!(GroupName::is_ours("ballast-3"));
    for other in
        ["ballast", "ballast-", "ballast-x", "ballast-03", "ballast-+3", "ballast--3", "my-ballast-3"]
    {
        assert!(!GroupName::is_ours(other), "{other}");
    }
}

#[test]
fn a_group_is_made_found_listed_and_removed() {
    let (_folder, groups) = mount();
    assert!(groups.find(&name("p0")).is_none());
    let group = groups.create(&name("p0")).unwrap();
    assert_eq!(groups.find(&name("p0")), Some(group.clone()));
    assert_eq!(groups.names().unwrap(), ["p0"]);
    assert!(matches!(groups.create(&name("p0")), Err(KernelError::Io { operation: "create", .. })));
    group.remove().unwrap();
    group.remove().unwrap();
    assert!(groups.names().unwrap().is_empty());
}

#[test]
fn limits_are_written_whole_and_nothing_is_written_for_nothing() {
    let (folder, groups) = mount();
    let lines = Schemata::default().with_masks("L3", PerDomain::from([(0, 0xf), (4, 0xf0)]));
    assert_eq!(groups.root().write_schemata(&lines).unwrap(), lines);
    assert_eq!(fs::read_to_string(folder.path().join("schemata")).unwrap(), "L3:0=f;4=f0\n");
    assert_eq!(groups.root().write_schemata(&Schemata::default()).unwrap(), lines);
    fs::write(folder.path().join("schemata"), "L3\n").unwrap();
    assert!(matches!(groups.root().schemata(), Err(KernelError::Unexpected { .. })));
}

#[test]
fn a_refusal_carries_the_kernels_words() {
    let (folder, groups) = mount();
    fs::write(folder.path().join("info/last_cmd_status"), "mask f7 has non-consecutive 1-bits\n").unwrap();
    let gone = groups.group(&name("gone"));
    let error =
        gone.write_schemata(&Schemata::default().with_bandwidths(PerDomain::from([(0, 1)]))).unwrap_err();
    assert!(error.to_string().contains("non-consecutive") && error.to_string().contains("MB:0=1"), "{error}");
    assert!(error.is_gone());
    assert!(gone.mode().unwrap_err().is_gone());
    assert!(gone.counters().unwrap_err().is_gone());
}

#[test]
fn counters_are_read_for_each_domain() {
    let (folder, groups) = mount();
    for (domain, text) in [("mon_L3_00", "5\n"), ("mon_L3_12", "Unavailable\n")] {
        fs::create_dir(folder.path().join("mon_data").join(domain)).unwrap();
        fs::write(folder.path().join("mon_data").join(domain).join("llc_occupancy"), text).unwrap();
    }
    let counters = groups.root().counters().unwrap();
    let occupancy = counters.occupancy.unwrap();
    assert_eq!(occupancy[&0], Ok(5));
    assert!(occupancy[&12].clone().unwrap_err().contains("domain 12"));
    assert!(counters.total.unwrap_err().contains("mbm_total_bytes"));
    assert_eq!(groups.root().mode().unwrap(), "shareable", "an older kernel");
}

proptest! {
    #[test]
    fn an_accepted_name_is_one_normal_path_component(text in "(\\PC|[a-z./-]){0,12}") {
        if let Ok(name) = GroupName::new(&text) {
            let parts: Vec<_> = Path::new(name.as_str()).components().collect();
            prop_assert!(matches!(parts.as_slice(), [std::path::Component::Normal(_)]));
        }
    }

    #[test]
    fn odd_content_never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let (folder, groups) = mount();
        let domain = folder.path().join("mon_data/mon_L3_00");
        fs::create_dir(&domain).unwrap();
        for path in [folder.path().join("schemata"), folder.path().join("size"), domain.join("llc_occupancy")] {
            fs::write(path, &text).unwrap();
        }
        let root = groups.root();
        let _ = (root.schemata(), root.sizes(), root.counters());
    }
}
