//! Traffic of a disk: doses, limits, and that nothing stays of the file.
//!
//! On the disk of /var/tmp. Other programs use it too: a dose may be missed on a busy disk, and is tried again.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_api::{BytesPerSecond, Limit, ReadWrite};
use ballast_kernel::{DeviceNumber, DiskControl, DiskCounters, DiskLimits, DiskTraffic, disk};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    refusal::refused,
    shared::{number, pause, signal},
    support::{Ended, Running, Stage, assert_on_time, await_true},
};

/// By how much a dose may be off.
const TOLERANCE: f64 = 0.05;

/// How often a dose is tried on a busy disk.
const TRIES: usize = 4;

/// What the kernel counts and the report does not: requests that were under way at the end, and the file's own end.
const COUNTED_TOLERANCE: f64 = 0.05;

const UNLIMITED: DiskLimits = DiskLimits {
    bytes: ReadWrite { read: Limit::Max, write: Limit::Max },
    operations: ReadWrite { read: Limit::Max, write: Limit::Max },
};

/// A target, its disk, and a folder there.
struct Bench {
    stage: Stage,
    folder: TempDir,
    control: DiskControl,
}

impl Bench {
    /// `None`, after saying why, where this machine cannot do it.
    fn set(test: &str) -> Option<Self> {
        let stage = Stage::set(test)?;
        let skipped = |reason: &str| {
            eprintln!("SKIPPED {test}: {reason}");
            None
        };
        let Ok(folder) = tempfile::tempdir_in("/var/tmp") else { return skipped("there is no /var/tmp") };
        // What the program itself says, by refusing less than nothing.
        let asked = ["disk", "--intensity", "1B/s", "--target"];
        let directory = folder.path().to_str().unwrap().to_owned();
        let answer = stage.command_of(&asked, "100ms", &["--dir", &directory]).output().unwrap();
        let told = String::from_utf8_lossy(&answer.stderr);
        if !told.contains("less than one request") {
            return skipped(&told);
        }
        let number = DeviceNumber::from_raw(folder.path().metadata().unwrap().dev());
        let number = disk::device::whole_disk(Path::new("/sys/dev/block"), number).unwrap();
        let Some(control) = DiskControl::new(stage.tree.hierarchy(), stage.cgroup.path(), number) else {
            return skipped("no hierarchy has the block controller");
        };
        if let Err(error) = control.limits() {
            return skipped(&error.to_string());
        }
        disk::start_counting(stage.tree.hierarchy(), number).unwrap();
        Some(Self { stage, folder, control })
    }

    fn directory(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn options<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["--dir", self.directory()], more].concat()
    }

    fn start(&self, intensity: &str, duration: &str, more: &[&str]) -> Running {
        self.stage.start(&["disk", "--intensity", intensity, "--target"], duration, &self.options(more))
    }

    fn refused(&self, intensity: &str, more: &[&str], code: i32, told: &str) {
        let what = ["disk", "--intensity", intensity, "--target"];
        refused(&mut self.stage.command_of(&what, "1s", &self.options(more)), code, told);
    }

    /// Of written bytes, in bytes per second.
    fn limit_writes(&self, rate: f64) {
        let limit = Limit::At(BytesPerSecond::new(rate).unwrap());
        let bytes = ReadWrite { read: Limit::Max, write: limit };
        self.control.set_limits(&DiskLimits { bytes, ..UNLIMITED }).unwrap();
    }

    fn counters(&self) -> DiskCounters {
        let traffic = DiskTraffic::new(self.stage.tree.hierarchy(), self.stage.cgroup.path());
        traffic.counters().unwrap().get(&self.control.device()).copied().unwrap_or_default()
    }

    /// Gives the dose until it is as asked, and answers the report with what the kernel counted meanwhile. On a busy disk it
    /// may be less, never more.
    fn dose(&self, intensity: &str, requested: f64, more: &[&str]) -> (Value, ReadWrite<[f64; 2]>) {
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let before = self.counters();
            let Ended { code, report } = self.start(intensity, "3s", more).end();
            let after = self.counters();
            assert_eq!((code, &report["ending"]), (Some(0), &"completed".into()), "{report}");
            assert_on_time(&report);
            assert!((number(&report["requested"]) / requested - 1.0).abs() < 1e-9, "{report}");
            let achieved = number(&report["achieved"]) / requested;
            eprintln!("disk {intensity} {more:?}: {:.2} % of the dose", 100.0 * achieved);
            seen.push(achieved);
            assert!(achieved < 1.0 + TOLERANCE, "more than was asked: {report}");
            if achieved > 1.0 - TOLERANCE {
                return (report, counted(&before, &after));
            }
        }
        panic!("{intensity} was missed each time: {seen:?}");
    }

    /// Names in the folder, and what processes have open there.
    fn files(&self) -> BTreeSet<PathBuf> {
        // Of each thread: the first one of a process that the kernel holds is dead, and has nothing open.
        let threads = list("/proc").flat_map(|process| list(process.join("task")));
        let open =
            threads.flat_map(|thread| list(thread.join("fd"))).filter_map(|file| fs::read_link(file).ok());
        let there = open.filter(|file| file.parent() == Some(self.folder.path()));
        there.chain(list(self.folder.path())).collect()
    }

    fn assert_nothing_left(&self, pids: [u32; 3]) {
        self.stage.assert_nothing_left(pids);
        // The kernel closes a killed process' files after it has let go of its number's state.
        await_true("no file is left", || self.files().is_empty(), || format!("{:?}", self.files()));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Of a test that failed: what is stuck in a limit would hold its cgroup.
        let _ = self.control.set_limits(&UNLIMITED);
    }
}

