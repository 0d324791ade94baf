//! A lender and an injection at the same interface: a real env-server, a real injector, and neither asks the other. Needs root.
//! The test plays the host in a network namespace of its own: the machine's interfaces are never touched.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/mod.rs"]
mod support;

use std::{path::PathBuf, process::Stdio};

use ballast_api::{
    BitsPerSecond, ContainerName, ContainerState, EgressIngress, Limit, LimitChange, Limits, NodeAgent, Plan,
};
use ballast_kernel::{Cgroup, CgroupTree};
use ballast_tests::program;
use serde_json::Value;
use support::{
    hierarchy,
    host::{network, run},
    janitor::Janitor,
    missing, play,
    server::Server,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

const GEO: &str = "geo";
const VETH: &str = "veth-geo";

fn mbits(egress: f64, ingress: f64) -> Limits {
    let at = |mbits: f64| Limit::At(BitsPerSecond::new(mbits * 1e6).unwrap());
    Limits { network: Some(EgressIngress { egress: at(egress), ingress: at(ingress) }), ..Limits::default() }
}

/// A container on a veth, in a cgroup whose children are lent limits.
struct Scene {
    parent: Cgroup,
    _geo: Cgroup,
    _inhabitant: Child,
    folder: PathBuf,
}

impl Scene {
    async fn set(janitor: &Janitor, name: &str) -> Self {
        let tree = CgroupTree::new(hierarchy());
        let parent = tree.create(&format!("ballast-test-{name}-{}", std::process::id())).unwrap();
        janitor.own(parent.path());
        let geo = tree.create(&format!("{}/{GEO}", parent.path())).unwrap();
        // It ends with its input.
        let inhabitant =
            Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = inhabitant.id().unwrap();
        geo.attach(pid).unwrap();
        let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).unwrap();
        while namespace(&pid.to_string()) == namespace("thread-self") {
            tokio::task::yield_now().await;
        }
        run("ip", &format!("link add {VETH} type veth peer name eth0 netns {pid}"));
        run("ip", &format!("link set dev {VETH} up"));
        // The kernel looks for a carrier a while later: what it then says is to be said before anybody compares.
        while run("ip", &format!("link show dev {VETH}")).contains("state UNKNOWN") {
            tokio::task::yield_now().await;
        }
        Self { parent, _geo: geo, _inhabitant: inhabitant, folder: janitor.folder().to_owned() }
    }

    async fn lender(&self) -> Server {
        Server::start(&self.folder, &["--cgroup-parent", self.parent.path().as_str()]).await
    }

    /// Narrows the container's network, and is in force.
    async fn inject(&self, intensity: &str, duration: &str) -> Injection {
        let target = format!("{}/{GEO}", self.parent.path());
        let mut command = Command::new(program("ballast-injector"));
        command.args(["net-bandwidth", "--target", &target, "--intensity", intensity]);
        command.args(["--duration", duration, "--json", "--state-dir"]).arg(self.folder.join("injector"));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        said.next_line().await.unwrap().unwrap();
        Injection { child, said }
    }
}

struct Injection {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Injection {
    /// Runs to its end. What of its dose was in force, as a share.
    async fn share(mut self) -> f64 {
        let report: Value = serde_json::from_str(&self.said.next_line().await.unwrap().unwrap()).unwrap();
        assert!(self.child.wait().await.unwrap().success(), "{report}");
        report["achieved"].as_f64().unwrap() / report["requested"].as_f64().unwrap()
    }
}

fn is_injected(state: &ContainerState) -> bool {
    state.drift.network.as_ref().is_some_and(|told| told.contains("an injection holds"))
}

fn on_a_host(test: &str, work: impl AsyncFnOnce(Scene) + Send) {
    if let Some(reason) = missing(&["ip", "tc", "unshare"], "scripts/setup") {
        eprintln!("SKIPPED {test}: {reason}");
        return;
    }
    play(async |janitor| work(Scene::set(janitor, test).await).await);
}

#[test]
fn what_is_lent_outlasts_an_injection_and_is_given_back() {
    on_a_host("outlasts", async |scene| {
        let before = network();
        let server = scene.lender().await;
        server.wait_for(GEO, |state| state.limits.network.is_some()).await;
        server.lend(1, 600.0, &[(GEO, mbits(20.0, 40.0))]).await;
        let lent = network();

        let injection = scene.inject("25%", "5s").await;
        let state = server.wait_for(GEO, is_injected).await;
        assert_eq!((state.limits, state.baseline.network), (mbits(5.0, 10.0).or(state.limits), free()));
        assert!((injection.share().await - 1.0).abs() < 1e-9);

        assert_eq!(network(), lent);
        let state = server.wait_for(GEO, |state| !is_injected(state)).await;
        assert!(state.lease_remaining_seconds.is_some() && state.drift.network.is_none(), "{state:?}");
        server.lend(2, 600.0, &[(GEO, mbits(30.0, 40.0))]).await;
        server.give_back(GEO).await;
        assert_eq!(network(), before);
        server.end().await;
    });
}

#[test]
fn a_loan_that_ends_under_an_injection_is_given_back_all_the_same() {
    on_a_host("ends", async |scene| {
        let before = network();
        let server = scene.lender().await;
        server.wait_for(GEO, |state| state.limits.network.is_some()).await;
        server.lend(1, 600.0, &[(GEO, mbits(20.0, 40.0))]).await;
        let injection = scene.inject("25%", "6s").await;
        // It is left alone, and the lease is another one all the same.
        let change = LimitChange { container: ContainerName::new(GEO).unwrap(), limits: mbits(30.0, 40.0) };
        let plan = Plan { generation: 2, lease_seconds: 1.0, dry_run: false, changes: vec![change] };
        assert_eq!(server.node.apply(&plan).await.unwrap().applied[0].applied, mbits(5.0, 10.0));
        server.wait_for(GEO, |state| state.lease_remaining_seconds.is_none()).await;
        assert_eq!(network(), before);
        assert!(injection.share().await < 0.9, "it tells that it was not in force to its end");
        assert_eq!(network(), before);
        server.end().await;
    });
}

#[test]
fn an_injection_is_not_taken_for_the_containers_own_limit() {
    on_a_host("own", async |scene| {
        let before = network();
        let injection = scene.inject("5Mbit/s", "6s").await;
        let server = scene.lender().await;
        let state = server.wait_for(GEO, is_injected).await;
        assert_eq!((state.limits.network, state.baseline.network), (mbits(5.0, 5.0).network, None));
        assert!((injection.share().await - 1.0).abs() < 1e-9);
        server.lend(1, 600.0, &[(GEO, mbits(20.0, 40.0))]).await;
        server.give_back(GEO).await;
        assert_eq!(network(), before);
        server.end().await;
    });
}

fn free() -> Option<EgressIngress<Limit<BitsPerSecond>>> {
    Some(EgressIngress { egress: Limit::Max, ingress: Limit::Max })
}
