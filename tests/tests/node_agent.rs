//! One conformance suite for every `NodeAgent`: a real node over HTTP, the same in process, and the simulator.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ballast_api::{
    BytesPerSecond, Capability, ContainerName, ContainerState, Cores, EgressIngress, HttpNode, Limit,
    LimitChange, Limits, NodeAgent, NodeError, NodeName, OperationsPerSecond, Plan, ReadWrite, Resource,
    SystemClock,
};
use ballast_env_server::{
    LinuxNode,
    discovery::Discovery,
    journal::Journal,
    lender::Means,
    machine::{Machine, Roots},
    metrics::Metrics,
};
use ballast_kernel::{Cgroup, CgroupTree, CpuControl, Hierarchy};
use ballast_sim::{SimConfig, SimulatedNode, Simulation, Topology};
use ballast_tests::{program, real_or_skip};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

fn cores(value: f64) -> Cores {
    Cores::new(value).unwrap()
}

fn change(container: &str, limit: f64) -> LimitChange {
    let container = ContainerName::new(container).unwrap();
    LimitChange { container, limits: Limits::of_cpu(Limit::At(cores(limit))) }
}

fn plan(generation: u64, changes: Vec<LimitChange>) -> Plan {
    Plan { generation, lease_seconds: 30.0, dry_run: false, changes }
}

async fn state_of(node: &dyn NodeAgent, container: &str) -> ContainerState {
    let containers = node.containers().await.unwrap();
    containers.into_iter().find(|state| state.name.as_str() == container).unwrap()
}

async fn limit_of(node: &dyn NodeAgent, container: &str) -> f64 {
    let capacity = node.node().await.unwrap().capacity.cpu.unwrap();
    state_of(node, container).await.limits.cpu.unwrap().or(capacity).get()
}

/// A limit of one resource that differs from what any container here has, and that every kernel takes as it is.
fn example(resource: Resource) -> Limits {
    let nothing = Limits::default();
    match resource {
        Resource::Cpu => Limits::of_cpu(Limit::At(cores(0.3))),
        Resource::Disk => {
            let bytes = |rate| Limit::At(BytesPerSecond::new(rate).unwrap());
            let operations = Limit::At(OperationsPerSecond::new(900.0).unwrap());
            Limits {
                disk: Some(ReadWrite { read: bytes(5e6), write: Limit::Max }),
                disk_operations: Some(ReadWrite { read: Limit::Max, write: operations }),
                ..nothing
            }
        }
        // No node here controls these: the containers share the host's network.
        Resource::Llc => Limits { llc: Some(Limit::Max), ..nothing },
        Resource::MemoryBandwidth => Limits { memory_bandwidth: Some(Limit::Max), ..nothing },
        Resource::Network => {
            let network = EgressIngress { egress: Limit::Max, ingress: Limit::Max };
            Limits { network: Some(network), ..nothing }
        }
    }
}

/// What every node must do, told on two of its containers, `a` and `b`, whose CPU limits are what `baseline` says.
async fn conforms(node: &dyn NodeAgent, a: &str, b: &str, baseline: f64) {
    shows_itself(node, a, b, baseline).await;
    lends_and_takes_back(node, a, baseline).await;
    lends_each_resource_on_its_own(node, a).await;
    refuses_whole_plans(node, a, b, baseline).await;
    keeps_the_order_of_generations(node, a, baseline).await;
}

async fn shows_itself(node: &dyn NodeAgent, a: &str, b: &str, baseline: f64) {
    let info = node.node().await.unwrap();
    assert!(matches!(info.capabilities.cpu, Some(Capability::Available { .. })), "{info:?}");
    for resource in Resource::ALL {
        let capability = info.capabilities.get(resource).expect("all five are told of");
        if let Capability::Unavailable { reason } = capability {
            assert!(!reason.is_empty(), "{resource} is unavailable for no reason");
        }
    }
    let containers = node.containers().await.unwrap();
    assert!(containers.is_sorted_by(|one, next| one.name < next.name), "in the order of their names");
    for name in [a, b] {
        assert!((limit_of(node, name).await - baseline).abs() < 1e-9);
    }
}

async fn lends_and_takes_back(node: &dyn NodeAgent, a: &str, baseline: f64) {
    let dry = Plan { dry_run: true, ..plan(10, vec![change(a, 0.5)]) };
    assert!(node.apply(&dry).await.unwrap().dry_run);
    assert!((limit_of(node, a).await - baseline).abs() < 1e-9, "a dry run writes nothing");

    let outcome = node.apply(&plan(10, vec![change(a, 0.512_345_6)])).await.unwrap();
    let applied = outcome.applied[0].applied.cpu.unwrap().or(Cores::ZERO).get();
    assert!((applied - 0.512_345_6).abs() < 1e-4, "rounded as the hardware does: {applied}");
    assert!((limit_of(node, a).await - applied).abs() < 1e-9, "what is told is in force");

    node.restore(&ContainerName::new(a).unwrap()).await.unwrap();
    assert!((limit_of(node, a).await - baseline).abs() < 1e-9);
}

async fn lends_each_resource_on_its_own(node: &dyn NodeAgent, a: &str) {
    let capabilities = node.node().await.unwrap().capabilities;
    let own = state_of(node, a).await.limits;
    for (resource, capability) in capabilities.iter() {
        let change = LimitChange { container: ContainerName::new(a).unwrap(), limits: example(resource) };
        let outcome = node.apply(&plan(15, vec![change])).await;
        let missing = state_of(node, a).await.missing;
        if matches!(capability, Capability::Unavailable { .. }) || missing.get(resource).is_some() {
            assert!(matches!(outcome, Err(NodeError::Invalid { .. })), "{resource}: {outcome:?}");
            continue;
        }
        let (asked, applied) = (example(resource), outcome.unwrap().applied.remove(0));
        assert_eq!((applied.before, applied.applied), (own.among(&asked), asked), "{resource}");
        let state = state_of(node, a).await;
        assert_eq!(state.limits, asked.or(own), "the other resources are as they were");
        assert_eq!(state.baseline, own);
        assert_eq!(node.restore(&state.name).await.unwrap(), own);
    }
}

