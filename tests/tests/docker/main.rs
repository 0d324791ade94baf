//! Real Docker containers under the real env-server: by their names, lent what they were lent and no more.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod engine;

use std::{path::Path, process::Stdio, time::Duration};

use ballast_api::{
    BytesPerSecond, Capability, ContainerName, ContainerSource, ContainerState, Cores, HttpNode, Limit,
    LimitChange, Limits, NodeAgent, NodeError, Plan, ReadWrite,
};
use ballast_kernel::{CgroupPath, CpuControl, disk};
use ballast_tests::program;
use engine::{Engine, hierarchies, hierarchy, parent};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Lent to the busy container, in cores; its own limit is 0.5.
const LENT_CORES: f64 = 0.3;
/// How far from that it may be, in cores.
const CORES_OFF: f64 = 0.02;
/// Lent to the writing container, in bytes/s.
const LENT_RATE: f64 = 4_000_000.0;
/// How far from that it may be, as a share.
const RATE_OFF: f64 = 0.05;

/// A real env-server that asks the engine.
struct Server {
    child: Child,
    node: HttpNode,
}

impl Server {
    async fn start(engine: &Engine) -> Self {
        let mut child = Command::new(program("ballast-env-server"))
            .args(["--node", "n1", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--docker-socket"])
            .arg(engine.socket())
            .args(["--cgroup-parent", &parent(), "--state-dir"])
            .arg(engine.folder().join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap().unwrap();
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        Self { child, node: HttpNode::new(ready["listening"].as_str().unwrap()).unwrap() }
    }

    async fn end(mut self) {
        drop(self.child.stdin.take());
        let status = timeout(Duration::from_secs(20), self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }

    async fn find(&self, name: &str) -> Option<ContainerState> {
        let containers = self.node.containers().await.unwrap();
        containers.into_iter().find(|state| state.name.as_str() == name)
    }

    /// The container, once it is such as `wanted` wants it.
    async fn wait_for(&self, name: &str, wanted: impl Fn(&ContainerState) -> bool) -> ContainerState {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            match self.find(name).await {
                Some(state) if wanted(&state) => return state,
                other => assert!(Instant::now() < deadline, "{name} stays {other:?}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn lend(&self, generation: u64, name: &str, limits: Limits) -> Result<Limits, NodeError> {
        let change = LimitChange { container: ContainerName::new(name).unwrap(), limits };
        let plan = Plan { generation, lease_seconds: 600.0, dry_run: false, changes: vec![change] };
        Ok(self.node.apply(&plan).await?.applied.remove(0).applied)
    }
}

fn cores(cores: f64) -> Limits {
    Limits::of_cpu(Limit::At(Cores::new(cores).unwrap()))
}

fn writing(rate: f64) -> Limits {
    let write = Limit::At(BytesPerSecond::new(rate).unwrap());
    Limits { disk: Some(ReadWrite { read: Limit::Max, write }), ..Limits::default() }
}

/// The cgroup of a container, wherever the engine's driver put it.
fn cgroup(id: &str, parent: &str) -> CgroupPath {
    let candidates =
        [format!("{parent}/{id}"), format!("docker/{id}"), format!("system.slice/docker-{id}.scope")];
    let mut paths = candidates.iter().map(|path| CgroupPath::new(path).unwrap());
    paths.find(|path| hierarchy().identity(path).is_some()).expect("its cgroup is there")
}

fn own_cpu(path: &CgroupPath) -> Limit<Cores> {
    CpuControl::new(&hierarchy(), path).limit().unwrap()
}

/// The machine may give less for a while when it is loaded, never more: the best of several intervals counts, and none may
/// be over. Answers all of them.
async fn achieves(
    what: &str,
    lent: f64,
    off: f64,
    interval: Duration,
    counter: impl Fn() -> f64,
) -> Vec<f64> {
    let mut rates = Vec::new();
    for _ in 0..6 {
        let (before, began) = (counter(), Instant::now());
        sleep(interval).await;
        let rate = (counter() - before) / began.elapsed().as_secs_f64();
        rates.push(rate);
        assert!(rate <= lent + off, "{what}: {rates:?} is more than was lent, {lent}");
        if rate >= lent - off {
            eprintln!("{what}: lent {lent}, achieved {rates:?}");
            return rates;
        }
    }
    panic!("{what}: {rates:?} is less than was lent, {lent}");
}

async fn cpu_is_lent(engine: &Engine, server: &Server, name: &str, id: &str) {
    let state = server.wait_for(name, |_| true).await;
    assert_eq!((state.source, state.labels["app"].as_str()), (ContainerSource::Docker, "search"));
    assert_eq!(state.limits, state.baseline);
    assert_eq!(state.limits.cpu, cores(0.5).cpu, "as docker run --cpus says");
    let applied = server.lend(1, name, cores(LENT_CORES)).await.unwrap();
    assert_eq!(applied, cores(LENT_CORES));
    let path = cgroup(id, "docker");
    let control = CpuControl::new(&hierarchy(), &path);
    let used = || control.counters().unwrap().usage.as_secs_f64();
    achieves("CPU, cores", LENT_CORES, CORES_OFF, Duration::from_secs(3), used).await;
    let told = engine.docker(&["inspect", "-f", "{{.HostConfig.NanoCpus}}", name]);
    assert_eq!(told, "500000000", "Docker's own books are left alone");
}

async fn disk_is_lent(server: &Server, name: &str, id: &str) {
    let info = server.node.node().await.unwrap();
    if let Some(Capability::Unavailable { reason }) = info.capabilities.disk {
        eprintln!("SKIPPED end_to_end_docker disk limits: {reason}");
        return;
    }
    let state = server.wait_for(name, |state| state.missing.disk.is_none()).await;
    assert_eq!(state.labels.len(), 0);
    server.lend(1, name, writing(LENT_RATE)).await.unwrap();
    let path = cgroup(id, &parent());
    let written = || -> f64 {
        let counters = disk::counters(&hierarchy(), &path).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "megabytes of a test")]
        counters.values().map(|counters| counters.bytes.write as f64).sum()
    };
    achieves("disk, bytes/s", LENT_RATE, LENT_RATE * RATE_OFF, Duration::from_secs(6), written).await;
}

#[tokio::test]
async fn end_to_end_docker_containers_are_lent_limits_by_their_names() {
    let test = "end_to_end_docker_containers_are_lent_limits_by_their_names";
    let Some(engine) = Engine::start(test).await else { return };
    let run = |name: &str, more: &[&str], script: &str| {
        let run = ["run", "-d", "--name", name, "--network", "none", "--init=false"];
        engine.docker(&[&run, more, &["bb:1", "sh", "-c", script]].concat())
    };
    let busy = "while :; do :; done";
    let writes =
        "while :; do dd if=/dev/zero of=/file bs=65536 count=256 oflag=direct 2>/dev/null || exit 1; done";
    let parent_flag = format!("--cgroup-parent=/{}", parent());
    let first = ["--cpus", "0.5", "--label", "app=search"];
    let mut geo = run("geo", &first, busy);
    let store = run("store", &[&parent_flag], writes);
    let server = Server::start(&engine).await;
    cpu_is_lent(&engine, &server, "geo", &geo).await;
    disk_is_lent(&server, "store", &store).await;

    // A new container under the name, and the same one begun again: each with its own limits, and lent nothing.
    engine.docker(&["rm", "-f", "geo"]);
    geo = run("geo", &first, busy);
    let fresh = |state: &ContainerState| state.lease_remaining_seconds.is_none() && state.generation == 0;
    let state = server.wait_for("geo", fresh).await;
    assert_eq!(state.limits.cpu, cores(0.5).cpu);
    server.lend(2, "geo", cores(0.2)).await.unwrap();
    engine.docker(&["restart", "-t", "0", "geo"]);
    let state = server.wait_for("geo", fresh).await;
    assert_eq!(state.limits.cpu, cores(0.5).cpu);

    // Gone while lent: unknown, and nobody stumbles over it.
    engine.docker(&["rm", "-f", "store"]);
    let gone = server.lend(3, "store", cores(0.2)).await.unwrap_err();
    assert!(matches!(gone, NodeError::UnknownContainer { .. }), "{gone}");

    // What is lent at the end is given back.
    server.lend(3, "geo", cores(0.2)).await.unwrap();
    let path = cgroup(&geo, "docker");
    assert_eq!(Some(own_cpu(&path)), cores(0.2).cpu);
    server.end().await;
    assert_eq!(Some(own_cpu(&path)), cores(0.5).cpu);

    let folder = engine.folder().to_owned();
    drop(engine);
    nothing_is_left(&folder);
}

fn nothing_is_left(folder: &Path) {
    assert!(!folder.exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    let cgroups = hierarchies().into_iter().map(|root| root.join(parent()));
    assert_eq!(
        cgroups.filter(|cgroup| cgroup.exists()).collect::<Vec<_>>(),
        Vec::<std::path::PathBuf>::new()
    );
    let needle = folder.as_os_str().as_encoded_bytes();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!line.windows(needle.len()).any(|part| part == needle), "{:?} runs on", process.path());
    }
}
