//! Disk limits against a real disk: that of the folder for temporary files. Needs root.
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_api::{BytesPerSecond, Limit, OperationsPerSecond, ReadWrite};
use ballast_kernel::{
    Cgroup, DeviceNumber, DiskControl, DiskCounters, DiskLimits, DiskTraffic, KernelError,
    disk::{self, device},
};
use support::{Process, Scratch, now, sleep};

/// Large enough for seconds of traffic at the limits of these tests.
const FILE_MIB: u64 = 160;

/// How far from its limit a container may be.
const TOLERANCE: f64 = 0.05;

const UNLIMITED: DiskLimits = DiskLimits {
    bytes: ReadWrite { read: Limit::Max, write: Limit::Max },
    operations: ReadWrite { read: Limit::Max, write: Limit::Max },
};

/// A cgroup with a disk, and a file there.
struct Bench {
    scratch: Scratch,
    group: Cgroup,
    control: DiskControl,
    file: tempfile::NamedTempFile,
}

impl Bench {
    /// Absent, with the reason on stderr, where this machine cannot run the test.
    fn new(test: &str) -> Option<Self> {
        let skipped = |reason: String| {
            eprintln!("SKIPPED {test}: {reason}");
            None
        };
        let scratch = Scratch::new(test)?;
        let group = scratch.child("busy");
        let file = tempfile::NamedTempFile::new().unwrap();
        // A file with holes would be read without the disk.
        (0..FILE_MIB).for_each(|_| file.as_file().write_all(&[7; 1 << 20]).unwrap());
        file.as_file().sync_all().unwrap();
        let partition = DeviceNumber::from_raw(file.as_file().metadata().unwrap().dev());
        let disk = match device::whole_disk(Path::new("/sys/dev/block"), partition) {
            Ok(disk) => disk,
            Err(error) => return skipped(format!("temporary files are on no disk: {error}")),
        };
        let Some(control) = DiskControl::new(scratch.tree.hierarchy(), group.path(), disk) else {
            return skipped("no cgroup hierarchy has the block controller".to_owned());
        };
        if let Err(error) = control.limits() {
            return skipped(error.to_string());
        }
        disk::start_counting(scratch.tree.hierarchy(), disk).unwrap();
        Some(Self { scratch, group, control, file })
    }

    fn counters(&self) -> DiskCounters {
        let disks = DiskTraffic::new(self.scratch.tree.hierarchy(), self.group.path()).counters().unwrap();
        disks.get(&self.control.device()).copied().unwrap_or_default()
    }

    /// Copies blocks from or to the file, past the page cache, in the cgroup, until it is dropped.
    fn traffic(&self, direction: &str, block_kib: u64) -> Process {
        let file = self.file.path().display();
        let (from, to, flag) = match direction {
            "read" => (file.to_string(), "/dev/null".to_owned(), "iflag=direct"),
            _ => ("/dev/zero".to_owned(), file.to_string(), "oflag=direct"),
        };
        let count = (FILE_MIB << 10) / block_kib;
        // It waits for a line, so that it is in the cgroup before its first request.
        let script =
            format!("read go; exec dd if={from} of={to} bs={block_kib}k count={count} conv=notrunc {flag}");
        let process = Process::waiting("sh", &["-c", &script]);
        self.group.attach(process.0.id()).unwrap();
        process
    }

    /// Bytes per second of `traffic` from its beginning to its end, which must be a good one.
    fn rate_of_all(&self, traffic: Process) -> f64 {
        let before = self.counters();
        let (mut process, began) = (traffic.go(), now());
        let ended = process.0.wait().unwrap();
        let elapsed = began.elapsed().as_secs_f64();
        assert!(ended.success(), "{ended}");
        let read = self.counters().bytes.read - before.bytes.read;
        assert!(read >= FILE_MIB << 20, "{read} bytes were read of the disk");
        #[expect(clippy::cast_precision_loss, reason = "bytes of a file")]
        let rate = read as f64 / elapsed;
        rate
    }

    /// The files of the kernel that the limits of the cgroup are in, to the byte.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let (_, root) = self.scratch.tree.hierarchy().disk_root().unwrap();
        let files = fs::read_dir(root.join(self.group.path())).unwrap().map(|file| file.unwrap().path());
        let is_limit = |file: &PathBuf| {
            let name = file.file_name().unwrap().to_string_lossy();
            name == "io.max" || name.starts_with("blkio.throttle.") && name.ends_with("_device")
        };
        files.filter(is_limit).map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
    }

    /// What is counted per second of `traffic`, once its first second is over: the kernel lets the first requests through
    /// and makes later ones wait.
    fn rates(&self, traffic: Process) -> DiskRates {
        let process = traffic.go();
        sleep(Duration::from_secs(1));
        let (started, before) = (now(), self.counters());
        sleep(Duration::from_secs(5));
        let (elapsed, after) = (started.elapsed().as_secs_f64(), self.counters());
        drop(process);
        #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
        let rate = |before: u64, after: u64| (after - before) as f64 / elapsed;
        DiskRates {
            read: rate(before.bytes.read, after.bytes.read),
            write: rate(before.bytes.write, after.bytes.write),
            reads: rate(before.operations.read, after.operations.read),
        }
    }
}

