//! Cgroups of one test, and an env-server that looks after them. All is gone when it goes out of scope.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod own;
pub(crate) mod stage;
pub(crate) mod unwritable;

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use ballast_api::{CgroupVersion, ContainerName, Cores, HttpNode, Limit};
use ballast_kernel::{Cgroup, CgroupPath, CgroupTree, CpuControl, Hierarchy};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

pub(crate) fn cores(cores: f64) -> Limit<Cores> {
    Limit::At(Cores::new(cores).unwrap())
}

pub(crate) fn name(name: &str) -> ContainerName {
    ContainerName::new(name).unwrap()
}

/// A cgroup parent with the containers `geo`, without a limit, and `rate`, with half a core.
pub(crate) struct Scratch {
    tree: CgroupTree,
    parent: Cgroup,
    folder: tempfile::TempDir,
}

impl Scratch {
    /// Absent, with the reason on stderr, where this machine cannot run the test.
    pub(crate) fn new(test: &str) -> Option<Self> {
        match Self::make(test) {
            Ok(scratch) => Some(scratch),
            Err(reason) => {
                eprintln!("SKIPPED {test}: {reason}");
                None
            }
        }
    }

    fn make(test: &str) -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("it needs root".to_owned());
        }
        let hierarchy =
            Hierarchy::find(Path::new("/proc/self/mountinfo")).map_err(|error| error.to_string())?;
        let tree = CgroupTree::new(hierarchy);
        let parent = tree
            .create(&format!("ballast-test-{}-{test}", std::process::id()))
            .map_err(|error| error.to_string())?;
        let scratch = Self { tree, parent, folder: tempfile::tempdir().unwrap() };
        scratch.add("geo");
        scratch.add("rate");
        scratch.cpu("rate").set_limit(cores(0.5)).unwrap();
        Ok(scratch)
    }

    pub(crate) fn version(&self) -> CgroupVersion {
        self.tree.hierarchy().version()
    }

    pub(crate) fn parent(&self) -> String {
        self.parent.path().to_string()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn add(&self, container: &str) {
        self.tree.create(self.path(container).as_str()).unwrap();
    }

    pub(crate) fn remove(&self, container: &str) {
        self.find(container).remove().unwrap();
    }

    pub(crate) fn kill(&self, container: &str) {
        self.find(container).kill_all().unwrap();
    }

    pub(crate) fn attach(&self, container: &str, pid: u32) {
        self.find(container).attach(pid).unwrap();
    }

    /// Its only process.
    pub(crate) fn pid(&self, container: &str) -> u32 {
        self.find(container).pids().unwrap()[0]
    }

    pub(crate) fn cpu(&self, container: &str) -> CpuControl {
        CpuControl::new(self.tree.hierarchy(), &self.path(container))
    }

    pub(crate) fn parent_cpu(&self) -> CpuControl {
        CpuControl::new(self.tree.hierarchy(), self.parent.path())
    }

    pub(crate) fn hierarchy(&self) -> &Hierarchy {
        self.tree.hierarchy()
    }

    pub(crate) fn path(&self, container: &str) -> CgroupPath {
        self.parent.path().child(container).unwrap()
    }

    pub(crate) fn find(&self, container: &str) -> Cgroup {
        self.tree.find(self.path(container).as_str()).unwrap().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.parent.kill_all().and_then(|()| self.parent.remove()) {
            eprintln!("{} was left behind: {error}", self.parent.path());
        }
    }
}

/// The program at work on a scratch parent, on a free port.
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    pub(crate) fn start(scratch: &Scratch, more: &[&str]) -> Self {
        let mut command = Command::new(super::PROGRAM);
        command.args(Self::arguments(scratch, more));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self::when_ready(child).unwrap_or_else(|mut child| panic!("not ready: {:?}", child.wait()))
    }

    /// A process that becomes the program once it reads a line.
    pub(crate) fn held(scratch: &Scratch) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "read line; exec \"$0\" \"$@\"", super::PROGRAM]);
        command.args(Self::arguments(scratch, &[]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// What the program is called with.
    fn arguments(scratch: &Scratch, more: &[&str]) -> Vec<OsString> {
        let listen = if more.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let parent = scratch.parent();
        let words = [&["--cgroup-parent", &parent, "--node", "n1"], listen, more].concat();
        let words = words.into_iter().map(OsString::from);
        if more.contains(&"--state-dir") {
            return words.collect();
        }
        words.chain(["--state-dir".into(), scratch.state_dir().into_os_string()]).collect()
    }

    /// Waits until it is ready. The process, killed, when it never is.
    pub(crate) fn when_ready(mut child: Child) -> Result<Self, Child> {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&line) else {
            let _ = child.kill();
            return Err(child);
        };
        assert_eq!(ready["node"], "n1");
        Ok(Self { child, url: ready["listening"].as_str().unwrap().to_owned() })
    }

    pub(crate) fn node(&self) -> HttpNode {
        HttpNode::new(&self.url).unwrap()
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Not `Child::wait`, which closes standard input first.
        let stdin = self.child.stdin.take();
        let status = self.child.wait().unwrap();
        drop(stdin);
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that never stops computing.
pub(crate) struct Busy(Child);

impl Busy {
    pub(crate) fn start() -> Self {
        Self(Command::new("yes").stdout(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
