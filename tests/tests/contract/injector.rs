//! A real injector that may hurt one target of its own, for somebody else to ask.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use ballast_kernel::{Cgroup, CgroupTree, Hierarchy};
use ballast_tests::program;
use tokio::process::{Child, Command};

use crate::started::{end, ready, secret};

/// A cgroup with a sleeping process in it; both are gone when it is dropped.
pub(crate) struct Target {
    cgroup: Cgroup,
    inhabitant: std::process::Child,
}

impl Target {
    pub(crate) fn create(run: &str) -> Self {
        let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap());
        let cgroup = tree.create(&format!("ballast-test-{}-{run}", std::process::id())).unwrap();
        let inhabitant = std::process::Command::new("sleep").arg("6000").spawn().unwrap();
        cgroup.attach(inhabitant.id()).unwrap();
        Self { cgroup, inhabitant }
    }

    pub(crate) fn path(&self) -> &str {
        self.cgroup.path().as_str()
    }

    /// Whether nobody is in it but its own process.
    pub(crate) fn is_alone(&self) -> bool {
        self.cgroup.pids().unwrap() == [self.inhabitant.id()]
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.cgroup.kill_all().and_then(|()| self.cgroup.remove());
        let _ = self.inhabitant.wait();
    }
}

/// The program at work.
pub(crate) struct Injector {
    child: Child,
    folder: PathBuf,
    pub(crate) url: String,
}

impl Injector {
    /// Asks for this token where there is one. What it writes lies in `folder`.
    pub(crate) async fn start(target: &Target, folder: &Path, token: Option<&str>) -> Self {
        let mut command = Command::new(program("ballast-injector"));
        command.args(["serve", "--enable", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--targets"]);
        // The document's example is about one below `shop`.
        command.arg(target.path()).args(["--targets", "shop", "--requests-per-second", "10000"]);
        let folder = folder.to_owned();
        command.arg("--state-dir").arg(folder.join("state")).arg("--log").arg(folder.join("truth.jsonl"));
        if let Some(token) = token {
            command.arg("--act-token-file").arg(secret(&folder, token));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let url = ready(&mut child).await;
        Self { child, folder, url }
    }

    /// How many injections were carried out as asked.
    pub(crate) fn completed(&self) -> usize {
        let truth = fs::read_to_string(self.folder.join("truth.jsonl")).unwrap();
        truth.lines().filter(|line| line.contains(r#""ending":"completed""#)).count()
    }

    /// Ends it with all that it runs, and answers what is left in its journal.
    pub(crate) async fn end(self) -> usize {
        end(self.child).await;
        fs::read_dir(self.folder.join("state")).map_or(0, Iterator::count)
    }
}
