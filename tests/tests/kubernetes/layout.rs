//! The cgroups of pods as the kubelet's drivers lay them out: those that were recorded, and one of a class that had none.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use ballast_api::{Cores, Limit};
use ballast_kernel::{CgroupPath, CgroupTree, CpuControl};

use crate::support::{self, janitor::Janitor};

/// Who makes the kubelet's cgroups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Driver {
    Cgroupfs,
    Systemd,
}

/// What kubelets 1.36 and 1.20 reported of their cgroups.
const RECORDED: [&str; 2] = [
    include_str!("../../../env-server/src/discovery/kubernetes/recorded/kubelet-1.36-cadvisor.prom"),
    include_str!("../../../env-server/src/discovery/kubernetes/recorded/kubelet-1.20-cadvisor.prom"),
];

/// The container of pod p1, and its quota.
pub(crate) const P1: &str = "default.p1.c";
pub(crate) const P1_CORES: f64 = 0.6;
const P1_POD: &str = "kubepods/burstable/poda2975b5f-4979-480e-90c1-f255a0c2c498";
const P1_ID: &str = "a2892b1090a111a2bd58b96ef06dd316080b9bee60a9b57be18717883629a1a0";
/// Made up: no recorded pod was of this class. Its sandbox's id begins with another digit.
pub(crate) const BATCH: &str = "default.batch.c";
pub(crate) const BATCH_UID: &str = "5e11ab1e-0000-4000-8000-000000000001";
pub(crate) const BATCH_ID: &str = "ba7c4000ba7c4000ba7c4000ba7c4000ba7c4000ba7c4000ba7c4000ba7c4000";
const BATCH_SANDBOX: &str = "5a4db000ba7c4000ba7c4000ba7c4000ba7c4000ba7c4000ba7c4000ba7c4000";

/// Cgroups with processes in them, as on a node.
pub(crate) struct Layout<'a> {
    driver: Driver,
    tree: CgroupTree,
    /// Above the kubelet's own: empty where that is where the kubelet puts it.
    above: String,
    janitor: &'a Janitor,
    /// All of them: pods, sandboxes and containers.
    pub(crate) paths: Vec<CgroupPath>,
    processes: Vec<Child>,
}

impl<'a> Layout<'a> {
    /// Where the kubelet puts pods by default; on a machine that has a kubelet, below a parent of this test.
    pub(crate) fn build(driver: Driver, janitor: &'a Janitor) -> Self {
        let tree = CgroupTree::new(support::hierarchy());
        let root = CgroupPath::new(driver.lay_out("kubepods").as_str()).unwrap();
        let taken = support::hierarchies().iter().any(|hierarchy| hierarchy.join(&root).exists());
        let parent = format!("ballast-test-kubernetes-{}", std::process::id());
        let above = if taken { format!("{parent}/") } else { String::new() };
        janitor.own(&if taken { CgroupPath::new(&parent).unwrap() } else { root });
        let mut this = Self { driver, tree, above, janitor, paths: Vec::new(), processes: Vec::new() };
        for (path, quota) in recorded() {
            this.add(&path, quota);
        }
        let pod = format!("kubepods/besteffort/pod{BATCH_UID}");
        for path in [pod.clone(), format!("{pod}/{BATCH_ID}"), format!("{pod}/{BATCH_SANDBOX}")] {
            this.add(&path, None);
        }
        this
    }

    /// What the env-server must be told; nothing where the pods are where they are by default.
    pub(crate) fn parent(&self) -> Option<String> {
        (!self.above.is_empty()).then(|| format!("{}{}", self.above, self.driver.lay_out("kubepods")))
    }

    /// The cgroup of p1's container.
    pub(crate) fn p1(&self) -> CgroupPath {
        self.path(&format!("{P1_POD}/{P1_ID}"))
    }

    /// The cgroup of the made-up pod's container.
    pub(crate) fn batch(&self) -> CgroupPath {
        self.path(&format!("kubepods/besteffort/pod{BATCH_UID}/{BATCH_ID}"))
    }

    /// Ends p1's container and begins it anew under another id, as the kubelet does.
    pub(crate) fn restart_p1(&mut self, id: &str) {
        self.remove(&self.p1());
        self.add(&format!("{P1_POD}/{id}"), Some(P1_CORES));
    }

