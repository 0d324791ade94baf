//! The disk files in folders of a test: what is read, what is refused, and which bytes are left behind.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const VDA: DeviceNumber = DeviceNumber { major: 254, minor: 0 };

/// A machine of one version with one cgroup, `p/c`.
struct Fake {
    folder: TempDir,
    hierarchy: Hierarchy,
    control: DiskControl,
    traffic: DiskTraffic,
}

fn fake(version: CgroupVersion, files: &[(&str, &str)]) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let cgroup = folder.path().join("root/p/c");
    fs::create_dir_all(&cgroup).unwrap();
    let root = folder.path().join("root");
    fs::write(root.join("cgroup.controllers"), "cpu io").unwrap();
    for (name, text) in files {
        fs::write(cgroup.join(name), text).unwrap();
        fs::write(root.join(name), text).unwrap();
    }
    let mount = match version {
        CgroupVersion::V2 => format!("1 0 0:1 / {} rw - cgroup2 x rw\n", root.display()),
        _ => format!("1 0 0:1 / {} rw - cgroup x rw,cpu,cpuacct,blkio\n", root.display()),
    };
    let mountinfo = folder.path().join("mountinfo");
    fs::write(&mountinfo, mount).unwrap();
    let hierarchy = Hierarchy::find(&mountinfo).unwrap();
    let path = CgroupPath::new("p/c").unwrap();
    let control = DiskControl::new(&hierarchy, &path, VDA).unwrap();
    let traffic = DiskTraffic::new(&hierarchy, &path);
    Fake { folder, hierarchy, control, traffic }
}

fn v1(read_bytes: &str) -> Fake {
    fake(
        CgroupVersion::V1,
        &[
            ("blkio.throttle.read_bps_device", read_bytes),
            ("blkio.throttle.write_bps_device", ""),
            ("blkio.throttle.read_iops_device", ""),
            ("blkio.throttle.write_iops_device", "254:0 120\n"),
            ("blkio.throttle.io_service_bytes_recursive", "254:0 Read 8192\n254:0 Write 0\nTotal 8192\n"),
            ("blkio.throttle.io_serviced_recursive", "254:0 Read 2\n254:0 Write 0\nTotal 2\n"),
        ],
    )
}

fn v2(max: &str) -> Fake {
    fake(
        CgroupVersion::V2,
        &[("io.max", max), ("io.stat", "254:0 rbytes=8192 wbytes=0 rios=2 wios=0 dbytes=0 dios=0\n")],
    )
}

impl Fake {
    fn bytes_of(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join("root/p/c").join(file)).unwrap()
    }
}

fn at(rate: f64) -> Limit<BytesPerSecond> {
    Limit::At(BytesPerSecond::new(rate).unwrap())
}

fn operations(rate: f64) -> Limit<OperationsPerSecond> {
    Limit::At(OperationsPerSecond::new(rate).unwrap())
}

#[test]
fn both_versions_read_the_same() {
    for fake in
        [v1("8:0 7\n254:0 1048576\n"), v2("8:0 rbps=7\n254:0 rbps=1048576 wbps=max riops=max wiops=120\n")]
    {
        let limits = fake.control.limits().unwrap();
        assert_eq!(limits.bytes, ReadWrite { read: at(1_048_576.0), write: Limit::Max });
        assert_eq!(limits.operations, ReadWrite { read: Limit::Max, write: operations(120.0) });
        let counters = fake.traffic.counters().unwrap();
        let read = DiskCounters {
            bytes: ReadWrite { read: 8192, write: 0 },
            operations: ReadWrite { read: 2, write: 0 },
        };
        assert_eq!(counters, BTreeMap::from([(VDA, read)]));
    }
}

