//! A node of Kubernetes under the real env-server: real cgroups as both drivers lay them out, with the uids and ids of real
//! pods, and a kubelet that answers with these.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod kubelet;
mod layout;
#[path = "../support/mod.rs"]
mod support;

use std::{os::unix::fs::MetadataExt, path::Path};

use ballast_api::{ContainerSource, ContainerState, Limits};
use ballast_kernel::{DeviceNumber, disk::device};
use kubelet::Kubelet;
use layout::{BATCH, BATCH_UID, Driver, Layout, P1, P1_CORES};
use support::{
    cores, disk,
    exact::Everything,
    janitor::Janitor,
    measure::{achieves_cores, achieves_disk},
    server::Server,
};

/// Lent to p1's container, in cores.
const LENT_CORES: f64 = 0.3;
/// Lent to the other one, in bytes/s.
const READ: f64 = 8_000_000.0;
const WRITE: f64 = 4_000_000.0;
/// Made up: what p1's container gets when it begins anew.
const NEW_ID: &str = "0e111d000e111d000e111d000e111d000e111d000e111d000e111d000e111d00";

fn is_fresh(state: &ContainerState) -> bool {
    state.lease_remaining_seconds.is_none() && state.generation == 0 && state.limits == state.baseline
}

/// By NAMESPACE.POD.CONTAINER; no sandbox is among them.
async fn all_are_listed(server: &Server) {
    let p1 = server.wait_for(P1, is_fresh).await;
    assert_eq!((p1.source, p1.limits.cpu), (ContainerSource::Kubernetes, cores(P1_CORES).cpu));
    assert_eq!(p1.labels["io.kubernetes.pod.name"], "p1");
    let d1 = ["mvdll", "xf8nz", "xhkht"].map(|pod| format!("default.d1-98f77b9c6-{pod}.c"));
    let [mvdll, xf8nz, xhkht] = d1.each_ref().map(String::as_str);
    assert_eq!(server.names().await, [BATCH, mvdll, xf8nz, xhkht, P1]);
    let guaranteed = server.wait_for(mvdll, is_fresh).await;
    assert_eq!(guaranteed.limits.cpu, cores(0.1).cpu, "as it was recorded");
}

/// Why traffic in this folder is not on the disk that is limited: that of the machine's root.
fn other_disk(folder: &Path) -> Option<String> {
    let roots = device::Roots { proc: Path::new("/proc"), sys_dev_block: Path::new("/sys/dev/block") };
    let partition = DeviceNumber::from_raw(std::fs::metadata(folder).unwrap().dev());
    let is_same = match device::whole_disk(roots.sys_dev_block, partition) {
        Ok(disk) => device::disk_of_root(&roots, std::process::id()).is_ok_and(|root| root == disk),
        Err(_) => false,
    };
    (!is_same).then(|| format!("{} is not on the disk of the root", folder.display()))
}

