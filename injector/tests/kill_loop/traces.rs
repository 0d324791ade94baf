//! What an injection could leave, or take away: one line each.
//!
//! Only what nobody else changes meanwhile: the target's own things, those of the namespaces that are the test's own, and what
//! bears an injection's name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    container::{Container, dump},
    shared::PROGRAM,
};

/// Where limits are, and a pause. Others are the weights, which the stage sets once, and counters.
const CONTROL_FILES: [&str; 12] = [
    "cgroup.freeze",
    "cgroup.subtree_control",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.max",
    "freezer.state",
    "io.max",
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "memory.high",
    "memory.limit_in_bytes",
    "memory.max",
];

/// Begins the line of a process: one that was there before may have ended.
pub(crate) const PROCESS: &str = "process ";

/// Processes of this very program file, but zombies.
pub(crate) fn processes() -> impl Iterator<Item = String> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let ours = pids.filter(|pid: &u32| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(PROGRAM))
    });
    ours.map(|pid| format!("{PROCESS}{pid}"))
}

/// Cgroups in the target and of the injection of this supervisor, and what the target's control files say, in every hierarchy.
pub(crate) fn cgroups(target: &Path, supervisor: u32) -> Vec<String> {
    let camp = format!("ballast-injection-{supervisor}-");
    let mut all = Vec::new();
    for root in hierarchies() {
        let camps = folders(&root).into_iter().filter(|folder| {
            folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&camp))
        });
        let target = root.join(target);
        let there = target.is_dir().then(|| target.clone());
        let all_here = there.into_iter().chain(folders(&target)).chain(camps);
        all.extend(all_here.map(|folder| format!("cgroup {}", folder.display())));
        for file in CONTROL_FILES.map(|name| target.join(name)) {
            if let Ok(said) = fs::read_to_string(&file) {
                all.push(format!("{}: {}", file.display(), said.trim()));
            }
        }
    }
    all
}

/// Where cgroups of either version are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let is_of_cgroups = |line: &&String| line.contains(" - cgroup");
    let point = |line: &String| line.split(' ').nth(4).map(PathBuf::from);
    mounts().iter().filter(is_of_cgroups).filter_map(point).collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Everything in a folder.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        _ => vec![format!("file {}", entry.path().display())],
    });
    found.collect()
}

/// Of the namespace of this thread; a network namespace that was given a name is one.
pub(crate) fn mounts() -> Vec<String> {
    fs::read_to_string("/proc/thread-self/mountinfo").unwrap().lines().map(str::to_owned).collect()
}

/// Host's and container's, and the names of sockets by which an injection claims its place.
pub(crate) fn network(container: &Container) -> Vec<String> {
    let lines_of = |whose: &str, dumped: String| {
        dumped.lines().map(|line| format!("{whose}: {}", without_identity(line))).collect::<Vec<_>>()
    };
    let host = lines_of("host", dump());
    let container = lines_of("container", container.inside(dump));
    let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
    let names =
        sockets.lines().filter_map(|line| line.split_once('@')).map(|(_, name)| format!("socket {name}"));
    host.into_iter().chain(container).chain(names).collect()
}

/// A line of ip(8) or tc(8) without what is drawn anew for each container: index, Ethernet address, number of the other
/// namespace.
fn without_identity(line: &str) -> String {
    let is_index = |word: &str| word.strip_suffix(':').is_some_and(|number| number.parse::<u32>().is_ok());
    let mut words = Vec::new();
    let mut before = "";
    for word in line.split_whitespace() {
        let is_identity =
            ["link/ether", "link-netnsid"].contains(&before) || before.is_empty() && is_index(word);
        if !is_identity {
            words.push(word.split_once("@if").map_or(word, |(name, _)| name));
        }
        before = word;
    }
    words.join(" ")
}

#[test]
fn a_container_made_anew_looks_the_same() {
    let [one, other] = [("5", "a6:da:74:ed:61:5f", "0"), ("12", "b2:33:e1:67:78:36", "1")].map(|(index, ether, number)| {
        let line = format!("{index}: veth@if2: <UP> mtu 1500\\    link/ether {ether} brd ff:ff link-netnsid {number} promiscuity 0");
        without_identity(&line)
    });
    assert_eq!(one, other);
    assert_eq!(one, "veth <UP> mtu 1500\\ link/ether brd ff:ff link-netnsid promiscuity 0");
}
