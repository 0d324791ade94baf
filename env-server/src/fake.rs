//! A machine in a folder of a test: cgroup files that accept everything, and refuse where a test wants it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ballast_api::{
    BytesPerSecond, CgroupVersion, Clock, ContainerName, Cores, Limit, OperationsPerSecond, ReadWrite,
    UnixNanos,
};
use ballast_kernel::{CgroupPath, DeviceNumber, DiskControl, DiskLimits, Hierarchy};
use tempfile::TempDir;

use crate::machine::{Machine, Roots};

/// A file of every Linux that holds a number and that nobody, not even root, can write: 65536.
const UNWRITABLE_NUMBER: &str = "/proc/sys/kernel/ngroups_max";

/// A file of every Linux that nobody can write: the POSIX timers of this process, of which there are none.
const UNWRITABLE_NOTHING: &str = "/proc/self/timers";

/// The only disk.
pub(crate) const VDA: DeviceNumber = DeviceNumber { major: 254, minor: 0 };

/// Of a disk.
pub(crate) const UNLIMITED: ReadWrite<Option<u64>> = ReadWrite { read: None, write: None };

pub(crate) struct FakeMachine {
    folder: TempDir,
    hierarchy: Hierarchy,
}

impl FakeMachine {
    pub(crate) fn v1() -> Self {
        Self::new(|root| format!("1 0 0:1 / {} rw - cgroup x rw,cpu,cpuacct,blkio\n", root.display()))
    }

    pub(crate) fn v2() -> Self {
        Self::new(|root| format!("1 0 0:1 / {} rw - cgroup2 x rw\n", root.display()))
    }

    fn new(mount: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cgroup");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("cgroup.controllers"), "cpu io\n").unwrap();
        let mountinfo = folder.path().join("mountinfo");
        fs::write(&mountinfo, mount(&root)).unwrap();
        let hierarchy = Hierarchy::find(&mountinfo).unwrap();
        Self { folder, hierarchy }
    }

    pub(crate) fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Two cores and the disk `vda`, which every container has used since it began.
    pub(crate) fn machine(&self) -> Machine {
        let sys = self.folder.path().join("sys");
        fs::create_dir_all(sys.join("block/vda")).unwrap();
        fs::write(sys.join("block/vda/size"), "1024\n").unwrap();
        fs::write(sys.join("block/vda/dev"), format!("{VDA}\n")).unwrap();
        let roots = Roots { proc: self.folder.path().join("proc"), sys };
        Machine::new(self.hierarchy.clone(), roots, Cores::new(2.0).unwrap())
    }

