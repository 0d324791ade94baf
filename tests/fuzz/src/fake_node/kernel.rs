//! Both versions of control groups, as files of one container: what they hold, and which of them a limit may change.
//!
//! Must not know who writes them.

type Texts = &'static [(&'static str, &'static str)];

/// One version of control groups.
pub(crate) struct Kernel {
    /// How the mount is listed, after the folder.
    pub(crate) mount: &'static str,
    /// Files of a container without limits, as the kernel writes them.
    pub(crate) files: Texts,
    /// Those of them that hold another text for a container that has limits of its own.
    pub(crate) limited: Texts,
    /// Files that a lent CPU limit may change.
    pub(crate) cpu: &'static [&'static str],
    /// Files that a lent limit of a disk may change.
    pub(crate) disk: &'static [&'static str],
    /// What is written, and kept by a plain file, to end the limits of the only disk; the kernel drops it.
    pub(crate) no_disk_limit: &'static str,
}

pub(crate) const V1: Kernel = Kernel {
    mount: "cgroup x rw,cpu,cpuacct,blkio",
    files: &[
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
        ("cpu.cfs_burst_us", "0\n"),
    ],
    limited: &[
        ("cpu.cfs_quota_us", "50000\n"),
        ("cpu.cfs_burst_us", "20000\n"),
        ("blkio.throttle.write_bps_device", "254:0 1048576\n"),
    ],
    cpu: &["cpu.cfs_quota_us", "cpu.cfs_burst_us"],
    disk: &[
        "blkio.throttle.read_bps_device",
        "blkio.throttle.write_bps_device",
        "blkio.throttle.read_iops_device",
        "blkio.throttle.write_iops_device",
    ],
    no_disk_limit: "254:0 0",
};

pub(crate) const V2: Kernel = Kernel {
    mount: "cgroup2 x rw",
    files: &[
        ("cpu.max", "max 100000\n"),
        ("cpu.max.burst", "0\n"),
        (
            "cpu.stat",
            "usage_usec 0\nuser_usec 0\nsystem_usec 0\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\nnr_bursts 0\n",
        ),
        ("cgroup.procs", ""),
        ("io.max", ""),
        ("io.stat", "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n"),
    ],
    limited: &[
        ("cpu.max", "50000 100000\n"),
        ("cpu.max.burst", "20000\n"),
        ("io.max", "254:0 rbps=max wbps=1048576 riops=max wiops=max\n"),
    ],
    cpu: &["cpu.max", "cpu.max.burst"],
    disk: &["io.max"],
    no_disk_limit: "254:0 rbps=max wbps=max riops=max wiops=max",
};

impl Kernel {
    /// What the file of this name holds.
    pub(crate) fn text(&self, name: &str, limited: bool) -> &'static str {
        let texts = self.limited.iter().filter(|_| limited).chain(self.files);
        texts.clone().find(|(of, _)| *of == name).map_or("", |(_, text)| text)
    }

    /// Files that a lent limit may change.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &'static str> {
        self.cpu.iter().chain(self.disk).copied()
    }

    /// What a file says, whether the kernel wrote it or a lender.
    pub(crate) fn said(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace(self.no_disk_limit, "").trim_end().to_owned()
    }
}
