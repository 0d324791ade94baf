//! All processes of a testbed: started in order, watched, killed.
//!
//! Must not know how cgroups are made or removed.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use ballast_api::ContainerName;
use ballast_sim::Topology;
use futures::{FutureExt, future};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{
    Ready, UpArgs,
    cells::Cells,
    child::{Child, Launch},
    extras, stores,
};
use crate::{service::Listening, topology};

/// How long all services may take until they answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a process may take to die after its last sign of life.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The processes started until now.
#[derive(Debug)]
pub struct Estate<'a> {
    args: &'a UpArgs,
    topology: &'a Topology,
    cells: &'a Cells,
    /// Services and stores: the testbed is not whole without each of them.
    containers: Vec<Child>,
    /// Redis and cAdvisor.
    extras: Vec<Child>,
}

impl<'a> Estate<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new(args: &'a UpArgs, topology: &'a Topology, cells: &'a Cells) -> Self {
        Self { args, topology, cells, containers: Vec::new(), extras: Vec::new() }
    }

    /// Starts everything and waits until it answers.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(&mut self) -> anyhow::Result<Ready> {
        let mut peers = BTreeMap::new();
        for store in &self.topology.stores {
            let (child, address) = stores::start(&store.name, self.topology, self.cells).await?;
            self.containers.push(child);
            peers.insert(store.name.clone(), address.to_string());
        }
        let first_service = self.containers.len();
        for service in &self.topology.services {
            self.containers.push(self.launch(&service.name)?);
        }
        let mut services = BTreeMap::new();
        for (child, service) in self.containers[first_service..].iter_mut().zip(&self.topology.services) {
            let url = address(child).await?;
            peers.insert(service.name.clone(), url.clone());
            services.insert(service.name.clone(), url);
        }
        let peers = serde_json::to_string(&peers)? + "\n";
        for child in &mut self.containers[first_service..] {
            tell(child, &peers).await?;
        }
        self.wait_for_health(services.values()).await?;
        self.start_extras(services).await
    }

    fn launch(&self, service: &ContainerName) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut args = vec!["service".to_owned(), "--until-stdin-closes".to_owned(), "--peers=-".to_owned()];
        args.push(format!("--topology={}", self.args.topology));
        args.push(format!("--service={service}"));
        args.push(format!("--node={}", self.args.node));
        args.push(format!("--seed={}", self.args.seed));
        args.extend(self.args.otlp.iter().map(|url| format!("--otlp={url}")));
        let cgroup = Some(self.cells.of(service)?);
        let (name, program) = (service.as_str(), program.as_os_str());
        Launch { name, program, args, talks: true, cgroup, work_dir: self.cells.work_dir() }.start()
    }

    /// A service accepts connections before it knows its peers, so one question to each is enough: it waits.
    async fn wait_for_health(&mut self, services: impl Iterator<Item = &String>) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().timeout(HEALTH_TIMEOUT).no_proxy().build()?;
        let questions = services.map(|url| {
            let question = http.get(format!("{url}/healthz"));
            async move { question.send().await?.error_for_status() }
        });
        let mut deaths =
            future::select_all(self.containers.iter_mut().map(|child| child.death().boxed_local()));
        let health = tokio::select! {
            health = future::try_join_all(questions) => health,
            (obituary, ..) = &mut deaths => anyhow::bail!(obituary),
        };
        match health {
            Ok(_) => Ok(()),
            // A dying service resets its connections a moment before it is dead, and its last words tell more.
            Err(error) => match tokio::time::timeout(LAST_WORDS, deaths).await {
                Ok((obituary, ..)) => anyhow::bail!(obituary),
                Err(_) => Err(error).context("a service is not ready"),
            },
        }
    }

    async fn start_extras(&mut self, services: BTreeMap<ContainerName, String>) -> anyhow::Result<Ready> {
        let containers: Vec<_> = self.topology.containers().map(|(name, _)| name.clone()).collect();
        let mut ready = Ready {
            frontend: services
                .get(topology::entry(self.topology)?)
                .context("the entry has no address")?
                .clone(),
            containers,
            cadvisor: None,
            redis: None,
            cgroup_parent: self.args.cgroup_parent.clone(),
        };
        let work_dir = self.cells.work_dir();
        if self.args.with_redis {
            let (child, url) = extras::redis(work_dir).await?;
            self.extras.push(child);
            ready.redis = Some(url);
        }
        if let Some(program) = &self.args.cadvisor {
            let (child, url) =
                extras::cadvisor(program, &ready.cgroup_parent, &ready.containers, work_dir).await?;
            self.extras.push(child);
            ready.cadvisor = Some(url);
        }
        Ok(ready)
    }

    /// Waits for the death of a container. That of another program is told, and the rest goes on.
    ///
    /// # Errors
    /// Always, with how the container ended.
    pub async fn watch(&mut self) -> anyhow::Result<()> {
        loop {
            let containers = self.containers.iter_mut().map(|child| child.death().boxed_local());
            let extras = self.extras.iter_mut().map(|child| child.death().boxed_local());
            let first_extra = containers.len();
            let (obituary, dead, _) = future::select_all(containers.chain(extras)).await;
            if dead < first_extra {
                anyhow::bail!(obituary);
            }
            tracing::error!(obituary, "a program beside the containers is gone; the rest goes on");
            drop(self.extras.remove(dead - first_extra));
        }
    }

    /// Kills every process, without waiting.
    pub fn kill(&mut self) {
        self.containers.iter_mut().chain(&mut self.extras).for_each(Child::kill);
    }

    /// Waits until the killed processes are gone.
    pub async fn reap(&mut self) {
        for child in self.containers.iter_mut().chain(&mut self.extras) {
            child.death().await;
        }
    }
}

/// The address that a service tells on standard output.
async fn address(child: &mut Child) -> anyhow::Result<String> {
    let stdout = child.process.stdout.take().context("its standard output is not ours")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    if line.is_empty() {
        anyhow::bail!(child.death().await);
    }
    let told: Listening =
        serde_json::from_str(&line).with_context(|| format!("{} told {line:?}", child.name))?;
    Ok(format!("http://{}", told.listening))
}

/// Writes one line to a service; the pipe stays open, and its end would tell the service to stop.
async fn tell(child: &mut Child, line: &str) -> anyhow::Result<()> {
    let stdin = child.stdin.as_mut().context("its standard input is not ours")?;
    let written = stdin.write_all(line.as_bytes()).await;
    written.with_context(|| format!("telling {} where its peers are", child.name))
}
