//! All that can be lent of a container at once, by the real program: whatever ends a loan, each file of the kernel and each
//! interface says afterwards what it said before, to the last byte. Needs root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{fs, path::Path};

use ballast_api::{
    BitsPerSecond, BytesPerSecond, EgressIngress, Limit, LimitChange, Limits, NodeAgent, OperationsPerSecond,
    Plan, ReadWrite,
};
use ballast_kernel::{DiskControl, DiskLimits, disk::device};
use nix::sys::signal::Signal;
use support::{
    Scratch, Server, cores, name,
    stage::{everything, on_a_host},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

fn disk_limits(read: f64, write: f64) -> DiskLimits {
    let bytes =
        |rate: f64| if rate > 0.0 { Limit::At(BytesPerSecond::new(rate).unwrap()) } else { Limit::Max };
    let operations =
        ReadWrite { read: Limit::At(OperationsPerSecond::new(3000.0).unwrap()), write: Limit::Max };
    DiskLimits { bytes: ReadWrite { read: bytes(read), write: bytes(write) }, operations }
}

/// Gives `geo` limits of its own: half a core with a burst, and a disk that is slow to write. Answers whether it has a disk.
fn set_own_limits(scratch: &Scratch) -> bool {
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

/// Less than its own of everything, and of the quota less than the burst.
fn lent(has_disk: bool) -> Limits {
    let mbits = |mbits: f64| Limit::At(BitsPerSecond::new(mbits * 1e6).unwrap());
    let network = Some(EgressIngress { egress: mbits(20.0), ingress: mbits(50.0) });
    let disk = has_disk.then(|| disk_limits(8e6, 4e6));
    Limits {
        cpu: Some(cores(0.1)),
        network,
        disk: disk.as_ref().map(|disk| disk.bytes),
        disk_operations: disk.as_ref().map(|disk| disk.operations),
        ..Limits::default()
    }
}

async fn lend(server: &Server, generation: u64, limits: Limits) {
    let changes = vec![LimitChange { container: name("geo"), limits }];
    let plan = Plan { generation, lease_seconds: 600.0, dry_run: false, changes };
    let outcome = server.node().apply(&plan).await.unwrap();
    assert_eq!(outcome.applied[0].applied, limits);
}

#[test]
fn everything_lent_at_once_comes_back_to_the_last_byte() {
    let test = "everything_lent_at_once_comes_back_to_the_last_byte";
    on_a_host(test, async |scratch| {
        let has_disk = set_own_limits(&scratch);
        let own = everything(&scratch);
        println!("{test}: with a disk: {has_disk}, files: {:?}", own.0.keys());
        let mut server = Server::start(&scratch, &[]);
        lend(&server, 1, lent(has_disk)).await;
        let changed = everything(&scratch);
        assert!(changed.0 != own.0 && changed.1 != own.1, "{changed:?}");
        server.node().restore(&name("geo")).await.unwrap();
        assert_eq!(everything(&scratch), own, "asked for");

        lend(&server, 2, lent(has_disk)).await;
        server.signal(Signal::SIGKILL);
        server.wait();
        assert_eq!(everything(&scratch).0, changed.0, "nobody was there to restore");
        let mut server = Server::start(&scratch, &[]);
        assert_eq!(everything(&scratch), own, "after kill -9");

        lend(&server, 1, lent(has_disk)).await;
        server.signal(Signal::SIGTERM);
        assert!(server.wait().success());
        assert_eq!(everything(&scratch), own, "at the end");
    });
}