    /// Ends the pod whose container's path has this in it.
    pub(crate) fn remove_pod(&mut self, uid: &str) {
        let uid = if self.driver == Driver::Systemd { uid.replace('-', "_") } else { uid.to_owned() };
        let is_of_it = |path: &&CgroupPath| path.as_str().contains(&uid);
        let paths: Vec<_> = self.paths.iter().filter(is_of_it).cloned().collect();
        paths.iter().rev().for_each(|path| self.remove(path));
    }

    fn remove(&mut self, path: &CgroupPath) {
        let cgroup = self.tree.find(path.as_str()).unwrap().unwrap();
        cgroup.kill_all().unwrap();
        cgroup.remove().unwrap();
        self.paths.retain(|other| other != path);
    }

    /// A pod, or what is in one, which then has a process.
    fn add(&mut self, recorded: &str, quota: Option<f64>) {
        let path = self.path(recorded);
        self.tree.create(path.as_str()).unwrap();
        if let Some(quota) = quota {
            let control = CpuControl::new(self.tree.hierarchy(), &path);
            control.set_limit(Limit::At(Cores::new(quota).unwrap())).unwrap();
        }
        self.paths.push(path.clone());
        if !path.name().contains("pod") {
            self.run(&path, "exec sleep 600");
        }
    }

    /// A process of this script, in this cgroup from its first command.
    pub(crate) fn run(&mut self, path: &CgroupPath, script: &str) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sh", "-c", &format!("read go; {script}")]);
        let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
        self.tree.find(path.as_str()).unwrap().unwrap().attach(process.id()).unwrap();
        drop(process.stdin.take());
        self.processes.push(process);
    }

    /// Reads and writes files on the machine's disk as fast as it can.
    pub(crate) fn run_on_disk(&mut self, path: &CgroupPath) {
        let (source, target) = (self.janitor.folder().join("source"), self.janitor.folder().join("target"));
        fs::write(&source, vec![7; 16 << 20]).unwrap();
        fs::File::open(&source).unwrap().sync_all().unwrap();
        let copy = |from: &Path, to: &Path, flags: &str| {
            let (from, to) = (from.display(), to.display());
            format!("while :; do dd if={from} of={to} bs=65536 count=256 {flags} 2>/dev/null; done")
        };
        self.run(path, &copy(&source, Path::new("/dev/null"), "iflag=direct"));
        self.run(path, &copy(Path::new("/dev/zero"), &target, "oflag=direct conv=notrunc"));
    }

    fn path(&self, recorded: &str) -> CgroupPath {
        CgroupPath::new(&format!("{}{}", self.above, self.driver.lay_out(recorded))).unwrap()
    }
}

impl Drop for Layout<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Driver {
    /// A path that cgroupfs's driver made, as this one makes it.
    fn lay_out(self, path: &str) -> String {
        if self == Self::Cgroupfs {
            return path.to_owned();
        }
        // A dash is a step down for systemd: each slice repeats those above it.
        let (mut slices, mut above) = (Vec::new(), String::new());
        for part in path.split('/') {
            if part.len() == P1_ID.len() {
                slices.push(format!("cri-containerd-{part}.scope"));
            } else {
                above = [above, part.replace('-', "_")]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("-");
                slices.push(format!("{above}.slice"));
            }
        }
        slices.join("/")
    }
}

/// Pods, sandboxes and containers, those above before those below, with their quotas in cores.
fn recorded() -> Vec<(String, Option<f64>)> {
    let lines = || RECORDED.into_iter().flat_map(str::lines);
    let told = |line: &str, metric: &str| {
        let (_, path) = line.strip_prefix(metric)?.split_once("id=\"/")?;
        let path = path.split_once('"')?.0.to_owned();
        let value: f64 = line.rsplit_once(' ')?.1.parse().ok()?;
        path.contains("/pod").then_some((path, value))
    };
    let quotas: Vec<_> = lines().filter_map(|line| told(line, "container_spec_cpu_quota{")).collect();
    let quota = |path: &str| Some(quotas.iter().find(|(other, _)| other == path)?.1 / 100_000.0);
    let all = lines().filter_map(|line| told(line, "container_spec_cpu_shares{"));
    all.map(|(path, _)| (path.clone(), quota(&path))).collect()
}
