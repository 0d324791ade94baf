//! A host and its containers, as network namespaces that end with the test.

use std::{
    fs::File,
    panic,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ballast_api::{BitsPerSecond, EgressIngress, Limit};
use ballast_kernel::{Interface, NetworkControl, network};
use nix::{
    sched::{CloneFlags, setns, unshare},
    unistd::geteuid,
};

use crate::transfer::sleep;

pub(crate) type Limits = EgressIngress<Limit<BitsPerSecond>>;

pub(crate) const PROC: &str = "/proc";
pub(crate) const NONE: Limits = EgressIngress { egress: Limit::Max, ingress: Limit::Max };
pub(crate) const HOST_ADDRESS: &str = "192.0.2.1";
pub(crate) const CONTAINER_ADDRESS: &str = "192.0.2.2";

/// No limit for zero.
pub(crate) fn mbits(egress: f64, ingress: f64) -> Limits {
    let at =
        |mbit: f64| if mbit > 0.0 { Limit::At(BitsPerSecond::new(mbit * 1e6).unwrap()) } else { Limit::Max };
    EgressIngress { egress: at(egress), ingress: at(ingress) }
}

fn on_a_fresh_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
}

/// Plays the host in a private namespace; says so and does nothing where this machine cannot.
pub(crate) fn on_a_host(test: &str, work: impl FnOnce() + Send) {
    let has = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
    let missing = if !geteuid().is_root() {
        Some("it needs root")
    } else if !has("ip") || !has("tc") {
        Some("it needs the programs ip and tc, to set the stage and to look at it")
    } else {
        None
    };
    match missing {
        Some(reason) => eprintln!("SKIPPED {test}: {reason}"),
        None => on_a_fresh_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            work();
        }),
    }
}

/// As [`on_a_host`], where the kernel can limit networks at all.
pub(crate) fn on_a_limiting_host(test: &str, work: impl FnOnce() + Send) {
    let support = network::probe(Path::new(PROC));
    match support.egress.and(support.ingress) {
        Ok(()) => on_a_host(test, work),
        Err(reason) => eprintln!("SKIPPED {test}: {reason}"),
    }
}

/// Runs a program in the namespace of this thread and answers what it says.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A process in a network namespace of its own. It waits for the end of its input, so it ends with the test whatever
/// happens.
pub(crate) struct Container(Child);

impl Container {
    /// Without any network.
    pub(crate) fn start() -> Self {
        on_a_fresh_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Self::in_this_namespace()
        })
    }

    /// Sharing the namespace of this thread.
    pub(crate) fn in_this_namespace() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// With a veth to the host, `name` there and eth0 here, and an address at either side.
    pub(crate) fn with_network(name: &str, queue_length: u32) -> Self {
        let container = Self::start();
        let peer = format!("type veth peer name eth0 netns {}", container.pid());
        run("ip", &format!("link add {name} txqueuelen {queue_length} {peer}"));
        run("ip", &format!("address add {HOST_ADDRESS}/30 dev {name}"));
        run("ip", &format!("link set dev {name} up"));
        container.inside(|| {
            run("ip", &format!("address add {CONTAINER_ADDRESS}/30 dev eth0"));
            run("ip", "link set dev eth0 up");
        });
        while !run("ip", &format!("link show dev {name}")).contains("state UP") {
            sleep(Duration::from_millis(10));
        }
        container
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Does something in the container's namespace.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("{PROC}/{}/ns/net", self.pid())).unwrap();
        on_a_fresh_thread(|| {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    pub(crate) fn interface(&self) -> Interface {
        Interface::of_process(Path::new(PROC), self.pid()).unwrap()
    }

    pub(crate) fn control(&self) -> NetworkControl {
        NetworkControl::new(self.interface())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// All interfaces, qdiscs, classes and filters of this namespace, as ip and tc show them.
pub(crate) fn dump() -> String {
    let links = run("ip", "-d -o link show");
    let names = links.lines().filter_map(|line| line.split([':', '@']).nth(1));
    let of_each = names.map(|name| {
        let name = name.trim();
        let show = |what: &str| run("tc", &format!("{what} show dev {name}"));
        [show("class"), show("filter"), run("tc", &format!("filter show dev {name} ingress"))].concat()
    });
    let of_each: String = of_each.collect();
    // After a carrier came or went, IPv6 may still be at work; nothing of it is shown here.
    [links, run("tc", "qdisc show"), of_each].join("\n")
}
