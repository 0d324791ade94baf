//! A node whose kernel files are plain files in a folder of its own.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ballast_api::{Clock, Cores, Plan, UnixNanos};
use ballast_env_server::{
    discovery::Discovery,
    journal::Journal,
    lender::{Lender, Means},
    machine::{Machine, Roots},
    metrics::Metrics,
};
use ballast_kernel::{CgroupPath, CpuControl, Hierarchy};
use tempfile::TempDir;

use crate::files::{self, Files};

/// Files of one container, as the kernel writes them; those of cgroup v1 and v2 side by side.
const FILES: [(&str, &str); 11] = [
    ("cpu.cfs_quota_us", "-1\n"),
    ("cpu.cfs_period_us", "100000\n"),
    ("cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"),
    ("cpuacct.usage", "0\n"),
    ("cgroup.procs", ""),
    ("blkio.throttle.read_bps_device", ""),
    ("blkio.throttle.write_bps_device", ""),
    ("blkio.throttle.read_iops_device", ""),
    ("blkio.throttle.write_iops_device", ""),
    ("blkio.throttle.io_service_bytes_recursive", "254:0 Read 4096\n254:0 Write 0\nTotal 4096\n"),
    ("blkio.throttle.io_serviced_recursive", "254:0 Read 1\n254:0 Write 0\nTotal 1\n"),
];

const CONTAINERS: [&str; 3] = ["a", "b", "c"];

pub(crate) struct FakeNode {
    folder: TempDir,
    machine: Machine,
    lender: Lender,
    now: Duration,
    /// What the files hold between two inputs; none when that is to be looked up.
    own: Option<Files>,
}

/// Goes on by a second whenever it is looked at, so that there are rates between any two samples.
#[derive(Default)]
struct HastyClock(AtomicU64);

impl Clock for HastyClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.fetch_add(1_000_000_000, Ordering::Relaxed))
    }
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        let folder = files::folder();
        let root = folder.path().join("cgroup");
        for container in CONTAINERS {
            let cgroup = root.join("p").join(container);
            fs::create_dir_all(&cgroup).unwrap();
            FILES.iter().for_each(|(name, text)| fs::write(cgroup.join(name), text).unwrap());
        }
        let sys = folder.path().join("sys");
        fs::create_dir_all(sys.join("block/vda")).unwrap();
        fs::write(sys.join("block/vda/size"), "1024\n").unwrap();
        fs::write(sys.join("block/vda/dev"), "254:0\n").unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        let roots = Roots { proc: folder.path().join("proc"), sys };
        let machine = Machine::new(hierarchy(folder.path()), roots, Cores::new(2.0).unwrap());
        let lender = open(folder.path(), &machine);
        Self { folder, machine, lender, now: Duration::ZERO, own: None }
    }

    /// Applies a plan, lets it end, and compares every file with what it was. The files that the lender writes lose the
    /// form of the kernel's own text, so that what they say is compared.
    pub(crate) fn live_through(&mut self, plan: &Plan) {
        let (before, limits) = (self.files(), self.limits());
        let outcome = self.lender.apply(plan, self.now);
        if plan.dry_run || outcome.is_err() {
            assert_eq!(self.files(), before, "{outcome:?} of {plan:?} changed something");
        }
        self.now += Duration::from_secs(3601);
        self.lender.expire(self.now);
        assert_eq!(self.lender.loans(), 0, "something stayed lent of {plan:?}");
        assert_eq!(self.limits(), limits, "{plan:?} was not given back");
        assert!(self.files().keys().eq(before.keys()), "{plan:?} made or removed a file");
        // A plan may carry the greatest generation there is, after which no other would be accepted.
        self.lender = open(self.folder.path(), &self.machine);
        self.own = None;
    }

    /// Puts `content` into one of the files, reads everything, and puts it right again.
    pub(crate) fn read_with(&mut self, chosen: usize, content: &[u8]) {
        if chosen % (FILES.len() + 1) == FILES.len() {
            let mountinfo = self.folder.path().join("mountinfo");
            fs::write(&mountinfo, content).unwrap();
            let _ = Hierarchy::find(&mountinfo);
            return;
        }
        let file = self.folder.path().join("cgroup/p/a").join(FILES[chosen % FILES.len()].0);
        let mut own = self.own.take().unwrap_or_else(|| self.files());
        let held = own.insert(file.clone(), Some(content.to_vec())).unwrap().unwrap();
        // One sample of the files as they are, so that rates are those between it and what comes.
        self.lender.sample();
        fs::write(&file, content).unwrap();
        self.lender.sample();
        let _ = self.lender.containers(self.now);
        // And one that begins with it.
        self.lender = open(self.folder.path(), &self.machine);
        let _ = self.lender.containers(self.now);
        self.lender.sample();
        assert!(self.files() == own, "reading changed a file");
        fs::write(&file, &held).unwrap();
        own.insert(file, Some(held));
        self.own = Some(own);
        self.lender = open(self.folder.path(), &self.machine);
    }

    fn limits(&self) -> Vec<String> {
        let of = |name: &str| {
            let path = CgroupPath::new(&format!("p/{name}")).unwrap();
            let disks = ["read_bps", "write_bps", "read_iops", "write_iops"].map(|limit| {
                let file = self.folder.path().join(format!("cgroup/p/{name}/blkio.throttle.{limit}_device"));
                // The kernel drops the line that is written to end a limit.
                fs::read_to_string(file).unwrap().replace("254:0 0", "")
            });
            format!("{} {disks:?}", CpuControl::new(self.machine.hierarchy(), &path).limit().unwrap())
        };
        CONTAINERS.iter().map(|name| of(name)).collect()
    }

    /// Every file of the folder but the state directory's.
    fn files(&self) -> Files {
        files::below([&self.folder.path().join("cgroup"), &self.folder.path().join("sys")])
    }
}

fn hierarchy(folder: &Path) -> Hierarchy {
    let mountinfo = folder.join("own-mountinfo");
    let root = folder.join("cgroup");
    fs::write(&mountinfo, format!("1 0 0:1 / {} rw - cgroup x rw,cpu,cpuacct,blkio\n", root.display()))
        .unwrap();
    Hierarchy::find(&mountinfo).unwrap()
}

fn open(folder: &Path, machine: &Machine) -> Lender {
    let means = Means {
        machine: machine.clone(),
        discovery: Discovery::of_parents(&[CgroupPath::new("p").unwrap()]),
        sample_interval: Duration::from_secs(1),
        clock: Arc::new(HastyClock::default()),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(&folder.join("state"), "boot"),
    };
    Lender::open(means, Duration::ZERO).unwrap()
}