    pub(crate) fn parents(&self, parents: &[&str]) -> Vec<CgroupPath> {
        parents.iter().map(|parent| CgroupPath::new(parent).unwrap()).collect()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        let path = self.folder.path().join("state");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Makes a cgroup. `quota_us` at a period of 100 ms: -1 for none.
    pub(crate) fn add(&self, path: &str, quota_us: &str) {
        let folder = self.cgroup(path);
        fs::create_dir_all(&folder).unwrap();
        self.put(path, quota_us);
        self.put_disk_limits(path, UNLIMITED, UNLIMITED);
        self.count(path, 0);
    }

    /// Replaces a cgroup by a new one of the same path, as a restarted container does.
    pub(crate) fn replace(&self, path: &str, quota_us: &str) {
        self.remove(path);
        self.add(path, quota_us);
    }

    /// Moves the cgroup out of sight: its inode stays in use, so that a new one gets another.
    pub(crate) fn remove(&self, path: &str) {
        static REMOVED: AtomicU64 = AtomicU64::new(0);
        let grave = format!("removed-{}", REMOVED.fetch_add(1, Ordering::Relaxed));
        fs::rename(self.cgroup(path), self.folder.path().join(grave)).unwrap();
    }

    /// Sets the limit as somebody else would.
    pub(crate) fn put(&self, path: &str, quota_us: &str) {
        let folder = self.cgroup(path);
        if self.hierarchy.version() == CgroupVersion::V2 {
            let quota = if quota_us == "-1" { "max" } else { quota_us };
            fs::write(folder.join("cpu.max"), format!("{quota} 100000\n")).unwrap();
        } else {
            fs::write(folder.join("cpu.cfs_quota_us"), format!("{quota_us}\n")).unwrap();
            fs::write(folder.join("cpu.cfs_period_us"), "100000\n").unwrap();
        }
    }

    /// Sets the burst as somebody else would. Without it there is no file for it, as on an old kernel. v1 only.
    pub(crate) fn put_burst(&self, path: &str, burst_us: u64) {
        fs::write(self.cgroup(path).join("cpu.cfs_burst_us"), format!("{burst_us}\n")).unwrap();
    }

    /// The burst in force.
    pub(crate) fn burst(&self, path: &str) -> Option<u64> {
        fs::read_to_string(self.cgroup(path).join("cpu.cfs_burst_us")).ok()?.trim().parse().ok()
    }

    /// Sets the disk's limits in bytes/s as somebody else would.
    pub(crate) fn put_disk(&self, path: &str, bytes: ReadWrite<Option<u64>>) {
        self.put_disk_limits(path, bytes, self.operations(path));
    }

    /// Sets the disk's limits in operations/s as somebody else would.
    pub(crate) fn put_operations(&self, path: &str, operations: ReadWrite<Option<u64>>) {
        self.put_disk_limits(path, self.disk(path), operations);
    }

    fn put_disk_limits(&self, path: &str, bytes: ReadWrite<Option<u64>>, operations: ReadWrite<Option<u64>>) {
        let folder = self.cgroup(path);
        if self.hierarchy.version() == CgroupVersion::V2 {
            let word = |rate: Option<u64>| rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string());
            let [bytes, operations] = [bytes, operations].map(|limits| limits.map(word));
            let line = format!(
                "{VDA} rbps={} wbps={} riops={} wiops={}\n",
                bytes.read, bytes.write, operations.read, operations.write
            );
            return fs::write(folder.join("io.max"), line).unwrap();
        }
        let line = |rate: Option<u64>| rate.map_or_else(String::new, |rate| format!("{VDA} {rate}\n"));
        for (file, limit) in [
            ("read_bps", bytes.read),
            ("write_bps", bytes.write),
            ("read_iops", operations.read),
            ("write_iops", operations.write),
        ] {
            fs::write(folder.join(format!("blkio.throttle.{file}_device")), line(limit)).unwrap();
        }
    }

    /// The disk's limits in force, in bytes/s.
    pub(crate) fn disk(&self, path: &str) -> ReadWrite<Option<u64>> {
        self.disk_limits(path)
            .map_or(UNLIMITED, |limits| limits.bytes.map(|limit| whole(limit, BytesPerSecond::get)))
    }

    /// The disk's limits in force, in operations/s.
    pub(crate) fn operations(&self, path: &str) -> ReadWrite<Option<u64>> {
        let whole = |limit| whole(limit, OperationsPerSecond::get);
        self.disk_limits(path).map_or(UNLIMITED, |limits| limits.operations.map(whole))
    }

    /// None where files are missing.
    fn disk_limits(&self, path: &str) -> Option<DiskLimits> {
        DiskControl::new(&self.hierarchy, &CgroupPath::new(path).unwrap(), VDA)?.limits().ok()
    }

    /// Sets the CPU time used so far, in milliseconds.
    pub(crate) fn count(&self, path: &str, used_ms: u64) {
        let folder = self.cgroup(path);
        let stat = "nr_periods 0\nnr_throttled 0\nthrottled_time 0\nthrottled_usec 0\n";
        fs::write(folder.join("cpu.stat"), format!("usage_usec {}\n{stat}", used_ms * 1000)).unwrap();
        fs::write(folder.join("cpuacct.usage"), format!("{}\n", used_ms * 1_000_000)).unwrap();
        let counted = format!("{VDA} Read 4096\n{VDA} Write 0\nTotal 4096\n");
        fs::write(folder.join("blkio.throttle.io_service_bytes_recursive"), &counted).unwrap();
        fs::write(folder.join("blkio.throttle.io_serviced_recursive"), &counted).unwrap();
        fs::write(folder.join("io.stat"), format!("{VDA} rbytes=4096 wbytes=0 rios=1 wios=0\n")).unwrap();
    }

