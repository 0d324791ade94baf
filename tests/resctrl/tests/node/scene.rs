//! Containers with a process each, a node over them, and short words for what is asked of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ballast_api::{
    AppliedLimits, Bytes, BytesPerSecond, ContainerName, ContainerState, Cores, Limit, LimitChange, Limits,
    Plan, SystemClock,
};
use ballast_env_server::{
    discovery::Discovery,
    journal::Journal,
    lender::{Lender, Means},
    machine::{Machine, Roots},
    metrics::Metrics,
};
use ballast_kernel::{Cgroup, CgroupTree, Hierarchy, resctrl::Group};
use tempfile::TempDir;

use crate::support::{PEAK, Process, Stage};

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const START: Duration = Duration::ZERO;

/// Containers with a process each, and where the node keeps its journal.
pub(crate) struct Scene<'a> {
    stage: &'a Stage,
    pub(crate) parent: Cgroup,
    pub(crate) tree: CgroupTree,
    pub(crate) processes: BTreeMap<String, Process>,
    state: TempDir,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(stage: &'a Stage, names: &[&str]) -> Self {
        static SCENES: AtomicU32 = AtomicU32::new(0);
        let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap());
        let scene = SCENES.fetch_add(1, Ordering::Relaxed);
        let parent = tree.create(&format!("ballast-caches-{}-{scene}", std::process::id())).unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut scene = Self { stage, parent, tree, processes: BTreeMap::new(), state };
        names.iter().for_each(|name| scene.add(name));
        scene
    }

    pub(crate) fn add(&mut self, name: &str) {
        let container = self.tree.create(&format!("{}/{name}", self.parent.path())).unwrap();
        let process = Process::idle();
        container.attach(process.id()).unwrap();
        self.processes.insert(name.to_owned(), process);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        drop(self.processes.remove(name));
        self.tree.find(&format!("{}/{name}", self.parent.path())).unwrap().unwrap().remove().unwrap();
    }

    /// A node that begins: after another one that was killed, if there was one.
    pub(crate) fn node(&self) -> Lender {
        self.node_with(Some(BytesPerSecond::new(PEAK).unwrap()))
    }

    /// The same with another peak configured, or none.
    pub(crate) fn node_with(&self, peak: Option<BytesPerSecond>) -> Lender {
        let machine = Machine::new(self.tree.hierarchy().clone(), Roots::default(), Cores::new(2.0).unwrap());
        let means = Means {
            machine: machine.with_resctrl(&self.stage.mount, peak),
            discovery: Discovery::of_parents(&[self.parent.path().clone()]),
            sample_interval: Duration::ZERO,
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::default()),
            journal: self.journal(),
        };
        Lender::open(means, START).unwrap()
    }

    pub(crate) fn journal(&self) -> Journal {
        Journal::new(self.state.path(), "this boot")
    }

    /// The group of Ballast's that the container's process is in.
    pub(crate) fn group_of(&self, name: &str) -> Option<Group> {
        self.stage.group_of(self.processes[name].id())
    }

    /// Whether the container's process is in a group of Ballast's.
    pub(crate) fn is_limited(&self, name: &str) -> bool {
        self.group_of(name).is_some()
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.processes.clear();
        self.parent.remove().unwrap();
    }
}

pub(crate) fn llc(bytes: f64) -> Limits {
    Limits { llc: Some(Limit::At(Bytes::new(bytes).unwrap())), ..Limits::default() }
}

pub(crate) fn bandwidth(bytes: f64) -> Limits {
    Limits { memory_bandwidth: Some(Limit::At(BytesPerSecond::new(bytes).unwrap())), ..Limits::default() }
}

pub(crate) fn plan(changes: &[(&str, Limits)]) -> Plan {
    let change = |(name, limits): &(&str, Limits)| LimitChange { container: named(name), limits: *limits };
    Plan {
        generation: 1,
        lease_seconds: LEASE.as_secs_f64(),
        dry_run: false,
        changes: changes.iter().map(change).collect(),
    }
}

pub(crate) fn named(name: &str) -> ContainerName {
    ContainerName::new(name).unwrap()
}

pub(crate) fn apply(node: &mut Lender, changes: &[(&str, Limits)], now: Duration) -> Vec<AppliedLimits> {
    node.apply(&plan(changes), now).unwrap().applied
}

pub(crate) fn state(node: &mut Lender, name: &str, now: Duration) -> ContainerState {
    node.containers(now).unwrap().into_iter().find(|state| state.name.as_str() == name).unwrap()
}

pub(crate) const FREE: (Option<Limit<Bytes>>, Option<Limit<BytesPerSecond>>) =
    (Some(Limit::Max), Some(Limit::Max));

pub(crate) fn caches(limits: &Limits) -> (Option<Limit<Bytes>>, Option<Limit<BytesPerSecond>>) {
    (limits.llc, limits.memory_bandwidth)
}
