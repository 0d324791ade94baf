//! Limits of its own for the container `geo`, and others to lend to it.

use std::{fs, path::Path};

use ballast_api::{
    BitsPerSecond, BytesPerSecond, EgressIngress, Limit, Limits, OperationsPerSecond, ReadWrite,
};
use ballast_kernel::{DiskControl, DiskLimits, disk::device};

use super::{Scratch, cores};

fn disk_limits(read: f64, write: f64) -> DiskLimits {
    let bytes =
        |rate: f64| if rate > 0.0 { Limit::At(BytesPerSecond::new(rate).unwrap()) } else { Limit::Max };
    let operations =
        ReadWrite { read: Limit::At(OperationsPerSecond::new(3000.0).unwrap()), write: Limit::Max };
    DiskLimits { bytes: ReadWrite { read: bytes(read), write: bytes(write) }, operations }
}

/// Gives `geo` limits of its own: half a core with a burst, and a disk that is slow to write. Answers whether it has a disk.
pub(crate) fn set_own_limits(scratch: &Scratch) -> bool {
    scratch.cpu("geo").set_limit(cores(0.5)).unwrap();
    let folder = scratch.hierarchy().cpu_folder(&scratch.path("geo"));
    let bursts = ["cpu.cfs_burst_us", "cpu.max.burst"].map(|file| folder.join(file));
    for burst in bursts.iter().filter(|file| file.exists()) {
        fs::write(burst, "30000").unwrap();
    }
    let roots = device::Roots { proc: Path::new("/proc"), sys_dev_block: Path::new("/sys/dev/block") };
    let pid = scratch.find("geo").pids().unwrap()[0];
    let disk = device::disk_of_root(&roots, pid).ok();
    let control = disk.and_then(|disk| DiskControl::new(scratch.hierarchy(), &scratch.path("geo"), disk));
    control.is_some_and(|control| control.set_limits(&disk_limits(0.0, 50e6)).is_ok())
}

/// Less than its own of everything, and at one share of the quota less than the burst.
pub(crate) fn lent(has_disk: bool, shares: f64) -> Limits {
    let mbits = |mbits: f64| Limit::At(BitsPerSecond::new(mbits * 1e6 * shares).unwrap());
    let network = Some(EgressIngress { egress: mbits(20.0), ingress: mbits(50.0) });
    let disk = has_disk.then(|| disk_limits(8e6 * shares, 4e6 * shares));
    Limits {
        cpu: Some(cores(0.1 * shares)),
        network,
        disk: disk.as_ref().map(|disk| disk.bytes),
        disk_operations: disk.as_ref().map(|disk| disk.operations),
        ..Limits::default()
    }
}
