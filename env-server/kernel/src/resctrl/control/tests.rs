//! The facade on plain folders: what is refused before anything is written. What the kernel does with tasks and groups is
//! tested on the emulator (package ballast-resctrl-emulator) and on real hardware.

use std::fs;

use ballast_api::Resource;
use tempfile::TempDir;

use super::*;

struct Fake {
    folder: TempDir,
    mebibytes: bool,
}

impl Fake {
    fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self { folder: tempfile::tempdir().unwrap(), mebibytes: false };
        fs::create_dir(fake.folder.path().join("info")).unwrap();
        for (path, text) in files {
            fake.put(path, text);
        }
        fake
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn open(&self, peak: Option<f64>) -> Result<ResctrlNode, KernelError> {
        let mount = ResctrlMount { point: self.folder.path().to_owned(), mebibytes: self.mebibytes };
        ResctrlNode::open(&mount, self.folder.path().join("proc"), peak.map(BytesPerSecond::saturating))
    }
}

const INTEL: [(&str, &str); 11] = [
    ("info/L3/cbm_mask", "ff"),
    ("info/L3/min_cbm_bits", "2"),
    ("info/L3/num_closids", "4"),
    ("info/MB/bandwidth_gran", "10"),
    ("info/MB/delay_linear", "1"),
    ("info/MB/min_bandwidth", "10"),
    ("info/MB/num_closids", "4"),
    ("schemata", "L3:0=ff;4=ff\nMB:0=100;4=100\n"),
    ("size", "L3:0=800;4=1600\nMB:0=100;4=100\n"),
    ("mode", "shareable"),
    ("tasks", "1\n"),
];

fn container(node: &ResctrlNode, pids: &[u32]) -> ResctrlControl {
    let pids = pids.to_vec();
    node.container(CgroupPath::new("geo").unwrap(), Some(1), Arc::new(move || Ok(pids.clone())))
}

fn llc(bytes: f64) -> ResctrlLimits {
    ResctrlLimits { llc: Some(Limit::At(Bytes::new(bytes).unwrap())), memory_bandwidth: None }
}

fn bandwidth(bytes: f64) -> ResctrlLimits {
    ResctrlLimits { llc: None, memory_bandwidth: Some(Limit::At(BytesPerSecond::new(bytes).unwrap())) }
}

const UNLIMITED: ResctrlLimits = ResctrlLimits { llc: Some(Limit::Max), memory_bandwidth: Some(Limit::Max) };

#[test]
fn a_container_without_a_group_is_unlimited_and_limits_are_rounded_up() {
    let fake = Fake::new(&INTEL);
    let geo = container(&fake.open(Some(100e9)).unwrap(), &[]);
    assert_eq!(geo.in_force().unwrap().limits, UNLIMITED);
    // A way of both domains holds 100 + 200 bytes.
    assert_eq!(geo.rounded(llc(601.0)).unwrap().llc, llc(900.0).llc);
    assert_eq!(geo.rounded(llc(900.0)).unwrap().llc, llc(900.0).llc);
    assert_eq!(geo.rounded(llc(1.0)).unwrap().llc, llc(600.0).llc, "min_cbm_bits");
    assert_eq!(geo.rounded(llc(2399.0)).unwrap().llc, Some(Limit::Max));
    assert_eq!(geo.rounded(bandwidth(11e9)).unwrap().memory_bandwidth, bandwidth(20e9).memory_bandwidth);
    assert_eq!(geo.rounded(UNLIMITED).unwrap(), UNLIMITED);
    geo.restore().unwrap();
    assert!(geo.set_limits(UNLIMITED).unwrap().shared_with.is_empty());
    assert_eq!(fs::read_dir(fake.folder.path()).unwrap().count(), 5, "nothing was made");
}

