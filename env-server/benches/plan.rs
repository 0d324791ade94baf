//! How long a controller waits for a plan: ten containers' CPU limits, over HTTP on loopback. On real cgroups where
//! this is root, otherwise on files in a temporary folder, which it says.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::{fs, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use ballast_api::{
    ContainerName, Cores, HttpNode, Limit, LimitChange, Limits, NodeAgent, NodeName, Plan, SystemClock,
};
use ballast_env_server::{
    LinuxNode,
    discovery::Discovery,
    journal::Journal,
    lender::Means,
    machine::{Machine, Roots},
    metrics::Metrics,
    run,
};
use ballast_gate::{Access, AccessSettings};
use ballast_kernel::{Cgroup, CgroupPath, CgroupTree, Hierarchy};
use divan::Bencher;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

const CONTAINERS: usize = 10;

fn main() {
    divan::main();
}

#[divan::bench]
fn env_server_plan_latency(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let (hierarchy, parent, cgroup) = machine(folder.path());
    let runtime = Runtime::new().unwrap();
    let shutdown = CancellationToken::new();
    let (node, serving) = runtime.block_on(serve(hierarchy, parent, folder.path(), shutdown.clone()));
    let mut generation = 0;
    bencher.bench_local(|| {
        generation += 1;
        runtime.block_on(node.apply(&plan(generation))).unwrap()
    });
    shutdown.cancel();
    runtime.block_on(serving).unwrap().unwrap();
    if let Some(cgroup) = cgroup {
        cgroup.remove().unwrap();
    }
}

/// Limits that differ from one plan to the next, so that each of them is written.
fn plan(generation: u64) -> Plan {
    let cores = if generation.is_multiple_of(2) { 0.2 } else { 0.3 };
    let limits = Limits::of_cpu(Limit::At(Cores::new(cores).unwrap()));
    let changes = (0..CONTAINERS)
        .map(|i| LimitChange { container: ContainerName::new(format!("c{i}")).unwrap(), limits });
    Plan { generation, lease_seconds: 60.0, dry_run: false, changes: changes.collect() }
}

async fn serve(
    hierarchy: Hierarchy,
    parent: CgroupPath,
    folder: &Path,
    shutdown: CancellationToken,
) -> (HttpNode, tokio::task::JoinHandle<Result<(), ballast_env_server::Failure>>) {
    let metrics = Arc::new(Metrics::default());
    let means = Means {
        machine: Machine::new(hierarchy, Roots::default(), Cores::new(2.0).unwrap()),
        discovery: Discovery::of_parents(&[parent]),
        sample_interval: Duration::from_secs(1),
        clock: Arc::new(SystemClock),
        metrics: metrics.clone(),
        journal: Journal::new(folder, "bench"),
    };
    let node = LinuxNode::open(NodeName::new("bench").unwrap(), means).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = HttpNode::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    // No pause between calls is measured here.
    let open = AccessSettings { requests_per_second: NonZeroU32::MAX, ..AccessSettings::default() };
    let access = Arc::new(Access::open(&open).unwrap());
    (client, tokio::spawn(run(listener, node, metrics, access, shutdown)))
}

/// Ten containers below one parent, and the cgroup to remove afterwards where it is a real one.
fn machine(folder: &Path) -> (Hierarchy, CgroupPath, Option<Cgroup>) {
    let real = Hierarchy::find(Path::new("/proc/self/mountinfo")).map(CgroupTree::new).and_then(|tree| {
        let parent = tree.create(&format!("ballast-bench-{}", std::process::id()))?;
        for i in 0..CONTAINERS {
            tree.create(parent.path().child(&format!("c{i}"))?.as_str())?;
        }
        Ok((tree.hierarchy().clone(), parent.path().clone(), Some(parent)))
    });
    real.unwrap_or_else(|error| {
        eprintln!("no real cgroups ({error}): measuring on files in a temporary folder");
        fake_machine(folder)
    })
}

fn fake_machine(folder: &Path) -> (Hierarchy, CgroupPath, Option<Cgroup>) {
    let root = folder.join("cgroup");
    for i in 0..CONTAINERS {
        let container = root.join(format!("p/c{i}"));
        fs::create_dir_all(&container).unwrap();
        fs::write(container.join("cpu.max"), "max 100000\n").unwrap();
        fs::write(container.join("cpu.stat"), "usage_usec 0\n").unwrap();
    }
    fs::write(root.join("cgroup.controllers"), "cpu\n").unwrap();
    let mountinfo = folder.join("mountinfo");
    fs::write(&mountinfo, format!("1 0 0:1 / {} rw - cgroup2 x rw\n", root.display())).unwrap();
    (Hierarchy::find(&mountinfo).unwrap(), CgroupPath::new("p").unwrap(), None)
}
