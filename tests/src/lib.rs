//! What the end-to-end tests share: where the programs lie, what this machine can do, and what is running on it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_kernel::{CgroupTree, Hierarchy, KernelError};

/// The folder of the programs that `cargo build --bins` made: two above the test's own.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let path = test.parent().and_then(Path::parent).unwrap_or(&test).join(name);
    assert!(path.is_file(), "{} is not there: run `cargo build --workspace --bins` first", path.display());
    path
}

/// Whether cgroups can be written; else says that `test` is skipped and why.
#[must_use]
pub fn cgroups_or_skip(test: &str) -> bool {
    told(test, cgroups())
}

/// Whether the testbed's services can run in cgroups of their own; else says that `test` is skipped and why.
#[must_use]
pub fn real_or_skip(test: &str) -> bool {
    let stores = ["/usr/bin/memcached", "/usr/bin/redis-server"];
    let has_stores = stores.iter().all(|path| Path::new(path).exists());
    told(
        test,
        cgroups().and(if has_stores {
            Ok(())
        } else {
            Err("it needs memcached and redis-server".to_owned())
        }),
    )
}

fn told(test: &str, can: Result<(), String>) -> bool {
    can.inspect_err(|reason| eprintln!("SKIPPED {test}: {reason}")).is_ok()
}

fn cgroups() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("it needs root".to_owned());
    }
    writable_cgroups().map_err(|error| format!("cgroups cannot be written: {error}"))
}

/// Makes a cgroup where the CPU controller is, and removes it.
fn writable_cgroups() -> Result<(), KernelError> {
    let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo"))?);
    tree.create(&format!("ballast-test-probe-{}", std::process::id()))?.remove()
}

/// What Ballast could leave on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// `pid name` of its programs and of those that it starts.
    pub processes: BTreeSet<String>,
    /// Its cgroups in all hierarchies.
    pub cgroups: BTreeSet<PathBuf>,
    /// What lies in its folder under /run.
    pub files: BTreeSet<PathBuf>,
    /// Network interfaces and named namespaces.
    pub network: BTreeSet<PathBuf>,
}

/// As the kernel shortens them.
const PROGRAMS: [&str; 7] = [
    "ballast",
    "ballast-env-ser",
    "ballast-injecto",
    "ballast-testbed",
    "memcached",
    "redis-server",
    "cadvisor",
];

impl Remains {
    /// What is there now.
    #[must_use]
    pub fn now() -> Self {
        let hierarchies = entries("/sys/fs/cgroup");
        let cgroups = hierarchies.iter().flat_map(entries).chain(hierarchies.clone());
        let ours = |path: &PathBuf| name_of(path).starts_with("ballast");
        Self {
            processes: processes()
                .into_iter()
                .map(|process| format!("{} {}", process.pid, process.name))
                .collect(),
            cgroups: cgroups.filter(ours).collect(),
            files: entries("/run").into_iter().filter(ours).chain(entries("/run/ballast")).collect(),
            network: entries("/sys/class/net").into_iter().chain(entries("/run/netns")).collect(),
        }
    }

    /// Waits until nothing more is there than `self`.
    ///
    /// # Panics
    /// With the difference, if that takes over `limit`.
    pub async fn wait_until_restored(&self, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let now = Self::now();
            let left: Vec<String> = [
                now.processes.difference(&self.processes).cloned().collect::<Vec<_>>(),
                texts(now.cgroups.difference(&self.cgroups)),
                texts(now.files.difference(&self.files)),
                texts(now.network.difference(&self.network)),
            ]
            .concat();
            if left.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "left behind: {left:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn texts<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
    paths.map(|path| path.display().to_string()).collect()
}

fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A process of one of the programs.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// Its name as the kernel shortens it.
    pub name: String,
}

/// Every living process of one of the programs; a zombie is not living.
#[must_use]
pub fn processes() -> Vec<Process> {
    let stat = |folder: PathBuf| {
        let text = fs::read_to_string(folder.join("stat")).ok()?;
        let (head, tail) = text.rsplit_once(')')?;
        let (pid, name) = head.split_once('(')?;
        let mut fields = tail.split_whitespace();
        let (state, parent) = (fields.next()?, fields.next()?);
        let process =
            Process { pid: pid.trim().parse().ok()?, parent: parent.parse().ok()?, name: name.to_owned() };
        (state != "Z" && PROGRAMS.contains(&name)).then_some(process)
    };
    entries("/proc").into_iter().filter_map(stat).collect()
}

/// The process called `name` that descends from `ancestor` and is nearest to it.
#[must_use]
pub fn descendant(ancestor: i32, name: &str) -> Option<i32> {
    let all = processes();
    let mut generation = vec![ancestor];
    while !generation.is_empty() {
        let children: Vec<&Process> =
            all.iter().filter(|process| generation.contains(&process.parent)).collect();
        if let Some(found) = children.iter().find(|process| process.name == name) {
            return Some(found.pid);
        }
        generation = children.iter().map(|process| process.pid).collect();
    }
    None
}
