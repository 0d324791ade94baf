//! Machines with resctrl whose kernel files are plain files in a folder: Intel's, the same with code and data apart, AMD's,
//! and one whose bandwidths are in MiB/s.
//!
//! Plain files do not make a group's files when its folder is made, so an order to limit a container always fails, and
//! must leave nothing behind. Orders that succeed are tried on the emulator (package ballast-resctrl-emulator).

use std::{fs, path::PathBuf, sync::Arc};

use ballast_api::{Bytes, BytesPerSecond, Limit, with_causes};
use ballast_kernel::{
    CgroupPath,
    resctrl::{
        GroupName, Groups, Info, ResctrlControl, ResctrlLimits, ResctrlMount, ResctrlNode, Schemata,
        schemata::parse_sizes,
    },
};
use tempfile::TempDir;

use crate::files::{self, Files};

/// A process of the container, in the root group unless the bytes say otherwise.
const PID: u32 = 7;

type Texts = &'static [(&'static str, &'static str)];

/// What every machine has: the root group, and one of somebody else.
const COMMON: Texts = &[
    ("info/last_cmd_status", "ok\n"),
    ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
    ("info/L3_MON/num_rmids", "144\n"),
    ("mode", "shareable\n"),
    ("tasks", "1\n7\n"),
    ("mon_groups/watched/tasks", "2\n"),
    ("mon_data/mon_L3_00/llc_occupancy", "1474560\n"),
    ("theirs/mode", "exclusive\n"),
    ("theirs/tasks", "3\n"),
    ("theirs/mon_data/mon_L3_00/llc_occupancy", "40960\n"),
    ("theirs/mon_data/mon_L3_00/mbm_total_bytes", "122880\n"),
    ("theirs/mon_data/mon_L3_00/mbm_local_bytes", "Unavailable\n"),
];

const PERCENT: Texts = &[
    ("info/MB/bandwidth_gran", "10\n"),
    ("info/MB/delay_linear", "1\n"),
    ("info/MB/min_bandwidth", "10\n"),
    ("info/MB/num_closids", "8\n"),
];

const L3: Texts = &[
    ("info/L3/cbm_mask", "fffff\n"),
    ("info/L3/min_cbm_bits", "1\n"),
    ("info/L3/num_closids", "16\n"),
    ("info/L3/shareable_bits", "c0000\n"),
    ("info/L3/sparse_masks", "0\n"),
];

const INTEL: Texts = &[
    ("schemata", "L3:0=fffff;1=fffff\nMB:0=100;1=100\n"),
    ("size", "L3:0=28835840;1=28835840\nMB:0=100;1=100\n"),
    ("theirs/schemata", "L3:0=00003;1=fffff\nMB:0=50;1=100\n"),
];

const CODE_AND_DATA: Texts = &[
    ("info/L3CODE/cbm_mask", "7ff\n"),
    ("info/L3CODE/min_cbm_bits", "2\n"),
    ("info/L3CODE/num_closids", "4\n"),
    ("info/L3DATA/cbm_mask", "7ff\n"),
    ("schemata", "L3DATA:0=7ff\nL3CODE:0=7ff\nMB:0=100\n"),
    ("size", "L3DATA:0=17301504\nL3CODE:0=17301504\n"),
    ("theirs/schemata", "L3DATA:0=700\nL3CODE:0=001\nMB:0= 40\n"),
];

const AMD: Texts = &[
    ("info/MB/bandwidth_gran", "1\n"),
    ("info/MB/delay_linear", "0\n"),
    ("info/MB/min_bandwidth", "0\n"),
    ("info/MB/num_closids", "16\n"),
    ("schemata", "    MB:0=2048;8=2048;16=2048\n    L3:0=fffff;8=fffff;16=fffff\n  SMBA:0=2048\n"),
    ("size", "    L3:0=33554432;8=33554432;16=33554432\n"),
    ("theirs/schemata", "    MB:0=  16;8=2048;16=2048\n    L3:0=f000f;8=fffff;16=fffff\n"),
];

const MEBIBYTES: Texts = &[
    ("schemata", "L3:0=fffff\nMB:0=4294967295\n"),
    ("size", "L3:0=28835840\n"),
    ("theirs/schemata", "L3:0=3\nMB:0=1024\n"),
];

/// The machines: their files, and whether bandwidths are in MiB/s.
const MACHINES: [(&[Texts], bool); 4] = [
    (&[COMMON, PERCENT, L3, INTEL], false),
    (&[COMMON, PERCENT, CODE_AND_DATA], false),
    (&[COMMON, L3, AMD], false),
    (&[COMMON, PERCENT, L3, MEBIBYTES], true),
];

/// All of the machines, each in a folder of its own.
pub(crate) struct FakeResctrl {
    _folder: TempDir,
    machines: Vec<Machine>,
}

struct Machine {
    /// Holds `resctrl` and `proc`, and nothing else.
    folder: PathBuf,
    mount: ResctrlMount,
    /// The files that there are, in the order in which the bytes number them.
    names: Vec<&'static str>,
    own: Files,
}

impl FakeResctrl {
    pub(crate) fn new() -> Self {
        let folder = files::folder();
        let machine = |(index, (texts, mebibytes)): (usize, &(&[Texts], bool))| {
            Machine::new(folder.path().join(index.to_string()), texts, *mebibytes)
        };
        let machines = MACHINES.iter().enumerate().map(machine).collect();
        Self { _folder: folder, machines }
    }

