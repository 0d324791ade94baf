//! What a machine in a folder of a test is said to offer, and which of its devices a container uses.

use ballast_api::PerResource;
use ballast_kernel::DeviceNumber;

use super::*;
use crate::fake::{FakeMachine, VDA};

const LIMITS_OF_DISKS: [&str; 4] = ["read_bps", "write_bps", "read_iops", "write_iops"];

fn unavailable(machine: &FakeMachine) -> PerResource<String> {
    let capabilities = machine.machine().capabilities();
    PerResource::from_fn(|resource| match capabilities.get(resource)? {
        Capability::Unavailable { reason } => Some(reason.clone()),
        Capability::Available { .. } => None,
    })
}

#[test]
fn only_limits_that_the_kernel_has_are_claimed() {
    let (v1, v2) = (FakeMachine::v1(), FakeMachine::v2());
    for machine in [&v1, &v2] {
        let unavailable = unavailable(machine);
        assert!(
            unavailable.cpu.is_none() && unavailable.disk.is_none(),
            "nothing shows that they are absent"
        );
    }
    for sign in ["cpu.shares", "blkio.reset_stats"] {
        v1.put_file(&format!("cgroup/{sign}"), "");
    }
    for sign in ["cpu.weight", "io.stat"] {
        v2.put_file(&format!("cgroup/system.slice/{sign}"), "");
    }
    for machine in [&v1, &v2] {
        let PerResource { cpu, disk, .. } = unavailable(machine);
        assert!(cpu.unwrap().contains("CONFIG_CFS_BANDWIDTH"));
        assert!(disk.unwrap().contains("CONFIG_BLK_DEV_THROTTLING"));
    }
    for file in ["cpu.cfs_quota_us", "blkio.throttle.read_bps_device"] {
        v1.put_file(&format!("cgroup/{file}"), "");
    }
    for file in ["cpu.max", "io.max"] {
        v2.put_file(&format!("cgroup/system.slice/{file}"), "");
    }
    for machine in [&v1, &v2] {
        assert!(unavailable(machine).cpu.is_none() && unavailable(machine).disk.is_none());
    }
}

#[test]
fn a_disk_that_is_attached_later_is_counted_and_offered() {
    let fake = FakeMachine::v1();
    for limit in LIMITS_OF_DISKS {
        fake.put_file(&format!("cgroup/blkio.throttle.{limit}_device"), "");
    }
    let counting = || fake.file("cgroup/blkio.throttle.read_bps_device");
    let mut machine = fake.machine();
    assert_eq!(counting(), "254:0 0");
    fake.put_file("cgroup/blkio.throttle.read_bps_device", "");
    machine.notice_disks();
    assert_eq!(counting(), "", "the one that is known is left alone");
    fake.put_file("sys/block/vdb/size", "2048\n");
    fake.put_file("sys/block/vdb/dev", "254:16\n");
    machine.notice_disks();
    assert_eq!(counting(), "254:16 0");
    let Some(Capability::Available { mechanism }) = machine.capabilities().disk else { panic!() };
    assert!(mechanism.ends_with("on vda, vdb"), "{mechanism}");
}

/// A container that used no disk yet, with these lists of processes.
fn unused(fake: &FakeMachine, own: &str, nested: &str) -> CgroupPath {
    fake.add("p/geo", "-1");
    for counter in ["io_service_bytes", "io_serviced"] {
        fake.put_file(&format!("cgroup/p/geo/blkio.throttle.{counter}_recursive"), "Total 0\n");
    }
    fake.put_file("cgroup/p/geo/cgroup.procs", own);
    fake.put_file("cgroup/p/geo/nested/cgroup.procs", nested);
    fake.put_file(&format!("sys/dev/block/{VDA}/dev"), &format!("{VDA}\n"));
    CgroupPath::new("p/geo").unwrap()
}

fn rooted(fake: &FakeMachine, pid: u32, device: DeviceNumber) {
    fake.put_file(&format!("proc/{pid}/mountinfo"), &format!("2 1 {device} / / rw - ext4 x rw\n"));
}

#[test]
fn the_first_process_of_its_own_that_lives_shows_the_disk() {
    let fake = FakeMachine::v1();
    let path = unused(&fake, "7\n9\n", "3\n");
    rooted(&fake, 3, DeviceNumber { major: 8, minor: 0 });
    rooted(&fake, 9, VDA);
    let (devices, missing) = fake.machine().devices_of(&path);
    assert_eq!(devices.disk, Some(VDA), "{missing:?}");
    fake.put_file("cgroup/p/geo/cgroup.procs", "");
    let (devices, missing) = fake.machine().devices_of(&path);
    assert!(
        devices.disk.is_none() && missing.disk.unwrap().contains("8:0"),
        "the nested one is all there is"
    );
}

#[test]
fn why_a_container_shows_no_disk_is_told() {
    for (own, reason) in [("", "no process yet"), ("0\n0\n", "pid namespace"), ("7\n", "7/mountinfo")] {
        let fake = FakeMachine::v1();
        let (devices, missing) = fake.machine().devices_of(&unused(&fake, own, ""));
        let told = missing.disk.unwrap();
        assert!(devices.disk.is_none() && told.contains(reason), "{told}");
    }
}
