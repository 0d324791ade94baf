//! The stage of real processes: the testbed in its cgroups, the env-server, cAdvisor, Redis, a real load.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use ballast_api::{Clock, HttpNode, NodeAgent, NodeName, SystemClock, UnixNanos};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    companions::{Companion, EndedEarly, Programs},
    run_folder::RunFolder,
    score::FinishedRequest,
    stage::{Contention, Mode, Stage},
};
use crate::{
    operate::{MEMORY, MetricsConfig, start_intake, start_metrics},
    store::MetricStore,
    traces::{TraceWindow, WindowConfig},
};

/// What is needed besides Ballast's own programs.
const NEEDED_PROGRAMS: [&str; 3] = ["ballast-testbed", "ballast-env-server", "ballast-injector"];

/// Why real processes cannot be had here, as a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotPossible(String);

/// What to build the stage from.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Ballast's own programs.
    pub programs: Programs,
    /// Where run folders are made.
    pub base: PathBuf,
    /// The topology's name or file.
    pub topology: String,
    /// Requests per second.
    pub requests_per_second: f64,
    /// How long the load lasts at most.
    pub longest: Duration,
    /// cAdvisor's program, if there is one.
    pub cadvisor: Option<PathBuf>,
    /// Draws the load.
    pub seed: u64,
}

/// Real processes under load.
pub struct RealStage {
    setting: Setting,
    folder: RunFolder,
    node: Arc<HttpNode>,
    traces: Arc<Mutex<TraceWindow>>,
    metrics: Arc<dyn MetricStore>,
    janitor: Companion,
    testbed: Companion,
    env_server: Companion,
    injector: Option<Companion>,
    load: JoinHandle<Result<()>>,
    finished: mpsc::UnboundedReceiver<FinishedRequest>,
    /// Stops the receiver, the collector and the load.
    tasks: DropGuard,
}

/// The testbed's first line.
#[derive(Debug, Deserialize)]
struct TestbedReady {
    frontend: String,
    cadvisor: Option<String>,
    redis: Option<String>,
}

/// The env-server's first line.
#[derive(Debug, Deserialize)]
struct EnvServerReady {
    listening: String,
}

impl RealStage {
    /// Starts everything and waits until the load flows.
    ///
    /// # Errors
    /// [`NotPossible`] when this machine cannot (no root, a program missing); any other error when it should have.
    pub async fn raise(setting: Setting) -> Result<Self> {
        possible(&setting.programs)?;
        let folder = RunFolder::create(&setting.base)?;
        let stop = CancellationToken::new();
        let tasks = stop.clone().drop_guard();
        let janitor = start_janitor(&folder)?;

        let traces = Arc::new(Mutex::new(TraceWindow::new(WindowConfig::default())));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listening for traces")?;
        let otlp = format!("http://{}", listener.local_addr()?);
        start_intake(listener, Arc::clone(&traces), stop.clone());

        let node_name = NodeName::new("demo")?;
        let (testbed, ready) = start_testbed(&setting, &folder, &otlp).await.map_err(unless_possible)?;
        let (env_server, listening) = start_env_server(&setting, &folder, &node_name).await?;
        let node = Arc::new(HttpNode::new(&listening)?);
        let sources = MetricsConfig {
            cadvisor: ready.cadvisor,
            cgroup_parents: vec![folder.cgroup_parent()],
            store: ready.redis.unwrap_or_else(|| MEMORY.to_owned()),
        };
        let agent = Arc::clone(&node) as Arc<dyn NodeAgent>;
        let metrics = start_metrics(&sources, agent, node_name, stop.clone()).await?.store;
        let (load, finished) = start_load(&setting, &folder, &ready.frontend, &otlp, stop)?;
        Ok(Self {
            setting,
            folder,
            node,
            traces,
            metrics,
            janitor,
            testbed,
            env_server,
            injector: None,
            load,
            finished,
            tasks,
        })
    }

    fn check_companions(&mut self) -> Result<()> {
        for companion in [&mut self.testbed, &mut self.env_server] {
            if companion.has_ended()? {
                bail!("{} ended in the midst of the demo", companion.name());
            }
        }
        if let Some(injector) = &mut self.injector
            && injector.has_failed()?
        {
            bail!("{} failed in the midst of the demo", injector.name());
        }
        if self.load.is_finished() {
            bail!("the load generator ended in the midst of the demo");
        }
        Ok(())
    }
}

