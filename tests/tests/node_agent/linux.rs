//! This machine as a world: two containers in cgroups of their own, each on a veth of a host that is a network namespace,
//! and the node in process and as a program. All is gone when it goes out of scope, also when making it fails half way.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ballast_api::{CgroupVersion, Cores, Limit, NodeName, SystemClock};
use ballast_env_server::{
    LinuxNode,
    discovery::Discovery,
    journal::Journal,
    lender::Means,
    machine::{Machine, Roots},
    metrics::Metrics,
};
use ballast_kernel::{Cgroup, CgroupTree, CpuControl, Hierarchy};
use ballast_tests::{cgroups_or_skip, program};
use nix::sched::{CloneFlags, unshare};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::{
    conformance::{CONTAINERS, OWN_CORES, World},
    unwritable::{Unwritable, own_mounts},
};

/// Plays a host with the containers in a private network namespace, so that the machine's own interfaces are never touched,
/// and with private mounts; says so and does nothing where this machine cannot.
pub(crate) fn on_a_host(test: &str, work: impl AsyncFnOnce(Containers) + Send) {
    if !cgroups_or_skip(test) {
        return;
    }
    if ["ip", "unshare"].iter().any(|program| Command::new(program).arg("-V").output().is_err()) {
        return eprintln!("SKIPPED {test}: it needs the programs ip and unshare, to set the stage");
    }
    std::thread::scope(|scope| {
        let played = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            own_mounts();
            ip("link set dev lo up");
            // Of one thread, from which all others come: they are in the same namespaces.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { work(Containers::create()).await });
        });
        if let Err(panicked) = played.join() {
            std::panic::resume_unwind(panicked);
        }
    });
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A cgroup parent with the containers of the suite.
pub(crate) struct Containers {
    tree: CgroupTree,
    parent: Cgroup,
    processes: Mutex<BTreeMap<String, Networked>>,
    state: tempfile::TempDir,
}

impl Containers {
    fn create() -> Self {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap());
        let state = tempfile::tempdir().unwrap();
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let parent = tree.create(&format!("ballast-test-{}-{number}", std::process::id())).unwrap();
        let containers = Self { tree, parent, processes: Mutex::default(), state };
        CONTAINERS.iter().for_each(|name| containers.add(name));
        containers
    }

    fn add(&self, name: &str) {
        let path = self.parent.path().child(name).unwrap();
        let container = self.tree.create(path.as_str()).unwrap();
        let own = Limit::At(Cores::new(OWN_CORES).unwrap());
        CpuControl::new(self.tree.hierarchy(), &path).set_limit(own).unwrap();
        let process = Networked::start(name);
        let pid = process.0.id();
        self.processes.lock().unwrap().insert(name.to_owned(), process);
        container.attach(pid).unwrap();
    }

    /// The same container anew: nobody has any of its files open.
    fn renew(&self, name: &str) {
        drop(self.processes.lock().unwrap().remove(name));
        let path = self.parent.path().child(name).unwrap();
        let container = self.tree.find(path.as_str()).unwrap().unwrap();
        container.kill_all().and_then(|()| container.remove()).unwrap();
        self.add(name);
    }

    /// Where the kernel takes the CPU limit of a container.
    fn quota_file(&self, name: &str) -> PathBuf {
        let folder = self.tree.hierarchy().cpu_folder(&self.parent.path().child(name).unwrap());
        match self.tree.hierarchy().version() {
            CgroupVersion::V2 => folder.join("cpu.max"),
            _ => folder.join("cpu.cfs_quota_us"),
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.processes.lock().unwrap().clear();
        if let Err(error) = self.parent.kill_all().and_then(|()| self.parent.remove()) {
            eprintln!("{} was left behind: {error}", self.parent.path());
        }
    }
}

/// A process in a network namespace of its own, joined to the host's by a veth. It ends with its input.
struct Networked(Child);

impl Networked {
    fn start(name: &str) -> Self {
        let child = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let this = Self(child);
        let host = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{}/ns/net", this.0.id())).unwrap() == host {
            std::thread::yield_now();
        }
        // The kernel removes a veth in its own time: another one of this container may still be there.
        let veth = format!("v{}-{name}", this.0.id());
        ip(&format!("link add {veth} type veth peer name eth0 netns {}", this.0.id()));
        ip(&format!("link set dev {veth} up"));
        this
    }
}

impl Drop for Networked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Real time, and a kernel that can be made to refuse.
pub(crate) struct Linux<'a>(&'a Containers);

impl<'a> Linux<'a> {
    pub(crate) fn of(containers: &'a Containers) -> Self {
        Self(containers)
    }
}

impl World for Linux<'_> {
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn refuse_writes(&self, container: &str) -> impl Sized {
        // What the node has open already could be written all the same.
        self.0.renew(container);
        Unwritable::new(&self.0.quota_file(container))
    }
}

/// The node without its program.
pub(crate) struct InProcess(LinuxNode);

impl InProcess {
    pub(crate) fn open(containers: &Containers) -> Self {
        let means = Means {
            machine: Machine::look_at(Roots::default()).unwrap(),
            discovery: Discovery::of_parents(&[containers.parent.path().clone()]),
            sample_interval: Duration::from_secs(1),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::default()),
            journal: Journal::new(containers.state.path(), "this one"),
        };
        Self(LinuxNode::open(NodeName::new("n1").unwrap(), means).unwrap())
    }

    pub(crate) fn agent(&self) -> &LinuxNode {
        &self.0
    }

    /// Does `work` while leases are looked after.
    pub(crate) async fn while_kept(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.0.keep(CancellationToken::new()) => panic!("nobody has told it to stop"),
            () = work => {}
        }
    }
}

/// The program; it leaves when dropped, because its input then ends.
pub(crate) struct EnvServer {
    _child: tokio::process::Child,
    pub(crate) url: String,
}

impl EnvServer {
    pub(crate) async fn start(containers: &Containers) -> Self {
        let mut child = tokio::process::Command::new(program("ballast-env-server"))
            .args(["--node", "n1", "--listen", "127.0.0.1:0", "--until-stdin-closes"])
            .args(["--cgroup-parent", containers.parent.path().as_str(), "--state-dir"])
            .arg(containers.state.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it says that it is ready");
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { _child: child, url: ready["listening"].as_str().unwrap().to_owned() }
    }
}
