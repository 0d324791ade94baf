//! A target of one's own, and a service that may inject on it.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_api::{
    Credentials, HttpInjector,
    injector::{CampaignOrder, CampaignState},
};
use ballast_kernel::Cgroup;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::shared::{self, PROGRAM, occupy, own_cgroup};

pub(crate) const ACT: &str = "act-0123456789abcd";
pub(crate) const OBSERVE: &str = "observe-0123456789";

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A cgroup with a process in it, and a folder; gone at the end.
pub(crate) struct Stage {
    target: Cgroup,
    inhabitant: Child,
    folder: TempDir,
}

impl Stage {
    /// `None`, after saying why, where this machine cannot do it.
    pub(crate) fn set(test: &str) -> Option<Self> {
        let (_, target) = own_cgroup(&format!("service-{test}"))?;
        let inhabitant = occupy(&target, "sleep", &["6000"]);
        Some(Self { target, inhabitant, folder: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn target(&self) -> &str {
        self.target.path().as_str()
    }

    /// A file that only its owner reads.
    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A service that may inject on the target, and asks for a token.
    pub(crate) fn serve(&self) -> Service {
        let (act, observe) = (self.secret("act", ACT), self.secret("observe", OBSERVE));
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--enable", "--listen", "127.0.0.1:0", "--targets", self.target()]);
        command.arg("--act-token-file").arg(act).arg("--observe-token-file").arg(observe);
        command.arg("--state-dir").arg(self.state_dir()).arg("--until-stdin-closes");
        command.arg("--log").arg(self.log());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        Service { process, url: line["listening"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("truth.jsonl")
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// One injection into the target, of this kind and with these keys.
    pub(crate) fn order(&self, keys: &str) -> CampaignOrder {
        let campaign = format!(
            "name = 'test'\nduration = '1m'\n[[injection]]\nat = '0s'\ntarget = '{}'\n{keys}",
            self.target()
        );
        CampaignOrder { campaign, seed: None, lease_seconds: 30.0, dry_run: false }
    }

    /// Everything that is there and should not be: journal entries, and processes in the target but its own.
    pub(crate) fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state_dir()).into_iter().flatten().flatten();
        let mut left: Vec<_> = entries.map(|entry| entry.path().display().to_string()).collect();
        let own = self.inhabitant.id();
        let inside = self.target.pids().unwrap().into_iter().filter(|pid| *pid != own);
        left.extend(inside.map(|pid| format!("process {pid}")));
        left
    }

    pub(crate) async fn assert_nothing_left(&self) {
        await_true("nothing is left", async || self.left().is_empty()).await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.target.kill_all().and_then(|()| self.target.remove());
        let _ = self.inhabitant.wait();
    }
}

/// A service that runs.
pub(crate) struct Service {
    process: Child,
    pub(crate) url: String,
}

impl Service {
    pub(crate) fn client(&self, token: Option<&str>) -> HttpInjector {
        let credentials = Credentials { token: token.map(str::to_owned), ..Credentials::default() };
        HttpInjector::with_credentials(&self.url, &credentials).unwrap()
    }

    /// What it answers to a GET by whoever may act.
    pub(crate) async fn get(&self, path: &str) -> String {
        let request =
            ureq::get(format!("{}{path}", self.url)).header("authorization", format!("Bearer {ACT}"));
        let answer = move || request.call().unwrap().body_mut().read_to_string().unwrap();
        tokio::task::spawn_blocking(answer).await.unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        shared::signal(self.pid(), signal);
    }

    /// The exit code, once it has ended; `None` for one that was killed.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn await_true(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a campaign is over.
pub(crate) async fn over(client: &HttpInjector, id: &str) -> CampaignState {
    await_true("it is over", async || client.campaign(id).await.unwrap().ended.is_some()).await;
    client.campaign(id).await.unwrap()
}

/// Waits until a campaign's first injection has begun.
pub(crate) async fn begun(client: &HttpInjector, id: &str) {
    await_true("it has begun", async || client.campaign(id).await.unwrap().begun > 0).await;
}