struct DiskRates {
    read: f64,
    write: f64,
    reads: f64,
}

fn bytes(rate: f64) -> Limit<BytesPerSecond> {
    Limit::At(BytesPerSecond::new(rate).unwrap())
}

fn operations(rate: f64) -> Limit<OperationsPerSecond> {
    Limit::At(OperationsPerSecond::new(rate).unwrap())
}

/// What is achieved of `asked`, within [`TOLERANCE`]. On a loaded machine it may be less for a while, never more: as often as
/// it takes, at most four times.
fn achieved(asked: f64, measure: impl Fn() -> f64) -> f64 {
    let mut seen = Vec::new();
    for _ in 0..4 {
        let rate = measure();
        seen.push(rate);
        assert!(rate <= asked * (1.0 + TOLERANCE), "more than the {asked} asked for: {seen:?}");
        if rate >= asked * (1.0 - TOLERANCE) {
            return rate;
        }
    }
    panic!("less than the {asked} asked for: {seen:?}");
}

#[test]
fn a_writer_and_a_reader_get_their_bandwidth_within_five_percent() {
    let test = "a_writer_and_a_reader_get_their_bandwidth_within_five_percent";
    let Some(bench) = Bench::new(test) else { return };
    let asked = DiskLimits { bytes: ReadWrite { read: bytes(20e6), write: bytes(10e6) }, ..UNLIMITED };
    let in_force = bench.control.set_limits(&asked).unwrap();
    assert_eq!(in_force, asked);
    let written = achieved(10e6, || bench.rates(bench.traffic("write", 64)).write);
    let read = achieved(20e6, || bench.rates(bench.traffic("read", 64)).read);
    println!(
        "{test}: asked for 10 MB/s written, got {written:.0} bytes/s; 20 MB/s read, got {read:.0} bytes/s"
    );
    assert_eq!(bench.control.set_limits(&UNLIMITED).unwrap(), UNLIMITED);
    let free = bench.rate_of_all(bench.traffic("read", 64));
    assert!(free > 40e6, "unlimited again, it reads the whole file, and fast: {free}");
}

#[test]
fn a_reader_gets_its_operations_within_five_percent() {
    let test = "a_reader_gets_its_operations_within_five_percent";
    let Some(bench) = Bench::new(test) else { return };
    let asked =
        DiskLimits { operations: ReadWrite { read: operations(100.0), write: Limit::Max }, ..UNLIMITED };
    assert_eq!(bench.control.set_limits(&asked).unwrap(), asked);
    let reads = achieved(100.0, || bench.rates(bench.traffic("read", 4)).reads);
    println!("{test}: asked for 100 reads/s, got {reads:.1}");
}

#[test]
fn limits_are_rounded_refused_and_undone_to_the_last_byte() {
    let test = "limits_are_rounded_refused_and_undone_to_the_last_byte";
    let Some(bench) = Bench::new(test) else { return };
    let one = |read: Limit<BytesPerSecond>| DiskLimits {
        bytes: ReadWrite { read, write: Limit::Max },
        ..UNLIMITED
    };
    let without = bench.files();
    assert!(!without.is_empty());
    assert_eq!(bench.control.limits().unwrap(), UNLIMITED);
    assert_eq!(bench.control.set_limits(&one(bytes(4096.4))).unwrap(), one(bytes(4096.0)));
    let rounded = bench.files();
    let refused = bench.control.set_limits(&one(bytes(0.4))).unwrap_err();
    assert!(matches!(refused, KernelError::LimitTooSmall { .. }), "{refused}");
    let many = operations(1e12);
    let refused = bench
        .control
        .set_limits(&DiskLimits { operations: ReadWrite { read: many, write: many }, ..UNLIMITED });
    assert!(matches!(refused, Err(KernelError::LimitTooLarge { .. })), "{refused:?}");
    assert_eq!(bench.files(), rounded, "a refused limit changes nothing");
    assert_ne!(rounded, without);
    let other =
        DiskLimits { operations: ReadWrite { read: Limit::Max, write: operations(900.0) }, ..UNLIMITED };
    bench.control.set_limits(&other).unwrap();
    bench.control.set_limits(&one(bytes(4096.0))).unwrap();
    assert_eq!(bench.files(), rounded, "limits of its own come back");
    assert_eq!(bench.control.set_limits(&UNLIMITED).unwrap(), UNLIMITED);
    assert_eq!(bench.files(), without);
}

#[test]
fn a_process_is_on_the_disk_of_its_root_folder() {
    let test = "a_process_is_on_the_disk_of_its_root_folder";
    let Some(bench) = Bench::new(test) else { return };
    let roots = device::Roots { proc: Path::new("/proc"), sys_dev_block: Path::new("/sys/dev/block") };
    let root = DeviceNumber::from_raw(fs::metadata("/").unwrap().dev());
    match (device::disk_of_root(&roots, std::process::id()), device::whole_disk(roots.sys_dev_block, root)) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (found, _) => eprintln!("SKIPPED {test}: the root folder is on no plain disk: {found:?}"),
    }
    let disks = device::disks(Path::new("/sys/block")).unwrap();
    assert!(disks.iter().any(|disk| disk.number == bench.control.device()), "{disks:?}");
}
