//! What the tests on containers of Docker and of Kubernetes share: a host of their own, a real env-server, and measuring.
//!
//! Must not know who made the containers.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod exact;
pub(crate) mod host;
pub(crate) mod janitor;
pub(crate) mod measure;
pub(crate) mod server;

use std::path::{Path, PathBuf};

use ballast_api::{BytesPerSecond, Cores, Limit, Limits, ReadWrite};
use ballast_kernel::{CgroupTree, Hierarchy};
use janitor::Janitor;

pub(crate) fn hierarchy() -> Hierarchy {
    Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap()
}

/// The hierarchies of cgroup v1, the unified one among them, or the only one.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroups = fields.filter(|fields| matches!(fields.get(2), Some(&"cgroup" | &"cgroup2")));
    cgroups.map(|fields| PathBuf::from(fields[1])).collect()
}

pub(crate) fn cores(cores: f64) -> Limits {
    Limits::of_cpu(Limit::At(Cores::new(cores).unwrap()))
}

pub(crate) fn disk(read: f64, write: f64) -> Option<ReadWrite<Limit<BytesPerSecond>>> {
    let at = |rate: f64| Limit::At(BytesPerSecond::new(rate).unwrap());
    Some(ReadWrite { read: at(read), write: at(write) })
}

/// Plays on a host of its own and cleans up, however that ends.
pub(crate) fn play(work: impl AsyncFnOnce(&Janitor) + Send) {
    let janitor = Janitor::start();
    let played = host::on_a_host(async || work(&janitor).await);
    janitor.clean();
    if let Err(panicked) = played {
        std::panic::resume_unwind(panicked);
    }
}

/// Why this machine cannot play, where it lacks one of `programs`, or rights; `setup` installs the programs.
pub(crate) fn missing(programs: &[&str], setup: &str) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"].map(Path::new);
    let found = |program: &&&str| folders.iter().any(|folder| folder.join(program).exists());
    if let Some(program) = programs.iter().find(|program| !found(program)) {
        return Some(format!("it needs {program} ({setup} installs it)"));
    }
    if let Err(reason) = host::try_in_one("true", "") {
        return Some(format!("a process cannot have a network and mounts of its own: {reason}"));
    }
    let tree = match Hierarchy::find(Path::new("/proc/self/mountinfo")) {
        Ok(hierarchy) => CgroupTree::new(hierarchy),
        Err(error) => return Some(error.to_string()),
    };
    let probe = tree.create(&format!("ballast-test-probe-{}", std::process::id()));
    probe.and_then(|probe| probe.remove()).err().map(|error| format!("cgroups cannot be written: {error}"))
}
