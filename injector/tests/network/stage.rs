//! A host and a container on it, as network namespaces that end with the test. The machine's own interfaces are never
//! touched.

use std::{
    fs::File,
    panic,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ballast_api::{BitsPerSecond, EgressIngress, Limit};
use ballast_kernel::{Interface, NetworkControl};
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::signal::Signal,
};

use crate::support::{Ended, Running, Stage, pause, signal};

pub(crate) const HOST_ADDRESS: &str = "192.0.2.1";
pub(crate) const CONTAINER_ADDRESS: &str = "192.0.2.2";
/// Longer than any test measures.
pub(crate) const FOREVER: &str = "10m";
/// The host's end of the container's veth.
pub(crate) const VETH: &str = "veth-geo";

/// Runs a program in the namespace of this thread and answers what it says.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn on_a_fresh_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
}

/// A target whose one process has a network.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    container: Child,
}

/// Plays the host in a private namespace, with a target on it; says so and does nothing where this machine cannot. The host's
/// end has no transmit queue, as Docker makes it.
pub(crate) fn on_a_host(test: &str, work: impl FnOnce(&mut Scene) + Send) {
    let has = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
    if !has("ip") || !has("tc") {
        eprintln!("SKIPPED {test}: it needs the programs ip and tc, to set the stage and to look at it");
        return;
    }
    on_a_fresh_thread(|| {
        let Some(stage) = Stage::set(&format!("net-{test}")) else { return };
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run("ip", "link set dev lo up");
        let container = on_a_fresh_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        });
        stage.cgroup.attach(container.id()).unwrap();
        let mut scene = Scene { stage, container };
        scene.connect();
        work(&mut scene);
    });
}

impl Scene {
    fn connect(&self) {
        let peer = format!("type veth peer name eth0 txqueuelen 0 netns {}", self.container.id());
        run("ip", &format!("link add {VETH} txqueuelen 0 {peer}"));
        run("ip", &format!("address add {HOST_ADDRESS}/30 dev {VETH}"));
        run("ip", &format!("link set dev {VETH} up"));
        self.inside(|| {
            run("ip", &format!("address add {CONTAINER_ADDRESS}/30 dev eth0"));
            run("ip", "link set dev eth0 up");
        });
        // The kernel looks for a carrier a while later: what it then says is to be said before anybody compares.
        let is_up = |name: &str| run("ip", &format!("link show dev {name}")).contains("state UP");
        while !is_up(VETH) || !self.inside(|| is_up("eth0")) {
            pause(Duration::from_millis(10));
        }
    }

    /// Does something in the container's namespace.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.container.id())).unwrap();
        on_a_fresh_thread(|| {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    pub(crate) fn control(&self) -> NetworkControl {
        NetworkControl::new(Interface::of_process("/proc".as_ref(), self.container.id()).unwrap())
    }

    /// Ends the container's only process, and its network with it.
    pub(crate) fn end_container(&mut self) {
        self.container.kill().unwrap();
        self.container.wait().unwrap();
    }

    /// Starts an injection of such a kind with its options, and waits until it runs.
    pub(crate) fn start(&self, what: &str, duration: &str) -> Running {
        let what: Vec<_> = what.split_whitespace().chain(["--target"]).collect();
        self.stage.start(&what, duration, &[])
    }

    /// Tries one that is refused, and answers its exit code and what it says.
    pub(crate) fn refused(&self, what: &str) -> (Option<i32>, String) {
        let what: Vec<_> = what.split_whitespace().chain(["--target"]).collect();
        let output = self.stage.command_of(&what, "1s", &[]).stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// All interfaces, qdiscs, classes and filters of both namespaces.
    pub(crate) fn dump(&self) -> String {
        [dump(), self.inside(dump)].concat()
    }

    /// Nothing is left of an injection: no process, no file, and the network is as it was.
    pub(crate) fn assert_as_before(&self, before: &str, pids: [u32; 3]) {
        self.stage.assert_nothing_left(pids);
        self.assert_same(before);
    }

    /// The network is as it was.
    pub(crate) fn assert_same(&self, before: &str) {
        let now = self.dump();
        let only_in = |one: &str, other: &str| {
            let lines = one.lines().filter(|line| !other.lines().any(|of_other| of_other == *line));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert!(
            now == before,
            "before only:\n{}\nnow only:\n{}",
            only_in(before, &now),
            only_in(&now, before)
        );
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = (self.container.kill(), self.container.wait());
    }
}

/// An injection that ran to its end.
pub(crate) fn assert_completed(ended: &Ended) {
    assert_eq!((ended.code, &ended.report["ending"]), (Some(0), &"completed".into()), "{}", ended.report);
    assert_all_given(ended);
}

/// Ends an injection that was measured, however long that took, and looks whether it was in force all the time.
pub(crate) fn end(running: Running) {
    signal(running.supervisor.id(), Signal::SIGTERM);
    let ended = running.end();
    assert_eq!((ended.code, &ended.report["ending"]), (Some(7), &"interrupted".into()), "{}", ended.report);
    assert_all_given(&ended);
}

fn assert_all_given(ended: &Ended) {
    let [requested, achieved] = ["requested", "achieved"].map(|field| ended.report[field].as_f64().unwrap());
    assert!((achieved / requested - 1.0).abs() < 1e-9, "{}", ended.report);
}

/// No limit for zero.
pub(crate) fn mbits(egress: f64, ingress: f64) -> EgressIngress<Limit<BitsPerSecond>> {
    let at =
        |mbit: f64| if mbit > 0.0 { Limit::At(BitsPerSecond::new(mbit * 1e6).unwrap()) } else { Limit::Max };
    EgressIngress { egress: at(egress), ingress: at(ingress) }
}

/// As ip and tc show them.
pub(crate) fn dump() -> String {
    let links = run("ip", "-d -o link show");
    let names = links.lines().filter_map(|line| line.split([':', '@']).nth(1));
    let of_each = names.map(|name| {
        let name = name.trim();
        let show = |what: &str| run("tc", &format!("{what} show dev {name}"));
        let filters = ["ingress", "egress"].map(|way| run("tc", &format!("filter show dev {name} {way}")));
        [show("class"), show("filter"), filters.concat()].concat()
    });
    let of_each: String = of_each.collect();
    [links, run("tc", "qdisc show"), of_each].join("\n")
}