#[test]
fn what_the_machine_cannot_limit_is_refused_with_the_reason() {
    let refusal = |fake: &Fake, limits| {
        let node = fake.open(None).unwrap();
        match container(&node, &[]).set_limits(limits).unwrap_err() {
            KernelError::LimitUnavailable { resource, reason } => (resource, reason),
            other => panic!("{other}"),
        }
    };
    let (resource, reason) = refusal(&Fake::new(&INTEL), bandwidth(1e9));
    assert!(resource == Resource::MemoryBandwidth && reason.contains("peak"), "{reason}");
    let no_limit = container(&Fake::new(&INTEL).open(None).unwrap(), &[]).set_limits(UNLIMITED).unwrap();
    assert_eq!(no_limit.limits, ResctrlLimits { memory_bandwidth: None, ..UNLIMITED }, "nothing to do");
    let bare = Fake::new(&[]);
    assert!(refusal(&bare, bandwidth(1e9)).1.contains("info/MB"));
    assert!(refusal(&bare, llc(1.0)).1.contains("info/L3"));
    let unknown = ResctrlLimits { llc: None, memory_bandwidth: None };
    assert_eq!(container(&bare.open(None).unwrap(), &[]).in_force().unwrap().limits, unknown);
    let sizeless = Fake::new(&INTEL);
    sizeless.put("size", "L3:0=0;4=0\n");
    assert!(refusal(&sizeless, llc(1.0)).1.contains("bytes"));
}

#[test]
fn tasks_in_somebody_elses_group_are_left_alone() {
    for place in ["other", "mon_groups/theirs"] {
        let fake = Fake::new(&INTEL);
        fake.put("proc/7/task/8/stat", "");
        for (file, text) in [("tasks", "3\n8\n"), ("schemata", "L3:0=ff;4=ff\n"), ("mode", "shareable")] {
            fake.put(&format!("{place}/{file}"), text);
        }
        let error = container(&fake.open(None).unwrap(), &[7]).set_limits(llc(600.0)).unwrap_err();
        assert!(matches!(&error, KernelError::ForeignGroup { tasks, .. } if *tasks == [8]), "{error}");
        assert!(error.to_string().contains(place), "{error}");
        assert!(!fake.folder.path().join("ballast-0").exists());
    }
}

#[test]
fn leftovers_are_removed_and_nobody_elses_groups() {
    let fake = Fake::new(&INTEL);
    for name in ["ballast-0", "ballast-17", "ballast-x", "theirs"] {
        fs::create_dir(fake.folder.path().join(name)).unwrap();
    }
    let node = fake.open(None).unwrap();
    assert_eq!(node.sweep().unwrap(), Vec::<String>::new(), "opening swept already");
    let left = |name: &str| fake.folder.path().join(name).exists();
    assert!(!left("ballast-0") && !left("ballast-17") && left("ballast-x") && left("theirs"));
}

#[test]
fn a_leftover_that_stays_keeps_no_other() {
    let fake = Fake::new(&INTEL);
    // A folder that is not empty is refused, as no group is.
    fake.put("ballast-0/mode", "shareable");
    fs::create_dir(fake.folder.path().join("ballast-1")).unwrap();
    let error = fake.open(None).unwrap_err();
    assert!(error.to_string().contains("ballast-0"), "{error}");
    assert!(!fake.folder.path().join("ballast-1").exists());
}

#[test]
fn one_machine_has_one_owner() {
    let fake = Fake::new(&INTEL);
    let first = fake.open(None).unwrap();
    let geo = container(&first, &[]);
    drop(first);
    let refused = fake.open(None).unwrap_err();
    assert!(matches!(&refused, KernelError::ResctrlInUse { .. }), "{refused}: a control is still there");
    drop(geo);
    fake.open(None).unwrap();
}

#[test]
fn what_is_not_measured_has_a_reason() {
    let node = Fake::new(&INTEL).open(None).unwrap();
    assert!(container(&node, &[]).counters().unwrap().total.unwrap_err().contains("L3_MON"));
}

#[test]
fn an_odd_machine_is_an_error_and_no_panic() {
    for (file, text) in
        [("schemata", "L3"), ("info/L3/cbm_mask", "0"), ("info/MB/min_bandwidth", "-1"), ("tasks", "x")]
    {
        let fake = Fake::new(&INTEL);
        fake.put(file, text);
        let opened = fake.open(None);
        let refused = opened.and_then(|node| container(&node, &[1]).set_limits(llc(600.0)));
        assert!(refused.is_err(), "{file}");
    }
}
