//! `ballast inject`: the master has a real injector contend on a real cgroup, and collects what was done. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Stdio, time::Duration};

use ballast_kernel::{Cgroup, CgroupTree, Hierarchy};
use ballast_tests::{cgroups_or_skip, program};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep},
};

/// A target, and an injector that may hurt it, at a URL.
struct Scene {
    target: Cgroup,
    inhabitant: Child,
    folder: TempDir,
    _injector: Child,
    url: String,
}

impl Scene {
    async fn set(name: &str) -> Self {
        let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap());
        let target = tree.create(&format!("ballast-test-inject-{}-{name}", std::process::id())).unwrap();
        let inhabitant = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        target.attach(inhabitant.id().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut injector = Command::new(program("ballast-injector"))
            .args(["serve", "--enable", "--listen", "127.0.0.1:0", "--targets", target.path().as_str()])
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(injector.stdout.take().unwrap()).lines();
        let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        let url = line["listening"].as_str().unwrap().to_owned();
        Self { target, inhabitant, folder, _injector: injector, url }
    }

    fn inject(&self, injection: &str, more: &[&str]) -> Command {
        let file = self.folder.path().join("campaign.toml");
        let target = self.target.path();
        let text = format!("duration = '1m'\n[[injection]]\nat = '0s'\ntarget = '{target}'\n{injection}\n");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(program("ballast"));
        command.arg("inject").arg(file).args(["--injector", &self.url]).args(more).kill_on_drop(true);
        command
    }

    /// The target's processes but its own.
    fn intruders(&self) -> usize {
        self.target.pids().unwrap().len() - 1
    }

    async fn await_intruders(&self, number: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.intruders() != number {
            assert!(Instant::now() < end, "{} intruders, not {number}", self.intruders());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.inhabitant.start_kill();
        let _ = self.target.kill_all().and_then(|()| self.target.remove());
    }
}

#[tokio::test]
async fn a_campaign_is_done_and_the_ground_truth_collected() {
    if !cgroups_or_skip("a_campaign_is_done_and_the_ground_truth_collected") {
        return;
    }
    let scene = Scene::set("done").await;
    let truth = scene.folder.path().join("truth.jsonl");
    let more = ["--truth", truth.to_str().unwrap(), "--json"];
    let output =
        scene.inject("duration = '1s'\nkind = 'cpu'\nintensity = '0.2'", &more).output().await.unwrap();
    let (told, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{told}{errors}");
    let truth: Value = serde_json::from_str(&fs::read_to_string(truth).unwrap()).unwrap();
    assert_eq!((&truth["kind"], &truth["ending"]), (&"cpu".into(), &"completed".into()), "{truth}");
    assert_eq!(truth["target"], scene.target.path().as_str());
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((&last["campaign"]["completed"], &last["lost"]), (&1.into(), &Value::Null), "{last}");
    assert_eq!(scene.intruders(), 0);
}

#[tokio::test]
async fn what_a_node_does_not_take_is_told_and_a_dry_run_does_nothing() {
    if !cgroups_or_skip("what_a_node_does_not_take_is_told_and_a_dry_run_does_nothing") {
        return;
    }
    let scene = Scene::set("dry").await;
    let pause = "duration = '5s'\nkind = 'pause'";
    let output = scene.inject(pause, &["--dry-run"]).output().await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("pause --target"), "{told}");
    for (injection, more, code) in [
        ("duration = '5h'\nkind = 'pause'", &[][..], 3),
        ("duration = '5s'\nkind = 'pause'\noptions = { log = '/x' }", &[], 3),
        (pause, &["--injector", "http://127.0.0.1:1"], 4),
        (pause, &["--truth", "/nowhere/x"], 3),
        (pause, &["--token-file", "/nowhere/token"], 3),
    ] {
        let output = scene.inject(injection, more).output().await.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{injection} {more:?}: {errors}");
        assert!(errors.starts_with("ballast: "), "{errors}");
    }
    assert_eq!(scene.intruders(), 0);
}

#[tokio::test]
async fn an_interrupted_and_a_killed_master_leave_no_contention() {
    if !cgroups_or_skip("an_interrupted_and_a_killed_master_leave_no_contention") {
        return;
    }
    let scene = Scene::set("interrupted").await;
    for (signal, code) in [(Signal::SIGINT, Some(130)), (Signal::SIGKILL, None)] {
        let mut master =
            scene.inject("duration = '50s'\nkind = 'cpu'\nintensity = '0.1'", &[]).spawn().unwrap();
        scene.await_intruders(1).await;
        kill(Pid::from_raw(i32::try_from(master.id().unwrap()).unwrap()), signal).unwrap();
        assert_eq!(master.wait().await.unwrap().code(), code);
        // At once, or when the lease ends.
        scene.await_intruders(0).await;
    }
}