/// Whether this machine can run the real stage at all.
fn possible(programs: &Programs) -> Result<(), NotPossible> {
    if !nix::unistd::geteuid().is_root() {
        return Err(NotPossible("real cgroups need root".to_owned()));
    }
    match NEEDED_PROGRAMS.iter().find(|name| programs.find(name).is_none()) {
        Some(missing) => Err(NotPossible(format!("{missing} does not lie beside this program"))),
        None => Ok(()),
    }
}

/// The testbed refuses with these codes where the machine has no writable cgroups, or lacks a program.
const MACHINE_LACKS_SOMETHING: [Option<i32>; 2] = [Some(3), Some(4)];

fn unless_possible(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<EndedEarly>() {
        Some(ended) if MACHINE_LACKS_SOMETHING.contains(&ended.code) => {
            NotPossible("the testbed says above what this machine lacks".to_owned()).into()
        }
        _ => error,
    }
}

fn start_janitor(folder: &RunFolder) -> Result<Companion> {
    let myself = std::env::current_exe().context("finding this program")?;
    Companion::start(&myself, &["demo".to_owned(), "--janitor".to_owned(), path_text(folder.path())])
}

async fn start_testbed(
    setting: &Setting,
    folder: &RunFolder,
    otlp: &str,
) -> Result<(Companion, TestbedReady)> {
    let mut arguments =
        texts(["up", "--topology", &setting.topology, "--otlp", otlp, "--node", "demo", "--with-redis"]);
    arguments.extend(["--cgroup-parent".to_owned(), folder.cgroup_parent()]);
    arguments.extend(["--work-dir".to_owned(), path_text(&folder.testbed())]);
    if let Some(cadvisor) = &setting.cadvisor {
        arguments.extend(["--cadvisor".to_owned(), path_text(cadvisor)]);
    }
    start(setting, folder, "ballast-testbed", &arguments).await
}

async fn start_env_server(
    setting: &Setting,
    folder: &RunFolder,
    node: &NodeName,
) -> Result<(Companion, String)> {
    let mut arguments = texts(["--node", node.as_str(), "--listen", "127.0.0.1:0"]);
    arguments.extend(["--cgroup-parent".to_owned(), folder.cgroup_parent()]);
    arguments.extend(["--state-dir".to_owned(), path_text(&folder.path().join("env-server"))]);
    let (companion, ready): (_, EnvServerReady) =
        start(setting, folder, "ballast-env-server", &arguments).await?;
    Ok((companion, ready.listening))
}

/// Starts one of Ballast's programs, waits for its first line, and writes its pid down for the janitor.
async fn start<T: serde::de::DeserializeOwned>(
    setting: &Setting,
    folder: &RunFolder,
    name: &str,
    arguments: &[String],
) -> Result<(Companion, T)> {
    let program = setting.programs.find(name).ok_or_else(|| anyhow!("{name} is missing"))?;
    let (companion, ready) = Companion::start_and_wait(&program, arguments).await?;
    if let Some(pid) = companion.pid() {
        folder.note_pid(pid)?;
    }
    Ok((companion, ready))
}

/// Starts the load and reads the requests that it finishes. The task ends with the load, which ends with `stop`.
fn start_load(
    setting: &Setting,
    folder: &RunFolder,
    frontend: &str,
    otlp: &str,
    stop: CancellationToken,
) -> Result<(JoinHandle<Result<()>>, mpsc::UnboundedReceiver<FinishedRequest>)> {
    let program =
        setting.programs.find("ballast-testbed").ok_or_else(|| anyhow!("ballast-testbed is missing"))?;
    let mut arguments = texts(["load", "--url", frontend, "--topology", &setting.topology, "--otlp", otlp]);
    arguments.extend(["--rate".to_owned(), setting.requests_per_second.to_string()]);
    arguments.extend(["--duration".to_owned(), format!("{}s", setting.longest.as_secs())]);
    arguments.extend(["--seed".to_owned(), setting.seed.to_string()]);
    arguments.extend(texts(["--each", "-", "--quiet"]));
    let mut load = Companion::start(&program, &arguments)?;
    if let Some(pid) = load.pid() {
        folder.note_pid(pid)?;
    }
    // Bounded by the load: its rate times the longest duration.
    let (sender, receiver) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Some(line) = tokio::select! {
            line = load.next_line() => line?,
            () = stop.cancelled() => None,
        } {
            let request = serde_json::from_str(&line)
                .with_context(|| format!("the load generator said {line:?} instead of a request"))?;
            // The stage may be gone already: then nobody wants to know.
            drop(sender.send(request));
        }
        load.stop().await
    });
    Ok((task, receiver))
}