async fn refuses_whole_plans(node: &dyn NodeAgent, a: &str, b: &str, baseline: f64) {
    let unsupported = LimitChange {
        container: ContainerName::new(b).unwrap(),
        limits: Limits { llc: Some(Limit::Max), ..Limits::default() },
    };
    let bad = [
        plan(20, vec![change(a, 0.4), change("nobody", 0.4)]),
        plan(20, vec![change(a, 0.4), change(a, 0.3)]),
        plan(20, vec![change(a, 0.4), unsupported]),
        plan(20, vec![change(a, 0.4), change(b, 0.000_1)]),
        Plan { lease_seconds: 0.0, ..plan(20, vec![change(a, 0.4)]) },
        Plan { lease_seconds: f64::NAN, ..plan(20, vec![change(a, 0.4)]) },
        Plan { lease_seconds: 1e9, ..plan(20, vec![change(a, 0.4)]) },
    ];
    for plan in bad {
        let refused = node.apply(&plan).await.unwrap_err();
        assert!(
            matches!(refused, NodeError::Invalid { .. } | NodeError::UnknownContainer { .. }),
            "{plan:?}: {refused}"
        );
        assert!((limit_of(node, a).await - baseline).abs() < 1e-9, "half of {plan:?} was done");
    }
}

async fn keeps_the_order_of_generations(node: &dyn NodeAgent, a: &str, baseline: f64) {
    node.apply(&plan(30, vec![change(a, 0.5)])).await.unwrap();
    let older = node.apply(&plan(29, vec![change(a, 0.6)])).await.unwrap_err();
    assert!(matches!(older, NodeError::StaleGeneration { current: 30, offered: 29, .. }), "{older}");
    assert!((limit_of(node, a).await - 0.5).abs() < 1e-9);
    node.apply(&plan(30, vec![change(a, 0.5)])).await.expect("an equal generation renews");
    node.restore(&ContainerName::new(a).unwrap()).await.unwrap();
    assert!((limit_of(node, a).await - baseline).abs() < 1e-9);
    let unknown = node.restore(&ContainerName::new("nobody").unwrap()).await.unwrap_err();
    assert!(matches!(unknown, NodeError::UnknownContainer { .. }), "{unknown}");
}

#[tokio::test]
async fn the_simulated_node_conforms() {
    let topology = Topology::shipped("hotel-reservation").unwrap();
    let simulation = Arc::new(Mutex::new(Simulation::new(&topology, SimConfig::default()).unwrap()));
    simulation.lock().unwrap().advance(Duration::from_secs(2));
    conforms(&SimulatedNode::new(simulation), "geo", "rate", 0.2).await;
}

/// A cgroup parent with two containers of 0.2 cores, a sleeping process in each, removed when dropped.
struct Containers {
    parent: Cgroup,
    processes: Vec<std::process::Child>,
}

impl Containers {
    fn create() -> Self {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap());
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let parent = tree.create(&format!("ballast-test-{}-{number}", std::process::id())).unwrap();
        let mut processes = Vec::new();
        for name in ["geo", "rate"] {
            let container = tree.create(&format!("{}/{name}", parent.path())).unwrap();
            CpuControl::new(tree.hierarchy(), container.path()).set_limit(Limit::At(cores(0.2))).unwrap();
            let process = std::process::Command::new("sleep").arg("60").spawn().unwrap();
            container.attach(process.id()).unwrap();
            processes.push(process);
        }
        Self { parent, processes }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        self.parent.remove().unwrap();
    }
}

#[tokio::test]
async fn the_real_node_in_process_conforms() {
    if !real_or_skip("the_real_node_in_process_conforms") {
        return;
    }
    let containers = Containers::create();
    let state = tempfile::tempdir().unwrap();
    let means = Means {
        machine: Machine::look_at(Roots::default()).unwrap(),
        discovery: Discovery::of_parents(&[containers.parent.path().clone()]),
        sample_interval: Duration::from_secs(1),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(state.path(), "this one"),
    };
    let node = LinuxNode::open(NodeName::new("n1").unwrap(), means).unwrap();
    conforms(&node, "geo", "rate", 0.2).await;
    assert!(node.close().await.is_empty());
}

/// A real env-server; it leaves when dropped, because its input then ends.
struct EnvServer {
    _child: Child,
    url: String,
}

impl EnvServer {
    async fn start(parent: &str, state: PathBuf) -> Self {
        let mut child = Command::new(program("ballast-env-server"))
            .args([
                "--node",
                "n1",
                "--listen",
                "127.0.0.1:0",
                "--until-stdin-closes",
                "--cgroup-parent",
                parent,
            ])
            .arg("--state-dir")
            .arg(state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready: serde_json::Value =
            serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        Self { _child: child, url: ready["listening"].as_str().unwrap().to_owned() }
    }
}

#[tokio::test]
async fn end_to_end_a_real_node_over_http_conforms() {
    if !real_or_skip("end_to_end_a_real_node_over_http_conforms") {
        return;
    }
    let containers = Containers::create();
    let state = tempfile::tempdir().unwrap();
    let server = EnvServer::start(&containers.parent.path().to_string(), state.path().to_owned()).await;
    conforms(&HttpNode::new(&server.url).unwrap(), "geo", "rate", 0.2).await;
}