#[test]
fn only_what_differs_is_written_on_v1() {
    let fake = v1("254:0 1048576\n");
    let mut limits = fake.control.limits().unwrap();
    limits.bytes.read = at(4096.4);
    assert_eq!(fake.control.set_limits(&limits).unwrap().bytes.read, at(4096.0));
    assert_eq!(fake.bytes_of("blkio.throttle.read_bps_device"), "254:0 4096");
    assert_eq!(fake.bytes_of("blkio.throttle.write_iops_device"), "254:0 120\n", "the kernel's own text");
    limits.bytes.read = Limit::Max;
    assert_eq!(fake.control.set_limits(&limits).unwrap(), limits);
    assert_eq!(fake.bytes_of("blkio.throttle.read_bps_device"), "254:0 0");
}

#[test]
fn one_line_says_all_on_v2() {
    let fake = v2("");
    let limits = DiskLimits {
        bytes: ReadWrite { read: at(1e6), write: Limit::Max },
        operations: ReadWrite { read: Limit::Max, write: operations(7.0) },
    };
    assert_eq!(fake.control.set_limits(&limits).unwrap(), limits);
    assert_eq!(fake.bytes_of("io.max"), "254:0 rbps=1000000 wbps=max riops=max wiops=7");
}

#[test]
fn what_is_out_of_range_is_refused_and_nothing_is_written() {
    let fake = v2("254:0 rbps=5 wbps=max riops=max wiops=max\n");
    let now = fake.control.limits().unwrap();
    let small = DiskLimits { bytes: ReadWrite { read: at(0.4), write: Limit::Max }, ..now };
    assert!(matches!(fake.control.set_limits(&small), Err(KernelError::LimitTooSmall { .. })));
    let word_for_none = f64::from(u32::MAX);
    let large =
        DiskLimits { operations: ReadWrite { read: operations(word_for_none), write: Limit::Max }, ..now };
    assert!(matches!(fake.control.rounded(&large), Err(KernelError::LimitTooLarge { .. })));
    let large = DiskLimits { bytes: ReadWrite { read: at(1e300), write: Limit::Max }, ..now };
    assert!(matches!(fake.control.rounded(&large), Err(KernelError::LimitTooLarge { .. })));
    assert_eq!(fake.bytes_of("io.max"), "254:0 rbps=5 wbps=max riops=max wiops=max\n");
}

#[test]
fn counting_starts_without_touching_a_limit() {
    let fake = v1("254:0 1048576\n");
    let root = fake.folder.path().join("root/blkio.throttle.read_bps_device");
    start_counting(&fake.hierarchy, VDA).unwrap();
    assert_eq!(fs::read_to_string(&root).unwrap(), "254:0 1048576\n", "limited there: it counts already");
    start_counting(&fake.hierarchy, DeviceNumber { major: 8, minor: 0 }).unwrap();
    assert_eq!(fs::read_to_string(&root).unwrap(), "8:0 0");
}

#[test]
fn a_removed_cgroup_is_gone() {
    let fake = v1("");
    fs::remove_dir_all(fake.folder.path().join("root/p")).unwrap();
    assert!(fake.control.limits().unwrap_err().is_gone());
    assert!(fake.traffic.counters().unwrap_err().is_gone());
}

proptest! {
    #[test]
    fn what_is_accepted_is_in_force_and_what_is_not_changes_nothing(
        on_v2: bool,
        read in proptest::option::of(0f64..1e20),
        writes in proptest::option::of(0f64..1e10),
    ) {
        let fake = if on_v2 { v2("") } else { v1("") };
        let before = fake.control.limits().unwrap();
        let asked = DiskLimits {
            bytes: ReadWrite { read: read.map_or(Limit::Max, at), write: Limit::Max },
            operations: ReadWrite { read: Limit::Max, write: writes.map_or(Limit::Max, operations) },
        };
        match fake.control.set_limits(&asked) {
            Ok(in_force) => {
                prop_assert_eq!(in_force, fake.control.rounded(&asked).unwrap());
                prop_assert_eq!(in_force, fake.control.limits().unwrap());
            }
            Err(_) => prop_assert_eq!(before, fake.control.limits().unwrap()),
        }
    }
}