/// What is in a folder; nothing where it has gone.
fn list(folder: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Bytes and operations.
#[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
fn counted(before: &DiskCounters, after: &DiskCounters) -> ReadWrite<[f64; 2]> {
    ReadWrite {
        read: [
            (after.bytes.read - before.bytes.read) as f64,
            (after.operations.read - before.operations.read) as f64,
        ],
        write: [
            (after.bytes.write - before.bytes.write) as f64,
            (after.operations.write - before.operations.write) as f64,
        ],
    }
}

fn assert_near(what: &str, value: f64, expected: f64) {
    eprintln!("  {what}: {value:.0}, expected {expected:.0}");
    assert!((value / expected - 1.0).abs() < COUNTED_TOLERANCE, "{what}: {value}, expected {expected}");
}

#[test]
fn bytes_per_second_are_written_and_charged_to_the_target() {
    let Some(bench) = Bench::set("disk-bytes") else { return };
    let (report, counted) = bench.dose("20MB/s", 20e6, &[]);
    assert_eq!(
        (&report["unit"], &report["details"]["block_bytes"]),
        (&"bytes_per_second".into(), &65_536.into())
    );
    assert_near("bytes the kernel counted", counted.write[0], 3.0 * number(&report["achieved"]));
    // Its program may have been read by the first: nothing that a dose would be.
    assert!(counted.read[0] < 0.1 * counted.write[0], "{counted:?}");
}

#[test]
fn operations_per_second_are_a_mix_of_reads_and_writes() {
    let Some(bench) = Bench::set("disk-iops") else { return };
    for pattern in ["random", "sequential"] {
        let (report, counted) = bench.dose("200iops", 200.0, &["--read-share", "70%", "--pattern", pattern]);
        assert_eq!(report["unit"], "operations_per_second");
        let made = 3.0 * number(&report["achieved"]);
        assert_near("reads", counted.read[1], 0.7 * made);
        assert_near("writes", counted.write[1], 0.3 * made);
        assert_near("bytes read", counted.read[0], 0.7 * made * 4096.0);
    }
}

#[test]
fn a_percentage_is_of_the_targets_limit_on_the_disk_of_the_file() {
    let Some(bench) = Bench::set("disk-percent") else { return };
    bench.refused("50%", &[], 2, "of what?");
    bench.limit_writes(10e6);
    let (report, _) = bench.dose("50%", 5e6, &[]);
    assert_eq!((&report["intensity_basis"], &report["target_limit"]), (&"target_limit".into(), &10e6.into()));
    bench.refused("50%", &["--read-share", "100%"], 2, "of what?");
}

#[test]
fn a_throttled_dose_ends_on_time_and_says_what_it_got() {
    let Some(bench) = Bench::set("disk-throttled") else { return };
    bench.limit_writes(2e6);
    let running = bench.start("20MB/s", "2s", &[]);
    let pids = running.pids();
    let Ended { code, report } = running.end();
    assert_eq!(code, Some(0), "{report}");
    assert_on_time(&report);
    let achieved = number(&report["achieved"]);
    eprintln!("limit 2 MB/s, dose 20 MB/s: achieved {achieved:.0} bytes/s");
    assert!((1e6..2.6e6).contains(&achieved), "{report}");
    bench.assert_nothing_left(pids);
}

#[test]
fn beside_a_target_its_limit_does_not_count() {
    let Some(bench) = Bench::set("disk-beside") else { return };
    bench.limit_writes(1e6);
    let before = bench.counters();
    let what = ["disk", "--intensity", "5MB/s", "--beside"];
    let Ended { code, report } = bench.stage.start(&what, "2s", &bench.options(&[])).end();
    assert_eq!((code, &report["place"]), (Some(0), &"beside".into()), "{report}");
    assert!(number(&report["achieved"]) > 3e6, "{report}");
    assert_eq!(bench.counters(), before, "it was charged to the target");
}

/// The kernel lets a killed process go only when its requests are done.
#[test]
fn a_worker_that_is_stuck_in_the_kernel_does_not_hold_up_the_report() {
    let Some(bench) = Bench::set("disk-stuck") else { return };
    // Four requests of 64 KiB: four seconds.
    bench.limit_writes(65_536.0);
    let running = bench.start("20MB/s", "1s", &[]);
    let pids = running.pids();
    let Ended { code, report } = running.end();
    eprintln!("stuck for four seconds: {report}");
    assert_eq!(code, Some(0), "{report}");
    assert_on_time(&report);
    bench.assert_nothing_left(pids);
}

#[test]
fn a_worker_that_is_stuck_for_long_is_left_to_restore() {
    let Some(bench) = Bench::set("disk-held") else { return };
    // Four requests of 1 MiB: four minutes.
    bench.limit_writes(16_384.0);
    let running = bench.start("20MB/s", "1s", &["--block", "1MiB"]);
    let pids = running.pids();
    let Ended { code, report } = running.end();
    assert_eq!(code, Some(8), "{report}");
    assert_on_time(&report);
    assert_eq!(bench.files().len(), 1, "the kernel holds it");
    bench.control.set_limits(&UNLIMITED).unwrap();
    assert_eq!(bench.stage.restore()["removed"][0]["kind"], "disk");
    bench.assert_nothing_left(pids);
}

#[test]
fn no_file_stays_whoever_is_killed() {
    let Some(bench) = Bench::set("disk-killed") else { return };
    for supervisor in [true, false] {
        let running = bench.start("5MB/s", "10m", &[]);
        let pids = running.pids();
        assert_eq!(bench.files().len(), 1, "one descriptor, and no name: {:?}", bench.files());
        assert_eq!(list(bench.folder.path()).count(), 0, "{:?}", bench.files());
        pause(Duration::from_millis(200));
        signal(if supervisor { pids[0] } else { pids[1] }, Signal::SIGKILL);
        bench.assert_nothing_left(pids);
        assert_eq!(running.end().code, if supervisor { None } else { Some(6) });
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let Some(bench) = Bench::set("disk-refused") else { return };
    for (more, code, told) in [
        (&["--block", "5000B"][..], 2, "in steps of 4KiB"),
        (&["--block", "2MiB"], 2, "4KiB to 1MiB"),
        (&["--file-size", "1TiB"], 2, "16MiB to 16GiB"),
        (&["--read-share", "101%"], 2, "0% to 100%"),
        (&["--queue", "65"], 2, "not in 1..=64"),
    ] {
        bench.refused("20MB/s", more, code, told);
    }
    bench.refused("20MB", &[], 2, "200iops");
    bench.refused("1B/s", &[], 9, "less than one request of 4 KiB");
    let elsewhere = |folder: &str, code, told: &str| {
        let what = ["disk", "--intensity", "1MB/s", "--target"];
        refused(&mut bench.stage.command_of(&what, "1s", &["--dir", folder]), code, told);
    };
    elsewhere("/proc", 9, "/proc is on no single disk");
    elsewhere("/var/tmp/ballast-none", 1, "No such file");
    elsewhere("/proc/self/comm", 9, "is no folder");
    assert!(!bench.stage.state_dir().exists(), "something was begun");
}
