//! A node whose kernel files are plain files in a folder of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
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
    folder: tempfile::TempDir,
    lender: Lender,
    now: Duration,
}

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(0)
    }
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
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
        let lender = open(folder.path());
        Self { folder, lender, now: Duration::ZERO }
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
        self.lender = open(self.folder.path());
    }

    /// Puts `content` into one of the files, reads everything, and puts it right again.
    pub(crate) fn read_with(&mut self, chosen: usize, content: &[u8]) {
        let mountinfo = self.folder.path().join("mountinfo");
        let (name, own) = FILES[chosen % FILES.len()];
        let file = self.folder.path().join("cgroup/p/a").join(name);
        if chosen % (FILES.len() + 1) == FILES.len() {
            fs::write(&mountinfo, content).unwrap();
            let _ = Hierarchy::find(&mountinfo);
            return;
        }
        fs::write(&file, content).unwrap();
        let before = self.files();
        let _ = self.lender.containers(self.now);
        self.lender.sample();
        assert!(self.files() == before, "reading changed a file");
        fs::write(&file, own).unwrap();
        self.lender = open(self.folder.path());
    }

    fn limits(&self) -> Vec<String> {
        let hierarchy = hierarchy(self.folder.path());
        let of = |name: &str| {
            let path = CgroupPath::new(&format!("p/{name}")).unwrap();
            let disks = ["read_bps", "write_bps", "read_iops", "write_iops"].map(|limit| {
                let file = self.folder.path().join(format!("cgroup/p/{name}/blkio.throttle.{limit}_device"));
                // The kernel drops the line that is written to end a limit.
                fs::read_to_string(file).unwrap().replace("254:0 0", "")
            });
            format!("{} {disks:?}", CpuControl::new(&hierarchy, &path).limit().unwrap())
        };
        CONTAINERS.iter().map(|name| of(name)).collect()
    }

    /// Every file of the folder but the state directory's.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.folder.path().join("cgroup"), &mut files);
        collect(&self.folder.path().join("sys"), &mut files);
        files
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

fn hierarchy(folder: &Path) -> Hierarchy {
    let mountinfo = folder.join("own-mountinfo");
    let root = folder.join("cgroup");
    fs::write(&mountinfo, format!("1 0 0:1 / {} rw - cgroup x rw,cpu,cpuacct,blkio\n", root.display()))
        .unwrap();
    Hierarchy::find(&mountinfo).unwrap()
}

fn open(folder: &Path) -> Lender {
    let roots = Roots { proc: folder.join("proc"), sys: folder.join("sys") };
    let means = Means {
        machine: Machine::new(hierarchy(folder), roots, Cores::new(2.0).unwrap()),
        discovery: Discovery::of_parents(&[CgroupPath::new("p").unwrap()]),
        sample_interval: Duration::from_secs(1),
        clock: Arc::new(StoppedClock),
        metrics: Arc::new(Metrics::default()),
        journal: Journal::new(&folder.join("state"), "boot"),
    };
    Lender::open(means, Duration::ZERO).unwrap()
}
