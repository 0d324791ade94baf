//! What must hold for any bytes at all, one function for each kind of outside input: `scripts/fuzz` looks for bytes for
//! which it does not. A function panics when it is broken, and nothing else in Ballast ever may.
//!
//! Must not know how the bytes are found.
#![expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

mod fake_node;
mod fake_resctrl;
mod files;

use std::{
    cell::RefCell,
    path::{Component, Path},
};

use ballast_api::{ContainerName, NodeName, Plan, UnixNanos};
use ballast_controller::{
    collect::{Naming, cadvisor::read_page},
    traces::otlp::{Encoding, decode},
};
use ballast_kernel::CgroupPath;

use fake_node::FakeNode;
use fake_resctrl::FakeResctrl;

thread_local! {
    static NODE: RefCell<FakeNode> = RefCell::new(FakeNode::new());
    static RESCTRL: FakeResctrl = FakeResctrl::new();
}

/// A plan is refused whole, or in force and given back to the last byte; nothing outside the cgroups is written.
pub fn plan(bytes: &[u8]) {
    let Ok(plan) = serde_json::from_slice::<Plan>(bytes) else { return };
    NODE.with_borrow_mut(|node| node.live_through(&plan));
}

/// Kernel files hold anything: an answer or an error, never a panic, and reading changes none of them. The first byte
/// chooses the file.
pub fn cgroup_files(bytes: &[u8]) {
    let Some((chosen, content)) = bytes.split_first() else { return };
    NODE.with_borrow_mut(|node| node.read_with(usize::from(*chosen), content));
}

/// Files of resctrl hold anything: an answer or an error, never a panic; reading changes none of them, an order that fails
/// leaves nothing behind, and what is read of a `schemata` file is written as it was. `fake_resctrl` says how bytes become
/// files.
pub fn schemata(bytes: &[u8]) {
    let parts = bytes.get(1..).unwrap_or_default().split(|byte| *byte == 0xff);
    parts.filter_map(|part| std::str::from_utf8(part.get(1..)?).ok()).for_each(fake_resctrl::read);
    RESCTRL.with(|machines| machines.live_through(bytes));
}

/// What is accepted as a name or a cgroup is a path below the root, and reads back as it was.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = ContainerName::new(text) {
        assert_eq!(name.as_str(), text);
        let parts: Vec<_> = Path::new(text).components().collect();
        assert!(matches!(parts.as_slice(), [Component::Normal(_)]), "{text:?} is no single folder");
    }
    if let Ok(name) = NodeName::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(path) = CgroupPath::new(text) {
        let is_normal = |part: Component<'_>| matches!(part, Component::Normal(_));
        assert!(Path::new(path.as_str()).components().all(is_normal), "{text:?} leaves the root");
    }
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
