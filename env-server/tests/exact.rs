//! All that can be lent of a container at once, by the real program: whatever ends a loan, each file of the kernel and each
//! interface says afterwards what it said before, to the last byte. Needs root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{path::PathBuf, time::Duration};

use ballast_api::{Capability, CgroupVersion, LimitChange, Limits, NodeAgent, NodeError, Plan};
use nix::sys::signal::Signal;
use support::{
    Scratch, Server, cores, name,
    own::{lent, set_own_limits},
    stage::{everything, on_a_host},
    unwritable::{Unwritable, own_mounts},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

fn plan(generation: u64, lease_seconds: f64, changes: &[(&str, Limits)]) -> Plan {
    let change =
        |(container, limits): &(&str, Limits)| LimitChange { container: name(container), limits: *limits };
    Plan { generation, lease_seconds, dry_run: false, changes: changes.iter().map(change).collect() }
}

async fn lend(server: &Server, generation: u64, lease_seconds: f64, limits: Limits) {
    let plan = plan(generation, lease_seconds, &[("geo", limits)]);
    let outcome = server.node().apply(&plan).await.unwrap();
    assert_eq!(outcome.applied[0].applied, limits);
}

/// The disk is not left out silently: it is there, or the node says why not.
async fn assert_disk_is_told(test: &str, server: &Server, has_disk: bool) {
    let Some(Capability::Available { .. }) = server.node().node().await.unwrap().capabilities.disk else {
        return assert!(!has_disk, "the node says that it controls none");
    };
    let containers = server.node().containers().await.unwrap();
    let geo = containers.into_iter().find(|state| state.name == name("geo")).unwrap();
    assert_eq!(has_disk, geo.missing.disk.is_none(), "{:?}", geo.missing);
    if let Some(reason) = geo.missing.disk {
        eprintln!("SKIPPED {test}: of its disk: {reason}");
    }
}

#[test]
fn everything_lent_at_once_comes_back_to_the_last_byte() {
    let test = "everything_lent_at_once_comes_back_to_the_last_byte";
    on_a_host(test, async |scratch| {
        let has_disk = set_own_limits(&scratch);
        let own = everything(&scratch);
        println!("{test}: with a disk: {has_disk}, files: {:?}", own.0.keys());
        let mut server = Server::start(&scratch, &[]);
        assert_disk_is_told(test, &server, has_disk).await;
        lend(&server, 1, 600.0, lent(has_disk, 1.0)).await;
        let changed = everything(&scratch);
        assert!(changed.0 != own.0 && changed.1 != own.1, "{changed:?}");
        server.node().restore(&name("geo")).await.unwrap();
        assert_eq!(everything(&scratch), own, "asked for");

        lend(&server, 2, 600.0, lent(has_disk, 1.0)).await;
        server.signal(Signal::SIGKILL);
        server.wait();
        assert_eq!(everything(&scratch).0, changed.0, "nobody was there to restore");
        let mut server = Server::start(&scratch, &[]);
        assert_eq!(everything(&scratch), own, "after kill -9");

        lend(&server, 1, 600.0, lent(has_disk, 1.0)).await;
        server.signal(Signal::SIGTERM);
        assert!(server.wait().success());
        assert_eq!(everything(&scratch), own, "at the end");
    });
}

#[test]
fn everything_comes_back_to_the_last_byte_when_the_lease_ends() {
    on_a_host("everything_comes_back_to_the_last_byte_when_the_lease_ends", async |scratch| {
        let has_disk = set_own_limits(&scratch);
        let own = everything(&scratch);
        let server = Server::start(&scratch, &[]);
        lend(&server, 1, 600.0, lent(has_disk, 1.0)).await;
        let changed = everything(&scratch);
        assert!(changed.0 != own.0 && changed.1 != own.1, "{changed:?}");
        // As little as there may be left of a lease.
        lend(&server, 1, 0.1, lent(has_disk, 1.0)).await;
        let is_lent = async || {
            let containers = server.node().containers().await.unwrap();
            containers.iter().any(|state| state.lease_remaining_seconds.is_some())
        };
        for _ in 0..300 {
            if !is_lent().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(everything(&scratch), own);
    });
}

/// Where the kernel takes the limit of the CPU, and that of writing to disks.
fn cpu_and_disk_files(scratch: &Scratch, container: &str) -> [PathBuf; 2] {
    let (hierarchy, path) = (scratch.hierarchy(), scratch.path(container));
    let is_v2 = |version| version == CgroupVersion::V2;
    let cpu = if is_v2(hierarchy.version()) { "cpu.max" } else { "cpu.cfs_quota_us" };
    let (version, root) = hierarchy.disk_root().unwrap();
    let disk = if is_v2(version) { "io.max" } else { "blkio.throttle.write_bps_device" };
    [hierarchy.cpu_folder(&path).join(cpu), root.join(&path).join(disk)]
}

/// Whatever was written before the write that fails: of other containers, and of the container itself.
#[test]
fn a_write_that_fails_undoes_the_rest_of_its_plan_to_the_last_byte() {
    on_a_host("a_write_that_fails_undoes_the_rest_of_its_plan_to_the_last_byte", async |scratch| {
        own_mounts();
        let has_disk = set_own_limits(&scratch);
        let [_, disk_of_geo] = cpu_and_disk_files(&scratch, "geo");
        let [cpu_of_rate, _] = cpu_and_disk_files(&scratch, "rate");
        let both = [("geo", lent(has_disk, 1.0)), ("rate", Limits::of_cpu(cores(0.3)))];
        let mut cases = vec![(cpu_of_rate, "rate", &both[..])];
        if has_disk {
            cases.push((disk_of_geo, "geo", &both[..1]));
        }
        let state = || (everything(&scratch), scratch.cpu("rate").limit().unwrap());
        for (file, culprit, changes) in &cases {
            // First of all: a file that the server has open already could be written all the same.
            let unwritable = Unwritable::new(file);
            let mut server = Server::start(&scratch, &[]);
            // First where nothing is lent, then where something is.
            for generation in [1, 2] {
                let before = state();
                let error = server.node().apply(&plan(2, 600.0, changes)).await.unwrap_err();
                let path = file.display().to_string();
                assert!(
                    matches!(&error, NodeError::WriteFailed { container, detail }
                        if container == culprit && detail.contains(&path) && detail.contains("Read-only")),
                    "{error}"
                );
                assert_eq!(state(), before, "{error}");
                lend(&server, generation, 600.0, Limits::of_cpu(cores(0.2))).await;
            }
            // Nothing but the file was in the way.
            drop(unwritable);
            server.node().apply(&plan(2, 600.0, &both)).await.unwrap();
            server.signal(Signal::SIGTERM);
            assert!(server.wait().success());
        }
    });
}
