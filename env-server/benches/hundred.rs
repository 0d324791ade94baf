//! A full node: a hundred containers, every resource that this machine controls. On real cgroups and real veths, as root
//! only. Beside divan's table it tells the 99th percentiles of what a controller waits for (in process, without HTTP), and
//! what the program itself uses.
//!
//! The whole bench runs in a network namespace of its own: the machine's interfaces are never touched, and the kernel
//! removes all of it when the bench ends, however it ends.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

mod containers;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ballast_api::{
    BitsPerSecond, BytesPerSecond, Capability, ContainerName, Cores, EgressIngress, HttpNode, Limit,
    LimitChange, Limits, NodeAgent, NodeName, OperationsPerSecond, Plan, ReadWrite, SystemClock,
};
use ballast_env_server::{
    LinuxNode,
    discovery::Discovery,
    journal::Journal,
    lender::Means,
    machine::{Machine, Roots},
    metrics::Metrics,
    privileges,
};
use containers::Containers;
use divan::Bencher;
use tokio::runtime::Runtime;

const CONTAINERS: usize = 100;
const SECONDS_OF_USE: u64 = 20;

/// What is printed when the tables are.
static FIGURES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() {
    // Before there is any other thread: they, and the programs started, are in it too.
    containers::enter_a_private_network();
    // As the program does.
    privileges::take_open_files();
    divan::main();
    for figure in FIGURES.lock().unwrap().iter() {
        println!("figure: {figure}");
    }
}

#[divan::bench(sample_count = 500, sample_size = 1)]
fn env_server_plan_of_100_containers(bencher: Bencher<'_, '_>) {
    let Some(full) = FullNode::new() else { return };
    let mut generation = 0;
    measure("env_server_plan_of_100_containers_p99", bencher, || {
        generation += 1;
        full.runtime.block_on(full.node.apply(&full.plan(generation))).unwrap();
    });
}

#[divan::bench(sample_count = 500, sample_size = 1)]
fn env_server_observation_of_100_containers(bencher: Bencher<'_, '_>) {
    let Some(full) = FullNode::new() else { return };
    full.runtime.block_on(full.node.apply(&full.plan(1))).unwrap();
    measure("env_server_observation_of_100_containers_p99", bencher, || {
        assert_eq!(full.runtime.block_on(full.node.containers()).unwrap().len(), CONTAINERS);
    });
}

/// The program as it runs on a node: sampling each second, and asked by a controller as often.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn env_server_use_at_1_hz(bencher: Bencher<'_, '_>) {
    let Some(full) = FullNode::new() else { return };
    bencher.bench_local(|| {
        let program = Program::start(&full);
        let percent = program.use_at_1_hz(&full, || program.ask(&full));
        let mut figures = FIGURES.lock().unwrap();
        figures.push(format!("env_server_cpu_at_1_hz {percent:.2} %_of_a_core"));
        figures.push(format!("env_server_memory_peak {:.1} MiB", program.peak_kib() / 1024.0));
    });
}

/// The same while every limit of every container is lent, and renewed each second: the most that a controller can ask.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn env_server_use_renewing_all_at_1_hz(bencher: Bencher<'_, '_>) {
    let Some(full) = FullNode::new() else { return };
    bencher.bench_local(|| {
        let program = Program::start(&full);
        let renew = || {
            program.ask(&full);
            full.runtime.block_on(program.node.apply(&full.plan(1))).unwrap();
        };
        renew();
        let percent = program.use_at_1_hz(&full, renew);
        let mut figures = FIGURES.lock().unwrap();
        figures.push(format!("env_server_cpu_renewing_all_at_1_hz {percent:.2} %_of_a_core"));
        figures.push(format!("env_server_memory_renewing_all_peak {:.1} MiB", program.peak_kib() / 1024.0));
    });
}

/// The real env-server. It ends, and gives back what it was lent, when it is dropped.
struct Program {
    child: Child,
    node: HttpNode,
    _state: tempfile::TempDir,
}