    /// From now on the limit (0.65536 cores) can be read but not written. v1 only.
    pub(crate) fn refuse_writes(&self, path: &str) {
        let quota = self.cgroup(path).join("cpu.cfs_quota_us");
        fs::remove_file(&quota).unwrap();
        std::os::unix::fs::symlink(UNWRITABLE_NUMBER, &quota).unwrap();
    }

    /// Ends [`Self::refuse_writes`], with `quota_us` in force.
    pub(crate) fn accept_writes(&self, path: &str, quota_us: &str) {
        fs::remove_file(self.cgroup(path).join("cpu.cfs_quota_us")).unwrap();
        self.put(path, quota_us);
    }

    /// From now on the disk's write limit (none) can be read but not written. v1 only.
    pub(crate) fn refuse_disk_writes(&self, path: &str) {
        let file = self.cgroup(path).join("blkio.throttle.write_bps_device");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(UNWRITABLE_NOTHING, &file).unwrap();
    }

    /// Ends [`Self::refuse_disk_writes`].
    pub(crate) fn accept_disk_writes(&self, path: &str) {
        fs::remove_file(self.cgroup(path).join("blkio.throttle.write_bps_device")).unwrap();
        self.put_disk(path, UNLIMITED);
    }

    /// The disk's files vanish, as where a parent keeps the controller to itself.
    pub(crate) fn lose_disk(&self, path: &str) {
        fs::remove_file(self.cgroup(path).join("blkio.throttle.read_bps_device")).unwrap();
    }

    /// The CPU's files vanish, as when a parent takes the controller back. v2 only.
    pub(crate) fn lose_cpu(&self, path: &str) {
        fs::remove_file(self.cgroup(path).join("cpu.max")).unwrap();
    }

    /// The bytes in the file that holds the limit, without the period.
    pub(crate) fn quota(&self, path: &str) -> String {
        let folder = self.cgroup(path);
        let file = if self.hierarchy.version() == CgroupVersion::V2 { "cpu.max" } else { "cpu.cfs_quota_us" };
        let text = fs::read_to_string(folder.join(file)).unwrap();
        text.split_whitespace().next().unwrap().replace("max", "-1")
    }

    /// Writes a file of the machine: below `cgroup`, `proc` or `sys`.
    pub(crate) fn put_file(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What a file of the machine holds.
    pub(crate) fn file(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    fn cgroup(&self, path: &str) -> PathBuf {
        self.folder.path().join("cgroup").join(path)
    }
}

/// A clock that a test sets.
#[derive(Debug, Default)]
pub(crate) struct FakeClock {
    monotonic: AtomicU64,
    /// What the time of day was set back by.
    behind: AtomicU64,
}

impl FakeClock {
    pub(crate) fn at(seconds: f64) -> Arc<Self> {
        let clock = Arc::new(Self::default());
        clock.set(seconds);
        clock
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a test")]
    pub(crate) fn set(&self, seconds: f64) {
        self.monotonic.store((seconds * 1e9) as u64, Ordering::Relaxed);
    }

    /// Sets the time of day back, as somebody does who has found it wrong.
    pub(crate) fn set_back(&self, by: Duration) {
        self.behind.store(u64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.monotonic.load(Ordering::Relaxed) - self.behind.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic.load(Ordering::Relaxed))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers of a test")]
fn whole<T>(limit: Limit<T>, number: impl Fn(T) -> f64) -> Option<u64> {
    match limit {
        Limit::Max => None,
        Limit::At(rate) => Some(number(rate) as u64),
    }
}

pub(crate) fn cores(cores: f64) -> Limit<Cores> {
    Limit::At(Cores::new(cores).unwrap())
}

pub(crate) fn name(name: &str) -> ContainerName {
    ContainerName::new(name).unwrap()
}
