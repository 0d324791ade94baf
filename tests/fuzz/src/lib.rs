//! What must hold for any bytes at all, one function for each kind of outside input: `scripts/fuzz` looks for bytes for
//! which it does not. A function panics when it is broken, and nothing else in Ballast ever may.
//!
//! Must not know how the bytes are found.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a fuzz target fails by panicking")]

#[cfg(feature = "libfuzzer")]
pub mod confine;
mod fake_node;
mod fake_resctrl;
mod fake_runtimes;
mod fake_tree;
mod files;
mod workload;

use std::{
    cell::RefCell,
    path::{Component, Path},
};

use ballast_api::{ContainerName, NodeName, Plan, UnixNanos};
use ballast_controller::{
    collect::{Naming, cadvisor::read_page},
    traces::otlp::{Encoding, decode},
};
use ballast_env_server::discovery::{docker as engine, kubernetes};
use ballast_kernel::CgroupPath;

use fake_node::{
    FakeNode,
    kernel::{V1, V2},
};
use fake_resctrl::FakeResctrl;
use fake_runtimes::{FakeRuntimes, Runtime};
use fake_tree::FakeTree;

pub use workload::{campaign, response, trace};

thread_local! {
    static NODES: RefCell<[FakeNode; 2]> = RefCell::new([FakeNode::new(&V1), FakeNode::new(&V2)]);
    static RESCTRL: FakeResctrl = FakeResctrl::new();
    static RUNTIMES: FakeRuntimes = FakeRuntimes::new();
    static TREE: FakeTree = FakeTree::new();
}

/// A plan is refused whole, or in force and given back to the last byte, on either version of cgroups; no file is written but
/// those of the limits that it names, and the journal.
pub fn plan(bytes: &[u8]) {
    let Ok(plan) = serde_json::from_slice::<Plan>(bytes) else { return };
    NODES.with_borrow_mut(|nodes| {
        let [v1, v2] = nodes.each_mut().map(|node| node.live_through(&plan).ok());
        assert_eq!(v1, v2, "{plan:?} is another one on cgroup v2");
    });
}

/// Kernel files hold anything: an answer or an error, never a panic, and reading changes none of them. The first byte
/// chooses the file (`a` the first one): those of cgroup v1, those of v2, the list of mounts.
pub fn cgroup_files(bytes: &[u8]) {
    let Some((chosen, content)) = bytes.split_first() else { return };
    let (of_v1, of_v2) = (V1.files.len(), V2.files.len());
    let chosen = usize::from(chosen.wrapping_sub(b'a')) % (of_v1 + of_v2 + 1);
    NODES.with_borrow_mut(|[v1, v2]| match chosen.checked_sub(of_v1) {
        None => v1.read_with(chosen, content),
        Some(chosen) if chosen < of_v2 => v2.read_with(chosen, content),
        Some(_) => v2.find_with(content),
    });
}

/// A journal holds anything: it is refused as damaged and kept, or read, and then no more is written than limits of the
/// cgroups that it names.
pub fn journal(bytes: &[u8]) {
    NODES.with_borrow_mut(|nodes| nodes.iter_mut().for_each(|node| node.begin_with(bytes)));
}

/// Files of resctrl hold anything: an answer or an error, never a panic; reading changes none of them, an order that fails
/// leaves nothing behind, and what is read of a `schemata` file is written as it was. `fake_resctrl` says how bytes become
/// files.
pub fn schemata(bytes: &[u8]) {
    let parts = bytes.get(1..).unwrap_or_default().split(|byte| *byte == 0xff);
    parts.filter_map(|part| std::str::from_utf8(part.get(1..)?).ok()).for_each(fake_resctrl::read);
    RESCTRL.with(|machines| machines.live_through(bytes));
}

/// What is accepted as a name or a cgroup is a path below the root, where a group of that name then is, and reads back as it
/// was.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = ContainerName::new(text) {
        assert_eq!(name.as_str(), text);
        assert_is_one_folder(&name);
        TREE.with(|tree| tree.live_through(&CgroupPath::new("p").unwrap().child(text).unwrap()));
    }
    ContainerName::shortened(text).iter().for_each(assert_is_one_folder);
    if let [namespace, pod, container] = text.splitn(3, '\n').collect::<Vec<_>>()[..] {
        ContainerName::in_pod(namespace, pod, container).iter().for_each(assert_is_one_folder);
    }
    if let Ok(name) = NodeName::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(path) = CgroupPath::new(text) {
        let is_normal = |part: Component<'_>| matches!(part, Component::Normal(_));
        assert!(Path::new(path.as_str()).components().all(is_normal), "{text:?} leaves the root");
        let _ = (engine::container_of(&path), kubernetes::container_of(&path), kubernetes::holds_pods(&path));
        TREE.with(|tree| tree.live_through(&path));
    }
}

fn assert_is_one_folder(name: &ContainerName) {
    let parts: Vec<_> = Path::new(name.as_str()).components().collect();
    assert!(matches!(parts.as_slice(), [Component::Normal(_)]), "{name:?} is no single folder");
}

/// Docker's engine answers anything: a sentence, or names of single folders, by which a look then finds its containers.
pub fn docker(bytes: &[u8]) {
    let Ok(known) = engine::read(bytes) else { return };
    known.values().for_each(|known| assert_is_one_folder(&known.name));
    RUNTIMES.with(|runtimes| runtimes.look_with(Runtime::Docker, &known));
}

/// The kubelet answers anything: likewise.
pub fn kubelet(bytes: &[u8]) {
    let Ok(known) = kubernetes::read(bytes) else { return };
    known.values().for_each(|known| assert_is_one_folder(&known.name));
    RUNTIMES.with(|runtimes| runtimes.look_with(Runtime::Kubelet, &known));
}

/// Spans that are accepted have ends after their begins; the rest is refused and counted.
pub fn otlp(bytes: &[u8]) {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        if let Ok(export) = decode(encoding, bytes) {
            assert!(export.spans.iter().all(|span| span.end >= span.start), "a span ends before it begins");
        }
    }
}

/// Counters that are accepted are numbers; malformed lines are passed over.
pub fn cadvisor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let naming = Naming::children_of(["p"]).and_docker().and_kubernetes();
    let node = NodeName::new("n").unwrap();
    let _ = read_page(text, &node, &naming, UnixNanos(1));
}