fn texts<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn path_text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[async_trait]
impl Stage for RealStage {
    fn mode(&self) -> Mode {
        Mode::Real
    }

    fn node(&self) -> Arc<dyn NodeAgent> {
        Arc::clone(&self.node) as Arc<dyn NodeAgent>
    }

    fn traces(&self) -> Arc<Mutex<TraceWindow>> {
        Arc::clone(&self.traces)
    }

    fn metrics(&self) -> Arc<dyn MetricStore> {
        Arc::clone(&self.metrics)
    }

    fn now(&self) -> UnixNanos {
        SystemClock.now()
    }

    async fn pass(&mut self, time: Duration) -> Result<()> {
        tokio::time::sleep(time).await;
        self.check_companions()
    }

    async fn contend(&mut self, contention: &Contention) -> Result<UnixNanos> {
        // The one before has ended by itself long ago; it is only reaped here.
        self.stop_injector().await?;
        let arguments = [
            texts(["cpu", "--json", "--target"]),
            vec![format!("{}/{}", self.folder.cgroup_parent(), contention.target)],
            texts(["--intensity"]),
            vec![format!("{}%", contention.percent_of_limit)],
            texts(["--duration"]),
            vec![format!("{}s", contention.duration.as_secs())],
            texts(["--state-dir"]),
            vec![path_text(&self.folder.path().join("injector"))],
        ]
        .concat();
        let (injector, InjectionStarted { started_unix_nanos }) =
            start(&self.setting, &self.folder, "ballast-injector", &arguments).await?;
        self.injector = Some(injector);
        Ok(started_unix_nanos)
    }

    fn finished(&mut self) -> Result<Vec<FinishedRequest>> {
        Ok(std::iter::from_fn(|| self.finished.try_recv().ok()).collect())
    }

    async fn strike(mut self: Box<Self>) -> Result<Vec<String>> {
        let mut leftovers = Vec::new();
        let mut note = |what: &str, ended: Result<()>| {
            if let Err(error) = ended {
                leftovers.push(format!("{what}: {error:#}"));
            }
        };
        note("injector", self.stop_injector().await);
        drop(self.tasks);
        note("load generator", self.load.await.map_err(anyhow::Error::from).and_then(|ended| ended));
        note("env-server", self.env_server.stop().await);
        note("testbed", self.testbed.stop().await);
        note("cgroups", nothing_left_of(&self.folder.cgroup_parent()));
        note("folder", self.folder.remove());
        note("janitor", self.janitor.stop().await);
        Ok(leftovers)
    }
}

impl RealStage {
    async fn stop_injector(&mut self) -> Result<()> {
        match self.injector.take() {
            Some(injector) => injector.stop().await,
            None => Ok(()),
        }
    }
}

/// The injector's first line.
#[derive(Debug, Deserialize)]
struct InjectionStarted {
    started_unix_nanos: UnixNanos,
}

/// An independent look: whether any hierarchy still holds a cgroup of that name.
fn nothing_left_of(cgroup_parent: &str) -> Result<()> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").context("looking into /sys/fs/cgroup")?;
    let left: Vec<String> = hierarchies
        .filter_map(|hierarchy| Some(hierarchy.ok()?.path().join(cgroup_parent)))
        .chain([PathBuf::from("/sys/fs/cgroup").join(cgroup_parent)])
        .filter(|path| path.exists())
        .map(|path| path_text(&path))
        .collect();
    if left.is_empty() { Ok(()) } else { bail!("{}", left.join(", ")) }
}
