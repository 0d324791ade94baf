//! The life of the service: from settings to "listening", until a signal, when every campaign is ended first.

use std::{ffi::OsString, fs, io, sync::Arc, time::Duration};

use ballast_api::with_causes;
use ballast_gate::{
    Access,
    life::{self, Serving},
};
use serde_json::json;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, level_filters::LevelFilter, warn};
use tracing_subscriber::EnvFilter;

use super::{
    book::Book,
    http::{Served, router},
    metrics::Metrics,
    runner::Runner,
    settings::{ServeArgs, Settings},
    start::Starter,
};
use crate::{
    console::{print_json, warn as tell},
    error::{ExitStatus, InjectorError},
    journal::Journal,
    report::Log,
    restore::restore,
};

const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// How long campaigns may take to end when this does.
const LAST_ENDS: Duration = Duration::from_secs(15);

/// Serves until a signal comes. `typed` are the words that `arguments` were parsed from.
///
/// # Errors
/// When nothing can be listened on, or the journal cannot be read.
pub fn run(
    arguments: &ServeArgs,
    typed: impl IntoIterator<Item = OsString>,
) -> Result<ExitStatus, InjectorError> {
    let settings = match arguments.settings(typed) {
        Ok(settings) => settings,
        Err(problems) => return Ok(refused(&problems)),
    };
    let access = match Access::open(&settings.access) {
        Ok(access) => Arc::new(access),
        Err(problems) => return Ok(refused(&problems)),
    };
    // Each injection opens it for itself: where none could, none is taken.
    if let Err(error) = settings.judge.log.as_deref().map(Log::open).transpose() {
        return Ok(refused(&[with_causes(&error)]));
    }
    log_to_stderr();
    take_back(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(failed("start the runtime"))?;
    runtime.block_on(serve(settings, access, arguments.until_stdin_closes))
}

fn refused(problems: &[String]) -> ExitStatus {
    problems.iter().for_each(|problem| tell(problem));
    ExitStatus::Usage
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> InjectorError {
    move |source| InjectorError::Process { operation, source }
}

fn log_to_stderr() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// What an earlier service left, of which every process was killed.
fn take_back(settings: &Settings) -> Result<(), InjectorError> {
    let restored = restore(&Journal::new(settings.state_dir.clone()))?;
    if !restored.removed.is_empty() {
        info!(injections = restored.removed.len(), "what earlier injections left is removed");
    }
    for problem in restored.failed {
        warn!(problem, "something of an earlier injection is left");
    }
    Ok(())
}

async fn serve(
    settings: Settings,
    access: Arc<Access>,
    until_stdin_closes: bool,
) -> Result<ExitStatus, InjectorError> {
    let ends = life::until_told(until_stdin_closes).map_err(failed("wait for signals"))?;
    let listener = TcpListener::bind(settings.listen).await.map_err(failed("listen"))?;
    let address = listener.local_addr().map_err(failed("listen"))?;
    let node = fs::read_to_string(HOSTNAME).unwrap_or_default().trim().to_owned();
    let (tasks, metrics) = (TaskTracker::new(), Arc::new(Metrics::default()));
    let gate = metrics.gate.clone();
    let runner = Runner {
        book: Arc::new(Book::default()),
        metrics,
        arguments: Arc::new(settings.campaign),
        stop: ends.clone(),
    };
    let starter = Starter {
        rules: Arc::new(settings.rules),
        judging: Arc::default(),
        arguments: Arc::new(settings.judge),
        runner,
        tasks: tasks.clone(),
    };
    print_json(&json!({ "listening": life::url(address, &settings.access), "node": node }));
    info!(%address, node, "ready");
    let router = router(Served { node: node.into(), starter }, Arc::clone(&access));
    let mut serving = Serving::begin(listener, router, access, gate, CancellationToken::new());
    let ended = serving.until(&ends).await;
    ends.cancel();
    // Before connections: a client that does not let go of one must not keep an injection up.
    tasks.close();
    let all_over = timeout(LAST_ENDS, tasks.wait()).await.is_ok();
    serving.end().await;
    if !all_over {
        warn!("a campaign does not end: `ballast-injector restore` takes back what it leaves");
        return Ok(ExitStatus::LeftBehind);
    }
    info!("every campaign is over");
    Ok(if ended.is_ok() { ExitStatus::Done } else { ExitStatus::Failed })
}
