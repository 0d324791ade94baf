//! What is counted of a container in a folder of a test.

use ballast_kernel::CgroupPath;

use crate::fake::{FakeMachine, VDA};

#[test]
fn counters_that_cannot_be_read_are_absent_and_not_zero() {
    for (machine, file, odd) in [
        (FakeMachine::v1(), "blkio.throttle.io_service_bytes_recursive", "Read x"),
        (FakeMachine::v2(), "io.stat", "rbytes=x"),
    ] {
        machine.add("p/geo", "-1");
        let path = CgroupPath::new("p/geo").unwrap();
        let known = machine.machine();
        let (devices, _) = known.devices_of(&path);
        let controls = known.controls(&path, &devices);
        let (counters, disks) = controls.counters().unwrap();
        assert_eq!((counters.disk.unwrap().bytes.read, disks.len()), (4096, 1));
        machine.put_file(&format!("cgroup/p/geo/{file}"), "");
        let idle = controls.counters().unwrap().0.disk.unwrap();
        assert_eq!(idle.bytes.read, 0, "the kernel leaves out a disk without traffic");
        machine.put_file(&format!("cgroup/p/geo/{file}"), &format!("{VDA} {odd}\n"));
        let (counters, disks) = controls.counters().unwrap();
        assert!(counters.disk.is_none() && disks.is_empty() && counters.cpu.is_some());
    }
}

#[test]
fn a_container_is_gone_when_its_cgroup_is() {
    let machine = FakeMachine::v1();
    machine.add("p/geo", "-1");
    let path = CgroupPath::new("p/geo").unwrap();
    let controls = machine.machine().controls(&path, &Default::default());
    for file in ["cpu.cfs_quota_us", "cpu.stat"] {
        std::fs::remove_file(machine.hierarchy().cpu_folder(&path).join(file)).unwrap();
    }
    let reading = controls.limits().unwrap();
    assert!(reading.limits.cpu.is_none() && reading.failed.cpu.unwrap().contains("cpu.cfs_quota_us"));
    assert_eq!(controls.counters().unwrap().0.cpu, None);
    machine.remove("p/geo");
    assert!(controls.limits().unwrap_err().is_gone() && controls.counters().unwrap_err().is_gone());
}
