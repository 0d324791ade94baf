//! A host of one test: a network and mounts of its own. They end with their last process; the machine's are never touched.

use std::{process::Command, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Does something on a host, in a thread of its own. Answers its panic.
pub(crate) fn on_a_host(work: impl AsyncFnOnce() + Send) -> thread::Result<()> {
    thread::scope(|scope| {
        let played = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
            let nothing = None::<&str>;
            mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
            // Docker and iptables keep sockets and locks there, wherever else they are sent.
            mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
            run("ip", "link set dev lo up");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work());
        });
        played.join()
    })
}

/// Whether a program succeeds on a host; else what it says.
pub(crate) fn try_in_one(program: &str, arguments: &str) -> Result<(), String> {
    let mut command = Command::new("unshare");
    let output = command.args(["--net", "--mount", program]).args(arguments.split_whitespace()).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or_else(said)
}

/// Runs a program in the namespaces of this thread and answers what it says.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// All interfaces, qdiscs, classes and filters of this thread's host, as ip and tc show them.
pub(crate) fn network() -> String {
    let links = run("ip", "-o link show");
    let names = links.lines().filter_map(|line| line.split([':', '@']).nth(1));
    let of_each = names.map(|name| {
        let show = |what: &str| run("tc", &what.replace("NAME", name.trim()));
        ["class show dev NAME", "filter show dev NAME", "filter show dev NAME ingress"].map(show).concat()
    });
    let of_each: String = of_each.collect();
    [links, run("tc", "qdisc show"), of_each].join("\n")
}
