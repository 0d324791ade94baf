//! A network namespace that plays the host, with the container `geo` on a veth in it. The machine's own interfaces are
//! never touched.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use ballast_api::{
    BitsPerSecond, ContainerState, EgressIngress, HttpNode, Limit, LimitChange, Limits, NodeAgent, Plan,
};
use nix::sched::{CloneFlags, unshare};

use super::{Scratch, name};

/// Files that a limit is written to, of either version.
const LIMITS: [&str; 4] = ["cpu.max", "cpu.cfs_", "io.max", "blkio.throttle."];
/// Those beside them that count.
const COUNTERS: [&str; 2] = ["io_service_bytes", "io_serviced"];

/// The host side of the container's veth.
pub(crate) const VETH: &str = "veth-geo";

/// A process in a network namespace of its own, joined to the host's by [`VETH`]. It ends with its input.
pub(crate) struct Networked(Child);

impl Networked {
    fn start() -> Self {
        Self::start_at(None)
    }

    /// With this index of the host's side.
    pub(crate) fn start_at(index: Option<u32>) -> Self {
        let child = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let this = Self(child);
        let namespace = || fs::read_link(format!("/proc/{}/ns/net", this.0.id())).unwrap();
        let host = fs::read_link("/proc/thread-self/ns/net").unwrap();
        while namespace() == host {
            std::thread::yield_now();
        }
        let index = index.map_or_else(String::new, |index| format!("index {index}"));
        run("ip", &format!("link add {VETH} {index} type veth peer name eth0 netns {}", this.id()));
        run("ip", &format!("link set dev {VETH} up"));
        // The kernel looks for a carrier a while later: what it then says is to be said before anybody compares.
        while run("ip", &format!("link show dev {VETH}")).contains("state UNKNOWN") {
            std::thread::yield_now();
        }
        this
    }

    /// In the network namespace of that process.
    pub(crate) fn beside(pid: u32) -> Self {
        let namespace = format!("--net=/proc/{pid}/ns/net");
        let child = Command::new("nsenter").args([&namespace, "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let this = Self(child);
        let of = |pid| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        while of(this.0.id()) != of(pid) {
            std::thread::yield_now();
        }
        this
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Networked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program in the namespace of this thread and answers what it says.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everything of the host's network that a limit may touch, with the rates.
pub(crate) fn network() -> String {
    let redirected = run("ip", "-oneline link show type ifb");
    let name = |line: &str| line.split([':', '@']).nth(1).unwrap().trim().to_owned();
    let links = redirected.lines().map(name).chain([VETH.to_owned()]);
    let classes: String = links.map(|link| run("tc", &format!("class show dev {link}"))).collect();
    let filters = format!("filter show dev {VETH} ingress");
    [run("ip", "link show"), run("tc", "qdisc show"), classes, run("tc", &filters)].concat()
}

/// What the kernel says: each file of a limit, and the network.
pub(crate) type Everything = (BTreeMap<PathBuf, String>, String);

/// Every byte that a limit of the containers or of their parent may touch.
pub(crate) fn everything(scratch: &Scratch) -> Everything {
    let hierarchy = scratch.hierarchy();
    let roots = [Some(hierarchy.cpu_root()), hierarchy.disk_root().map(|(_, root)| root)];
    let groups = [scratch.parent(), scratch.path("geo").to_string(), scratch.path("rate").to_string()];
    let folders =
        groups.iter().flat_map(|group| roots.into_iter().flatten().map(move |root| root.join(group)));
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path());
    let is_limit = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        LIMITS.iter().any(|start| name.starts_with(start)) && !COUNTERS.iter().any(|part| name.contains(part))
    };
    // Files that the kernel lets nobody read hold no limit.
    let read = |file: PathBuf| Some((file.clone(), fs::read_to_string(file).ok()?));
    (files.filter(is_limit).filter_map(read).collect(), network())
}

/// Runs `test` in a private network namespace, with the container `geo` on the veth [`VETH`].
pub(crate) fn on_a_host(test: &str, work: impl AsyncFnOnce(Scratch) + Send) {
    let Some(scratch) = Scratch::new(test) else { return };
    if Command::new("tc").arg("-V").output().is_err() || Command::new("unshare").arg("-V").output().is_err() {
        eprintln!("SKIPPED {test}: it needs the programs tc and unshare, to set the stage and to look at it");
        return;
    }
    std::thread::scope(|scope| {
        let played = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip", "link set dev lo up");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let networked = Networked::start();
            scratch.attach("geo", networked.id());
            runtime.block_on(work(scratch));
        });
        if let Err(panicked) = played.join() {
            std::panic::resume_unwind(panicked);
        }
    });
}

/// Limits of a network, and of nothing else.
pub(crate) fn mbits(egress: f64, ingress: f64) -> Limits {
    let at = |mbits: f64| Limit::At(BitsPerSecond::new(mbits * 1e6).unwrap());
    Limits { network: Some(EgressIngress { egress: at(egress), ingress: at(ingress) }), ..Limits::default() }
}

/// A plan for `geo`.
pub(crate) fn plan(generation: u64, limits: Limits) -> Plan {
    let change = LimitChange { container: name("geo"), limits };
    Plan { generation, lease_seconds: 60.0, dry_run: false, changes: vec![change] }
}

pub(crate) async fn state(node: &HttpNode, container: &str) -> ContainerState {
    let containers = node.containers().await.unwrap();
    containers.into_iter().find(|state| state.name == name(container)).unwrap()
}

/// No limit of the network.
pub(crate) fn mbits_free() -> Option<EgressIngress<Limit<BitsPerSecond>>> {
    Some(EgressIngress { egress: Limit::Max, ingress: Limit::Max })
}
