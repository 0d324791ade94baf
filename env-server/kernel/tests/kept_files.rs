//! Control files that stay open, on the real kernel: what is told when their cgroup goes, and how many are open. One test,
//! for it changes how many files this process may have open. Needs root.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;

use ballast_api::{CgroupVersion, Cores, Limit};
use ballast_kernel::{Cgroup, CpuControl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::Scratch;

const GROUPS: usize = 20;
/// The descriptors allowed while [`GROUPS`] are read: too few to keep all of them.
const ALLOWED: u64 = 64;

#[test]
fn control_files_stay_open_within_bounds_and_never_outlive_their_cgroup() {
    let test = "control_files_stay_open_within_bounds";
    let Some(scratch) = Scratch::new(test) else { return };
    made_again(&scratch);
    within_bounds(&scratch);
}

fn made_again(scratch: &Scratch) {
    let group = scratch.child("again");
    let control = scratch.cpu(&group);
    let fifth = Limit::At(Cores::new(0.2).unwrap());
    control.set_limit(fifth).unwrap();
    assert_eq!((control.limit().unwrap(), open(&group)), (fifth, files_of_a_limit(scratch)));
    // What another one writes is read: nothing is remembered but where to read.
    scratch.cpu(&group).set_limit(Limit::Max).unwrap();
    assert_eq!(control.limit().unwrap(), Limit::Max);
    control.set_limit(fifth).unwrap();
    assert_eq!(scratch.cpu(&group).limit().unwrap(), fifth);
    group.remove().unwrap();
    let (read, written) = (control.limit().unwrap_err(), control.set_limit(Limit::Max).unwrap_err());
    assert!(read.is_gone() && written.is_gone(), "{read}; {written}");
    let later = scratch.child("again");
    assert_eq!(control.limit().unwrap(), Limit::Max, "the later one has its own limit");
    later.remove().unwrap();
}

fn within_bounds(scratch: &Scratch) {
    let before = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, ALLOWED, before.1).unwrap();
    let groups: Vec<_> = (0..GROUPS).map(|index| scratch.child(&format!("g{index}"))).collect();
    let controls: Vec<CpuControl> = groups.iter().map(|group| scratch.cpu(group)).collect();
    for round in 0..3 {
        assert!(controls.iter().all(|control| control.limit().unwrap() == Limit::Max), "round {round}");
        let kept = open(&scratch.parent);
        assert!((1..=usize::try_from(ALLOWED / 2).unwrap()).contains(&kept), "{kept}");
    }
    drop(controls);
    assert_eq!(open(&scratch.parent), 0);
    setrlimit(Resource::RLIMIT_NOFILE, before.0, before.1).unwrap();
}

/// How many files of a cgroup, and of those below it, this process has open.
fn open(cgroup: &Cgroup) -> usize {
    let below = format!("{}/", cgroup.path());
    let targets =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains(&below)).count()
}

/// Quota, period and, where the kernel has it, burst.
fn files_of_a_limit(scratch: &Scratch) -> usize {
    let hierarchy = scratch.tree.hierarchy();
    let (always, burst) = match hierarchy.version() {
        CgroupVersion::V2 => (1, "cpu.max.burst"),
        _ => (2, "cpu.cfs_burst_us"),
    };
    always + usize::from(hierarchy.cpu_folder(scratch.parent.path()).join(burst).exists())
}
