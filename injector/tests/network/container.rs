//! A container's network, and the host that it is on, as network namespaces that end with the test. The machine's own
//! interfaces are never touched.
//!
//! Must not know of injections.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    panic,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use ballast_api::{BitsPerSecond, EgressIngress, Limit};
use ballast_kernel::{Interface, NetworkControl};
use nix::sched::{CloneFlags, setns, unshare};

use crate::shared::pause;

pub(crate) const HOST_ADDRESS: &str = "192.0.2.1";
pub(crate) const CONTAINER_ADDRESS: &str = "192.0.2.2";
/// The host's end of the container's veth.
pub(crate) const VETH: &str = "veth-geo";
/// `IN6_ADDR_GEN_MODE_NONE`.
const NO_ADDRESS: &str = "1";

/// Runs a program in the namespace of this thread and answers what it says.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    said(&[program, arguments], Command::new(program).args(arguments.split_whitespace()).output().unwrap())
}

/// The same with a command in each line of `lines`: starting ip or tc takes longer than what it does.
fn run_all(program: &str, arguments: &str, lines: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).args(["-batch", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    said(&[program, arguments, lines], child.wait_with_output().unwrap())
}

fn said(what: &[&str], output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn on_a_fresh_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
}

/// Plays the host in a private namespace; says so and does nothing where this machine cannot.
pub(crate) fn as_a_host(test: &str, work: impl FnOnce() + Send) {
    let has = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
    if !has("ip") || !has("tc") {
        eprintln!("SKIPPED {test}: it needs the programs ip and tc, to set the stage and to look at it");
        return;
    }
    on_a_fresh_thread(|| {
        if let Err(errno) = enter_a_namespace() {
            eprintln!("SKIPPED {test}: it needs network namespaces of its own: {errno}");
            return;
        }
        run("ip", "link set dev lo up");
        work();
    });
}

/// A process in a network namespace of its own, which a veth connects to the host. The host's end has no transmit queue, as
/// Docker makes it.
pub(crate) struct Container {
    process: Child,
}

impl Container {
    pub(crate) fn start() -> Self {
        let process = on_a_fresh_thread(|| {
            enter_a_namespace().unwrap();
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        });
        let container = Self { process };
        container.connect();
        container
    }

    fn connect(&self) {
        let peer = format!("type veth peer name eth0 txqueuelen 0 netns {}", self.pid());
        run("ip", &format!("link add {VETH} txqueuelen 0 {peer}"));
        switch_on(VETH, HOST_ADDRESS);
        self.inside(|| switch_on("eth0", CONTAINER_ADDRESS));
        // The kernel looks for a carrier a while later: what it then says is to be said before anybody compares.
        let is_up = |name: &str| run("ip", &format!("link show dev {name}")).contains("state UP");
        while !is_up(VETH) || !self.inside(|| is_up("eth0")) {
            pause(Duration::from_millis(10));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Does something in the container's namespace.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        on_a_fresh_thread(|| {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    pub(crate) fn control(&self) -> NetworkControl {
        NetworkControl::new(Interface::of_process("/proc".as_ref(), self.pid()).unwrap())
    }

    /// Another one in its place.
    pub(crate) fn make_anew(&mut self) {
        // As a runtime does; the kernel would do it too, in its own time.
        run("ip", &format!("link delete dev {VETH}"));
        *self = Self::start();
    }

    /// Ends the process, and its network with it where no other process is in it.
    pub(crate) fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

fn switch_on(name: &str, address: &str) {
    run("ip", &format!("address add {address}/30 dev {name}"));
    run("ip", &format!("link set dev {name} up"));
}

/// A network namespace for this thread, in which the kernel makes up no addresses for interfaces: each would change while others
/// compare, for it is announced first.
fn enter_a_namespace() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    match fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", NO_ADDRESS) {
        // A kernel without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        written => written.unwrap(),
    }
    Ok(())
}

/// No limit for zero.
pub(crate) fn mbits(egress: f64, ingress: f64) -> EgressIngress<Limit<BitsPerSecond>> {
    let at =
        |mbit: f64| if mbit > 0.0 { Limit::At(BitsPerSecond::new(mbit * 1e6).unwrap()) } else { Limit::Max };
    EgressIngress { egress: at(egress), ingress: at(ingress) }
}

/// All interfaces, addresses, routes, rules, qdiscs, classes and filters of the namespace of this thread, as ip and
/// tc show them.
pub(crate) fn dump() -> String {
    let links = run("ip", "-d -o link show");
    let names = links.lines().filter_map(|line| line.split([':', '@']).nth(1));
    let of_each = names.map(|name| {
        let name = name.trim();
        let filters = ["", "ingress", "egress"].map(|way| format!("filter show dev {name} {way}\n"));
        format!("class show dev {name}\n{}", filters.concat())
    });
    let of_each: String = of_each.collect();
    let routes = "address show\nroute show table all\n";
    // A kernel without rules, or without IPv6, says so each time.
    let rules =
        ["-4", "-6"].map(|family| Command::new("ip").args([family, "rule", "show"]).output().unwrap());
    let rules = rules.map(|said| String::from_utf8([said.stdout, said.stderr].concat()).unwrap()).concat();
    let shapes = format!("qdisc show\n{of_each}");
    [run_all("ip", "-o", routes), rules, run_all("tc", "", &shapes), links].join("\n")
}