impl Program {
    fn start(full: &FullNode) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ballast-env-server"))
            .args(["--node", "bench", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--cgroup-parent"])
            .arg(full.containers.parent().as_str())
            .arg("--state-dir")
            .arg(state.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        Self { child, node: HttpNode::new(ready["listening"].as_str().unwrap()).unwrap(), _state: state }
    }

    fn ask(&self, full: &FullNode) {
        assert_eq!(full.runtime.block_on(self.node.containers()).unwrap().len(), CONTAINERS);
    }

    /// Per cent of a core that it takes while `work` is asked of it once a second, once settled.
    fn use_at_1_hz(&self, full: &FullNode, work: impl Fn()) -> f64 {
        let pause = async || tokio::time::sleep(Duration::from_secs(1)).await;
        work();
        let before = self.cpu_ticks();
        for _ in 0..SECONDS_OF_USE {
            full.runtime.block_on(pause());
            work();
        }
        // A tick is 10 ms: so many of them in a second are per cent of a core.
        #[expect(clippy::cast_precision_loss, reason = "ticks of seconds")]
        let percent = (self.cpu_ticks() - before) as f64 / SECONDS_OF_USE as f64;
        percent
    }

    /// Time in user and kernel mode so far (proc_pid_stat(5)).
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1.split_whitespace();
        after_name.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// The most that was ever resident.
    fn peak_kib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Divan's loop, with a figure of our own.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn measure(name: &str, bencher: Bencher<'_, '_>, mut work: impl FnMut()) {
    let mut times = Vec::new();
    bencher.bench_local(|| {
        let began = Instant::now();
        work();
        times.push(began.elapsed());
    });
    times.sort_unstable();
    if let Some(p99) = times.get(times.len() * 99 / 100) {
        FIGURES.lock().unwrap().push(format!("{name} {:.3} ms", p99.as_secs_f64() * 1e3));
    }
}

/// A node with real containers. All is gone when it is dropped.
struct FullNode {
    node: LinuxNode,
    runtime: Runtime,
    has_network: bool,
    containers: Containers,
    _state: tempfile::TempDir,
}

impl FullNode {
    /// Absent, with the reason on stderr, where this machine has no cgroups to write to.
    fn new() -> Option<Self> {
        let containers = Containers::start(CONTAINERS)?;
        let state = tempfile::tempdir().unwrap();
        let means = Means {
            machine: Machine::look_at(Roots::default()).unwrap(),
            discovery: Discovery::of_parents(&[containers.parent().clone()]),
            sample_interval: Duration::from_secs(1),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::default()),
            journal: Journal::new(state.path(), "bench"),
        };
        let network = means.machine.capabilities().network;
        if let Some(Capability::Unavailable { reason }) = &network {
            eprintln!("SKIPPED the network: {reason}");
        }
        let has_network = matches!(network, Some(Capability::Available { .. }));
        let node = LinuxNode::open(NodeName::new("bench").unwrap(), means).unwrap();
        let full = Self { node, runtime: Runtime::new().unwrap(), has_network, containers, _state: state };
        full.check();
        Some(full)
    }

    /// Every limit of a plan is really there to be changed.
    fn check(&self) {
        let containers = self.runtime.block_on(self.node.containers()).unwrap();
        assert_eq!(containers.len(), CONTAINERS);
        for container in containers {
            let found: Vec<_> = container.limits.named().collect();
            assert!(
                self.plan(1).changes[0].limits.named().all(|asked| found.contains(&asked)),
                "{container:?}"
            );
        }
    }

    /// Limits that differ from one plan to the next, so that each of them is written.
    fn plan(&self, generation: u64) -> Plan {
        let factor = if generation.is_multiple_of(2) { 1.0 } else { 2.0 };
        let bytes = |rate| Limit::At(BytesPerSecond::new(rate * factor).unwrap());
        let operations = |rate| Limit::At(OperationsPerSecond::new(rate * factor).unwrap());
        let bits = |rate| Limit::At(BitsPerSecond::new(rate * factor).unwrap());
        let limits = Limits {
            disk: Some(ReadWrite { read: bytes(5e6), write: bytes(3e6) }),
            disk_operations: Some(ReadWrite { read: operations(500.0), write: operations(300.0) }),
            network: self.has_network.then(|| EgressIngress { egress: bits(20e6), ingress: bits(50e6) }),
            ..Limits::of_cpu(Limit::At(Cores::new(0.2 * factor).unwrap()))
        };
        let container = |i| ContainerName::new(format!("c{i}")).unwrap();
        let changes = (0..CONTAINERS).map(|i| LimitChange { container: container(i), limits });
        Plan { generation, lease_seconds: 600.0, dry_run: false, changes: changes.collect() }
    }
}

impl Drop for FullNode {
    fn drop(&mut self) {
        let not_restored = self.runtime.block_on(self.node.close());
        assert!(not_restored.is_empty(), "{not_restored:?}");
    }
}
