//! A target, injections of it, and all that could be left of them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_injector::clocks;
use ballast_kernel::{Cgroup, CgroupTree, Freezer, Hierarchy};
use nix::{
    sys::signal::{Signal, kill as send},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-injector");

/// How long an injection may take to clean up, on a busy machine.
const SOON: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Longer than any round: only a blow ends an injection.
const DURATION: &str = "10m";

pub(crate) struct Scene {
    tree: CgroupTree,
    name: String,
    target: Cgroup,
    inhabitant: Child,
    folder: TempDir,
}

impl Scene {
    /// `None`, after saying why, where this machine cannot do it.
    pub(crate) fn set(test: &str) -> Option<Self> {
        let skipped = |reason: &str| {
            eprintln!("SKIPPED {test}: {reason}");
            None
        };
        if !geteuid().is_root() {
            return skipped("it needs root");
        }
        let tree = match Hierarchy::find(Path::new("/proc/self/mountinfo")) {
            Ok(hierarchy) => CgroupTree::new(hierarchy),
            Err(error) => return skipped(&error.to_string()),
        };
        let name = format!("ballast-test-kills-{}", std::process::id());
        let target = match tree.create(&name) {
            Ok(target) => target,
            Err(error) => return skipped(&error.to_string()),
        };
        let inhabitant = inhabit(&target);
        // On a disk: the kind disk wants one.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        Some(Self { tree, name, target, inhabitant, folder })
    }

    /// Begins an injection; whether it has begun when this returns is left to chance.
    pub(crate) fn inject(&self, kind: &[&str], place: &str) -> Child {
        let mut command = Command::new(PROGRAM);
        command
            .args(kind)
            .args([place, &self.name, "--duration", DURATION])
            .arg("--state-dir")
            .arg(self.state_dir());
        if kind[0] == "disk" {
            command.arg("--dir").arg(self.folder.path());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn state_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn restore(&self) {
        let restored =
            Command::new(PROGRAM).args(["restore", "--state-dir"]).arg(self.state_dir()).output().unwrap();
        assert!(restored.status.success(), "{restored:?}");
    }

    /// Processes, cgroups, files, mounts and interfaces that an injection could leave, one line each, and whether the target
    /// is paused.
    pub(crate) fn everything(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        all.extend(own_processes().map(|pid| format!("process {pid}")));
        all.extend(self.cgroups());
        all.extend(files(self.folder.path()).into_iter().map(|file| format!("file {file}")));
        let lines = |path: &str| fs::read_to_string(path).unwrap();
        // Others mount and unmount meanwhile; what is ours has our name in it.
        all.extend(
            lines("/proc/self/mountinfo")
                .lines()
                .filter(|line| line.contains("ballast-inj"))
                .map(str::to_owned),
        );
        all.extend(
            lines("/proc/net/dev")
                .lines()
                .filter_map(|line| Some(format!("interface {}", line.split_once(':')?.0.trim()))),
        );
        let freezer = Freezer::find(Path::new("/proc/self/mountinfo"), self.target.path()).unwrap();
        all.extend(freezer.filter(|freezer| freezer.is_frozen().unwrap()).map(|_| "paused".to_owned()));
        all
    }

    fn cgroups(&self) -> impl Iterator<Item = String> {
        let roots = fs::read_dir(self.tree.hierarchy().cpu_root()).unwrap();
        let names = roots.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let injections = names.filter(|name| name.starts_with("ballast-injection-"));
        let below = self.tree.hierarchy().children(self.target.path()).unwrap().into_keys();
        injections.chain(below).map(|name| format!("cgroup {name}"))
    }

    /// Whether there is nothing that was not there before, within the time that an injection may take to clean up.
    pub(crate) fn is_soon(&self, before: &BTreeSet<String>) -> bool {
        let end = clocks::monotonic() + SOON;
        while !self.everything().is_subset(before) {
            if clocks::monotonic() > end {
                return false;
            }
            clocks::sleep_until(clocks::monotonic() + LOOK_AGAIN);
        }
        true
    }

    pub(crate) fn restart_target(&mut self) {
        self.inhabitant.kill().unwrap();
        self.inhabitant.wait().unwrap();
        self.inhabitant = inhabit(&self.target);
    }

    pub(crate) fn remake_target(&mut self) {
        // A supervisor may move its worker in just now.
        while self.target.kill_all().and_then(|()| self.target.remove()).is_err() {}
        let _ = self.inhabitant.wait();
        self.target = self.tree.create(&self.name).unwrap();
        self.inhabitant = inhabit(&self.target);
    }

    /// A target that was emptied is inhabited again.
    pub(crate) fn revive(&mut self) {
        if self.inhabitant.try_wait().unwrap().is_some() {
            self.inhabitant = inhabit(&self.target);
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.target.kill_all().and_then(|()| self.target.remove());
        let _ = self.inhabitant.wait();
    }
}

fn inhabit(target: &Cgroup) -> Child {
    let child = Command::new("sleep").arg("6000").stdin(Stdio::null()).spawn().unwrap();
    target.attach(child.id()).unwrap();
    child
}

/// Processes of this very program file, but zombies.
fn own_processes() -> impl Iterator<Item = u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(PROGRAM))
    })
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path().display().to_string()),
        }
    }
    found
}

/// Worker and janitor of a supervisor, where they are there.
pub(crate) fn children_of(supervisor: u32) -> (Option<u32>, Option<u32>) {
    let list = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = fs::read_to_string(list).unwrap_or_default();
    let role = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is =
        |role_name: &str, pid: &u32| role(pid).split(|byte| *byte == 0).nth(1) == Some(role_name.as_bytes());
    let pids: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let find = |name: &str| pids.iter().copied().find(|pid| is(name, pid));
    (find("worker"), find("janitor"))
}

/// One after the other; who is gone already is gone.
pub(crate) fn kill(pids: &[Option<u32>]) {
    for pid in pids.iter().flatten() {
        let _ = send(Pid::from_raw(i32::try_from(*pid).unwrap()), Signal::SIGKILL);
    }
}

/// Waits for the supervisor, which a blow at others has not ended: then it is asked to end.
pub(crate) fn end(mut supervisor: Child, what: &str) {
    let patience = clocks::monotonic() + SOON;
    let mut asked = false;
    while supervisor.try_wait().unwrap().is_none() {
        if !asked && clocks::monotonic() + SOON / 2 > patience {
            let _ = send(Pid::from_raw(i32::try_from(supervisor.id()).unwrap()), Signal::SIGTERM);
            asked = true;
        }
        assert!(clocks::monotonic() < patience + SOON, "{what}: the supervisor does not end");
        clocks::sleep_until(clocks::monotonic() + LOOK_AGAIN);
    }
}
