//! Real containers for a bench: cgroups, each with a process in a network namespace of its own behind a veth. All is gone
//! when it is dropped.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use ballast_kernel::{Cgroup, CgroupPath, CgroupTree, Hierarchy};
use nix::sched::{CloneFlags, unshare};

/// Gives this process a network of its own, with a loopback interface, where it may.
pub(crate) fn enter_a_private_network() {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => ip("link set dev lo up\n"),
        Err(errno) => eprintln!("SKIPPED the network: no private one can be made: {errno}"),
    }
}

/// Runs lines of ip(8) in this network namespace.
fn ip(lines: &str) {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success(), "ip {lines}");
}

pub(crate) struct Containers {
    parent: Cgroup,
    processes: Vec<Child>,
}

impl Containers {
    /// So many, called `c0`, `c1` and so on. Absent, with the reason on stderr, where this machine has no cgroups to write
    /// to.
    pub(crate) fn start(count: usize) -> Option<Self> {
        let made = Hierarchy::find(Path::new("/proc/self/mountinfo"))
            .map(CgroupTree::new)
            .and_then(|tree| Ok((tree.create(&format!("ballast-bench-{}", std::process::id()))?, tree)));
        let (parent, tree) = made.inspect_err(|error| eprintln!("SKIPPED: no real cgroups: {error}")).ok()?;
        let mut this = Self { parent, processes: Vec::new() };
        let mut links = String::new();
        for i in 0..count {
            let container = tree.create(&format!("{}/c{i}", this.parent.path())).unwrap();
            // It ends with its input, and so with this process.
            let process = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn();
            this.processes.push(process.unwrap());
            let pid = this.processes[i].id();
            container.attach(pid).unwrap();
            writeln!(links, "link add veth{i} type veth peer name eth0 netns {pid}").unwrap();
            writeln!(links, "link set dev veth{i} up").unwrap();
        }
        this.wait_for_namespaces();
        ip(&links);
        Some(this)
    }

    fn wait_for_namespaces(&self) {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        let ours = namespace("self");
        for process in &self.processes {
            while namespace(&process.id().to_string()) == ours {
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn parent(&self) -> &CgroupPath {
        self.parent.path()
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        self.parent.remove().unwrap();
        // The kernel removes the veths when it comes to it: not while the next bench measures.
        while fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains("veth") {
            std::thread::yield_now();
        }
    }
}
