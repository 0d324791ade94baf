//! A real env-server over two containers of its own, for somebody else to ask.

use std::{path::Path, process::Stdio, time::Duration};

use ballast_api::{ContainerName, Cores, Credentials, HttpNode, Limit, LimitChange, Limits, NodeAgent, Plan};
use ballast_kernel::{Cgroup, CgroupTree, CpuControl, Hierarchy};
use ballast_tests::program;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::started::{end, ready, secret};

/// The containers; `geo` is the one that the document's example speaks of.
const NAMES: [&str; 2] = ["geo", "rate"];
/// Own limit of each, in cores.
const OWN_CORES: f64 = 0.5;
/// How often schemathesis may ask: as fast as it can.
const REQUESTS_PER_SECOND: &str = "10000";

/// A cgroup parent with the containers, a sleeping process in each; all is gone when it is dropped.
pub(crate) struct Containers {
    tree: CgroupTree,
    parent: Cgroup,
    processes: Vec<std::process::Child>,
}

impl Containers {
    pub(crate) fn create(run: &str) -> Self {
        let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap());
        let parent = tree.create(&format!("ballast-test-{}-{run}", std::process::id())).unwrap();
        let mut containers = Self { tree, parent, processes: Vec::new() };
        for name in NAMES {
            let path = containers.parent.path().child(name).unwrap();
            let container = containers.tree.create(path.as_str()).unwrap();
            containers.cpu(name).set_limit(Limit::At(Cores::new(OWN_CORES).unwrap())).unwrap();
            let process = std::process::Command::new("sleep").arg("600").spawn().unwrap();
            container.attach(process.id()).unwrap();
            containers.processes.push(process);
        }
        containers
    }

    fn cpu(&self, name: &str) -> CpuControl {
        CpuControl::new(self.tree.hierarchy(), &self.parent.path().child(name).unwrap())
    }

    /// As the kernel has them, past the env-server.
    pub(crate) fn cpu_limits(&self) -> Vec<Limit<Cores>> {
        NAMES.iter().map(|name| self.cpu(name).limit().unwrap()).collect()
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        if let Err(error) = self.parent.remove() {
            eprintln!("{} was left behind: {error}", self.parent.path());
        }
    }
}

/// The program at work on the containers.
pub(crate) struct Node {
    child: Child,
    client: HttpNode,
    pub(crate) url: String,
}

impl Node {
    /// Asks for this token where there is one; the token's file lies in `folder`.
    pub(crate) async fn start(containers: &Containers, folder: &Path, token: Option<&str>) -> Self {
        let mut command = Command::new(program("ballast-env-server"));
        command
            .args(["--node", "n1", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--cgroup-parent"])
            .arg(containers.parent.path().as_str())
            .args(["--requests-per-second", REQUESTS_PER_SECOND, "--state-dir"])
            .arg(folder.join("state"));
        if let Some(token) = token {
            command.arg("--act-token-file").arg(secret(folder, token));
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let url = ready(&mut child).await;
        let credentials = Credentials { token: token.map(str::to_owned), ..Credentials::default() };
        Self { child, client: HttpNode::with_credentials(&url, &credentials).unwrap(), url }
    }

    /// What the node says is in force.
    pub(crate) async fn limits(&self) -> Vec<Limits> {
        self.client.containers().await.unwrap().into_iter().map(|state| state.limits).collect()
    }

    /// Whether a plan that touched a container was carried out.
    pub(crate) async fn has_lent(&self) -> bool {
        self.client.containers().await.unwrap().iter().any(|state| state.generation > 0)
    }

    /// Lends both containers something for a moment, whatever they were lent before, and waits until nothing is lent.
    pub(crate) async fn let_leases_end(&self) {
        let change = |name| LimitChange {
            container: ContainerName::new(name).unwrap(),
            limits: Limits::of_cpu(Limit::At(Cores::new(0.25).unwrap())),
        };
        // No plan can have had a later generation.
        let plan = Plan {
            generation: u64::MAX,
            lease_seconds: 0.2,
            dry_run: false,
            changes: NAMES.map(change).to_vec(),
        };
        self.client.apply(&plan).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while self
            .client
            .containers()
            .await
            .unwrap()
            .iter()
            .any(|state| state.lease_remaining_seconds.is_some())
        {
            assert!(Instant::now() < deadline, "a lease of 0.2 s lasts for 10 s");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn end(self) {
        end(self.child).await;
    }
}