/// CPU to p1's container. To the other one disk bandwidth, where this machine has it; with one driver only, to save time.
async fn lent(server: &Server, driver: Driver, folder: &Path) -> [(&'static str, Limits); 2] {
    let disk = match server.wait_for(BATCH, is_fresh).await.missing.disk.or_else(|| other_disk(folder)) {
        _ if driver == Driver::Systemd => None,
        Some(reason) => {
            eprintln!("SKIPPED end_to_end_kubernetes disk limits: {reason}");
            None
        }
        None => disk(READ, WRITE),
    };
    let to_batch = if disk.is_some() { Limits { disk, ..Limits::default() } } else { cores(0.2) };
    [(P1, cores(LENT_CORES)), (BATCH, to_batch)]
}

async fn a_node_is_lent_limits(janitor: &Janitor, driver: Driver) {
    let mut layout = Layout::build(driver, janitor);
    let p1 = layout.p1();
    layout.run(&p1, "while :; do :; done");
    if driver == Driver::Cgroupfs {
        layout.run_on_disk(&layout.batch());
    }
    let kubelet = Kubelet::start().await;
    let parent = layout.parent();
    let parent = parent.iter().flat_map(|parent| ["--cgroup-parent", parent]);
    let arguments: Vec<&str> = ["--kubelet-url", &kubelet.url].into_iter().chain(parent).collect();
    let start = async || Server::start(janitor.folder(), &arguments).await;
    let server = start().await;
    all_are_listed(&server).await;
    let own = Everything::of(&layout.paths);

    let lent = lent(&server, driver, janitor.folder()).await;
    server.lend(1, 600.0, &lent).await;
    let has_disk = lent[1].1.disk.is_some();
    tokio::join!(achieves_cores(&p1, LENT_CORES), async {
        if has_disk {
            achieves_disk(&layout.batch(), READ, WRITE).await;
        }
    });
    let changed = own.changed(&Everything::of(&layout.paths));
    let lent_to = [layout.batch(), p1];
    let is_lent = |file: &&Path| lent_to.iter().any(|path| file.parent().unwrap().ends_with(path));
    assert!(changed.len() >= 2 && changed.iter().all(is_lent), "neither pods nor sandboxes: {changed:?}");
    for (name, _) in lent {
        server.give_back(name).await;
    }
    assert_eq!(Everything::of(&layout.paths), own, "asked for");

    // The container of the name begins anew while it is lent something: it is another one.
    server.lend(2, 600.0, &lent[..1]).await;
    kubelet.restart("p1", NEW_ID);
    layout.restart_p1(NEW_ID);
    let state = server.wait_for(P1, is_fresh).await;
    assert_eq!(state.limits.cpu, cores(P1_CORES).cpu);
    let own = Everything::of(&layout.paths);

    server.lend(3, 1.0, &lent).await;
    for name in [P1, BATCH] {
        server.wait_for(name, |state| state.lease_remaining_seconds.is_none()).await;
    }
    assert_eq!(Everything::of(&layout.paths), own, "after the lease");

    server.lend(4, 600.0, &lent).await;
    let changed = Everything::of(&layout.paths);
    server.kill().await;
    assert_eq!(Everything::of(&layout.paths), changed, "nobody was there to restore");
    let server = start().await;
    assert_eq!(Everything::of(&layout.paths), own, "after kill -9");

    // A pod goes while its container is lent something: unknown, and nobody stumbles over it.
    server.wait_for(BATCH, is_fresh).await;
    server.lend(5, 600.0, &lent).await;
    kubelet.forget("batch");
    layout.remove_pod(BATCH_UID);
    server.does_not_know(6, BATCH, cores(0.2)).await;
    assert!(!server.names().await.contains(&BATCH.to_owned()));

    server.end().await;
    let left = Everything::of(&layout.paths);
    let own: Vec<_> = own.files.iter().filter(|(path, _)| left.files.contains_key(*path)).collect();
    assert_eq!(left.files.iter().collect::<Vec<_>>(), own, "at the end");
}

fn on_a_node(test: &str, driver: Driver) {
    let programs = ["ip", "tc", "dd", "setpriv", "setsid", "unshare"];
    match support::missing(&programs, "scripts/setup") {
        Some(reason) => eprintln!("SKIPPED {test}: {reason}"),
        None => support::play(async |janitor| a_node_is_lent_limits(janitor, driver).await),
    }
}

#[test]
fn end_to_end_kubernetes_pods_of_the_cgroupfs_driver_are_lent_limits() {
    on_a_node("end_to_end_kubernetes_pods_of_the_cgroupfs_driver_are_lent_limits", Driver::Cgroupfs);
}

#[test]
fn end_to_end_kubernetes_pods_of_the_systemd_driver_are_lent_limits() {
    on_a_node("end_to_end_kubernetes_pods_of_the_systemd_driver_are_lent_limits", Driver::Systemd);
}
