//! A real env-server on a free port, which ends with the test.

use std::{path::Path, process::Stdio, time::Duration};

use ballast_api::{ContainerName, ContainerState, HttpNode, LimitChange, Limits, NodeAgent, NodeError, Plan};
use ballast_tests::program;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

pub(crate) struct Server {
    child: Child,
    pub(crate) node: HttpNode,
}

impl Server {
    /// With its state in `folder`, where a later one finds what an earlier one owed.
    pub(crate) async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program("ballast-env-server"))
            .args(["--node", "n1", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--state-dir"])
            .arg(folder.join("state"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        Self { child, node: HttpNode::new(ready["listening"].as_str().unwrap()).unwrap() }
    }

    pub(crate) async fn end(mut self) {
        drop(self.child.stdin.take());
        let status = timeout(Duration::from_secs(20), self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }

    /// With SIGKILL: it restores nothing.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The names of all containers.
    pub(crate) async fn names(&self) -> Vec<String> {
        let containers = self.node.containers().await.unwrap();
        containers.into_iter().map(|state| state.name.to_string()).collect()
    }

    async fn find(&self, name: &str) -> Option<ContainerState> {
        let containers = self.node.containers().await.unwrap();
        containers.into_iter().find(|state| state.name.as_str() == name)
    }

    /// The container, once it is such as `wanted` wants it.
    pub(crate) async fn wait_for(
        &self,
        name: &str,
        wanted: impl Fn(&ContainerState) -> bool,
    ) -> ContainerState {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.find(name).await {
                Some(state) if wanted(&state) => return state,
                other => assert!(Instant::now() < deadline, "{name} stays {other:?}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lends to each, and demands that all is applied as asked.
    pub(crate) async fn lend(&self, generation: u64, lease_seconds: f64, lent: &[(&str, Limits)]) {
        let change = |(name, limits): &(&str, Limits)| {
            let container = ContainerName::new(*name).unwrap();
            LimitChange { container, limits: *limits }
        };
        let changes: Vec<LimitChange> = lent.iter().map(change).collect();
        let plan = Plan { generation, lease_seconds, dry_run: false, changes };
        let outcome = self.node.apply(&plan).await.unwrap();
        for (applied, (name, limits)) in outcome.applied.iter().zip(lent) {
            assert_eq!(applied.applied, *limits, "{name}");
        }
    }

    /// Demands that a container is unknown.
    pub(crate) async fn does_not_know(&self, generation: u64, name: &str, limits: Limits) {
        let change = LimitChange { container: ContainerName::new(name).unwrap(), limits };
        let plan = Plan { generation, lease_seconds: 600.0, dry_run: false, changes: vec![change] };
        let refused = self.node.apply(&plan).await.unwrap_err();
        assert!(matches!(refused, NodeError::UnknownContainer { .. }), "{refused}");
    }

    /// Back to its own limits.
    pub(crate) async fn give_back(&self, name: &str) {
        self.node.restore(&ContainerName::new(name).unwrap()).await.unwrap();
    }
}
