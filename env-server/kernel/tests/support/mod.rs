//! What tests on the real kernel share: a cgroup of their own, processes that end with them, real time.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_kernel::{Cgroup, CgroupTree, CpuControl, Hierarchy};
use nix::unistd::geteuid;

/// A cgroup of this test alone, removed with everything in it when it goes out of scope.
pub(crate) struct Scratch {
    pub(crate) tree: CgroupTree,
    pub(crate) parent: Cgroup,
}

impl Scratch {
    /// Absent, with the reason on stderr, where this machine cannot run the test.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let skipped = |reason: String| {
            eprintln!("SKIPPED {test}: {reason}");
            None
        };
        if !geteuid().is_root() {
            return skipped("it needs root".to_owned());
        }
        let hierarchy = match Hierarchy::find(Path::new("/proc/self/mountinfo")) {
            Ok(hierarchy) => hierarchy,
            Err(error) => return skipped(error.to_string()),
        };
        let tree = CgroupTree::new(hierarchy);
        match tree.create(&format!("ballast-test-{}-{test}", std::process::id())) {
            Ok(parent) => Some(Self { tree, parent }),
            Err(error) => skipped(error.to_string()),
        }
    }

    pub(crate) fn child(&self, name: &str) -> Cgroup {
        self.tree.create(self.parent.path().child(name).unwrap().as_str()).unwrap()
    }

    pub(crate) fn cpu(&self, cgroup: &Cgroup) -> CpuControl {
        CpuControl::new(self.tree.hierarchy(), cgroup.path())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let cleaned = self.parent.kill_all().and_then(|()| self.parent.remove());
        if let Err(error) = cleaned {
            eprintln!("{} was left behind: {error}", self.parent.path());
        }
    }
}

/// A child process that ends with its owner.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program).args(arguments).stdout(Stdio::null()).spawn();
        Self(child.unwrap())
    }

    /// One that reads a line from its input before it does anything.
    pub(crate) fn waiting(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        let command =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Sends the line that a [`Self::waiting`] one waits for.
    pub(crate) fn go(mut self) -> Self {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        self
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel's accounting is measured over real time")]
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "the kernel's accounting is measured over real time")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