    /// The first byte chooses the machine. What follows is cut at every byte 0xff, which no text holds: of each part, the
    /// first byte chooses a file (`a` the first one), and the rest is what it holds.
    pub(crate) fn live_through(&self, bytes: &[u8]) {
        let Some((machine, parts)) = bytes.split_first() else { return };
        let machine = &self.machines[usize::from(*machine) % self.machines.len()];
        let mut now = machine.own.clone();
        for (file, content) in parts.split(|byte| *byte == 0xff).filter_map(<[u8]>::split_first) {
            now.insert(machine.put(*file, content), Some(content.to_vec()));
        }
        machine.look_at();
        assert!(machine.files() == now, "reading changed a file");
        machine.limit_somebody();
        let mut left = machine.files();
        // A task that was in no group is given to the root group, as it would be when the container's group is removed.
        let tasks = machine.mount.point.join("tasks");
        left.insert(tasks.clone(), now[&tasks].clone());
        assert!(left == now, "an order that failed left something behind");
        fs::write(&tasks, machine.own[&tasks].as_ref().unwrap()).unwrap();
        for (file, held) in machine.own.iter().filter(|(file, held)| now[*file] != **held) {
            fs::write(file, held.as_ref().unwrap()).unwrap();
        }
    }
}

impl Machine {
    fn new(folder: PathBuf, texts: &[Texts], mebibytes: bool) -> Self {
        let point = folder.join("resctrl");
        let texts = texts.iter().copied().flatten();
        texts.clone().for_each(|(name, text)| files::put(&point.join(name), text.as_bytes()));
        files::put(&folder.join(format!("proc/{PID}/task/{PID}/stat")), b"");
        let own = files::below(&folder);
        let mount = ResctrlMount { point, mebibytes };
        Self { folder, mount, names: texts.map(|(name, _)| *name).collect(), own }
    }

    fn files(&self) -> Files {
        files::below(&self.folder)
    }

    fn put(&self, file: u8, content: &[u8]) -> PathBuf {
        let name = self.names[usize::from(file.wrapping_sub(b'a')) % self.names.len()];
        let file = self.mount.point.join(name);
        fs::write(&file, content).unwrap();
        file
    }

    fn open(&self) -> Option<ResctrlNode> {
        let peak = Some(BytesPerSecond::saturating(100e9));
        ResctrlNode::open(&self.mount, self.folder.join("proc"), peak).ok()
    }

    /// Reads everything.
    fn look_at(&self) {
        let _ = Info::read(&self.mount).map(|info| info.groups());
        let groups = Groups::new(&self.mount.point);
        let theirs = groups.find(&GroupName::new("theirs").unwrap()).unwrap();
        for group in [theirs, groups.root()] {
            let _ = (group.sizes(), group.mode(), group.tasks(), group.counters());
            if let Ok(schemata) = group.schemata() {
                round_trip(&schemata);
            }
        }
        if let Some(node) = self.open() {
            let container = container(&node);
            let _ = (container.in_force(), container.counters());
            asked().for_each(|limits| rounds_once(&container, limits));
        }
    }

    /// Orders limits, which fails or needs no group.
    fn limit_somebody(&self) {
        let Some(node) = self.open() else { return };
        let container = container(&node);
        for limits in asked() {
            match container.set_limits(limits) {
                Ok(in_force) => assert!(in_force.shared_with.is_empty(), "nobody else is there"),
                Err(error) => files::assert_allowed(&with_causes(&error)),
            }
        }
        let _ = container.restore();
    }
}

fn container(node: &ResctrlNode) -> ResctrlControl {
    node.container(CgroupPath::new("geo").unwrap(), None, Arc::new(|| Ok(vec![PID])))
}

/// From nothing to more than there is.
fn asked() -> impl Iterator<Item = ResctrlLimits> {
    let amounts = [None, Some(0.0), Some(1.0), Some(3e6), Some(5e9), Some(1e18), Some(f64::MAX)];
    amounts.into_iter().map(|amount| ResctrlLimits {
        llc: Some(amount.map_or(Limit::Max, |amount| Limit::At(Bytes::saturating(amount)))),
        memory_bandwidth: Some(
            amount.map_or(Limit::Max, |amount| Limit::At(BytesPerSecond::saturating(amount))),
        ),
    })
}

/// Nobody gets less than was asked, and what was rounded once stays as it is.
fn rounds_once(container: &ResctrlControl, asked: ResctrlLimits) {
    let halves = [
        ResctrlLimits { llc: asked.llc, memory_bandwidth: None },
        ResctrlLimits { llc: None, memory_bandwidth: asked.memory_bandwidth },
        asked,
    ];
    for asked in halves {
        let Ok(rounded) = container.rounded(asked) else { continue };
        if let (Some(Limit::At(asked)), Some(Limit::At(given))) = (asked.llc, rounded.llc) {
            assert!(given.get() >= asked.get() * (1.0 - 1e-9), "{given} of {asked}");
        }
        if let (Some(Limit::At(asked)), Some(Limit::At(given))) =
            (asked.memory_bandwidth, rounded.memory_bandwidth)
        {
            assert!(given.get() >= asked.get() * (1.0 - 1e-9), "{given} of {asked}");
        }
        assert_eq!(container.rounded(rounded).unwrap(), rounded, "of {asked:?}");
    }
}

/// What is written is read again as it was.
fn round_trip(schemata: &Schemata) {
    let text = schemata.to_string();
    assert_eq!(Schemata::parse(&text).as_ref(), Some(schemata), "{text:?}");
    let known = schemata.known();
    assert_eq!(Schemata::parse(&known.to_string()).unwrap(), known, "{text:?}");
    assert!(schemata.that_differ_from(schemata).is_empty());
}

/// What is read of a text, wherever it stands.
pub(crate) fn read(text: &str) {
    let _ = (ResctrlMount::parse(text), parse_sizes(text));
    if let Some(schemata) = Schemata::parse(text) {
        round_trip(&schemata);
    }
}
