//! cgroup v1: `blkio.throttle.*`. One file for each limit, one line for each disk.
//!
//! Must not know of v2. The rules are those of the kernel's blkio-controller.rst: a line is `MAJOR:MINOR RATE`, rate 0
//! removes it, and a cgroup's limits do not hold for its children's processes unless `cgroup.sane_behavior` is set.

use std::{collections::BTreeMap, path::Path};

use ballast_api::ReadWrite;

use super::{DeviceNumber, DiskCounters, Throttle};
use crate::{
    error::KernelError,
    file::{self, ControlFile},
};

/// The files of limits of one cgroup.
#[derive(Debug)]
pub(super) struct Limits {
    bytes: ReadWrite<ControlFile>,
    operations: ReadWrite<ControlFile>,
}

impl Limits {
    pub(super) fn new(folder: &Path) -> Self {
        let file = |name| ControlFile::of_limit(folder.join(name));
        Self {
            bytes: ReadWrite {
                read: file("blkio.throttle.read_bps_device"),
                write: file("blkio.throttle.write_bps_device"),
            },
            operations: ReadWrite {
                read: file("blkio.throttle.read_iops_device"),
                write: file("blkio.throttle.write_iops_device"),
            },
        }
    }

    pub(super) fn throttle(&self, device: DeviceNumber) -> Result<Throttle, KernelError> {
        let limit = |file: &ControlFile| {
            let text = file.read()?;
            limit_of(&text, device)
                .ok_or_else(|| file::unexpected(file.path(), &text, "lines of a disk and a rate"))
        };
        let both = |files: &ReadWrite<ControlFile>| {
            Ok::<_, KernelError>(ReadWrite { read: limit(&files.read)?, write: limit(&files.write)? })
        };
        Ok(Throttle { bytes: both(&self.bytes)?, operations: both(&self.operations)? })
    }

    pub(super) fn write(
        &self,
        device: DeviceNumber,
        before: &Throttle,
        asked: &Throttle,
    ) -> Result<(), KernelError> {
        for (file, before, asked) in [
            (&self.bytes.read, before.bytes.read, asked.bytes.read),
            (&self.bytes.write, before.bytes.write, asked.bytes.write),
            (&self.operations.read, before.operations.read, asked.operations.read),
            (&self.operations.write, before.operations.write, asked.operations.write),
        ] {
            if before != asked {
                file.write(&format!("{device} {}", asked.unwrap_or(0)))?;
            }
        }
        Ok(())
    }
}

/// The files of counters of one cgroup.
#[derive(Debug)]
pub(super) struct Counters {
    bytes: ControlFile,
    operations: ControlFile,
}

impl Counters {
    pub(super) fn new(folder: &Path) -> Self {
        let file = |name| ControlFile::of_counter(folder.join(name));
        Self {
            bytes: file("blkio.throttle.io_service_bytes_recursive"),
            operations: file("blkio.throttle.io_serviced_recursive"),
        }
    }

    pub(super) fn read(&self) -> Result<BTreeMap<DeviceNumber, DiskCounters>, KernelError> {
        let mut counters: BTreeMap<_, DiskCounters> = BTreeMap::new();
        for (device, bytes) in counts(&self.bytes)? {
            counters.entry(device).or_default().bytes = bytes;
        }
        for (device, operations) in counts(&self.operations)? {
            counters.entry(device).or_default().operations = operations;
        }
        Ok(counters)
    }
}

/// Removing a limit that is not there makes the kernel set its throttling up for the disk, which does the counting.
/// A limit that is there means that this has happened already.
pub(super) fn start_counting(root: &Path, device: DeviceNumber) -> Result<(), KernelError> {
    let limits = Limits::new(root);
    if limits.throttle(device)? == Throttle::default() {
        limits.bytes.read.write(&format!("{device} 0"))?;
    }
    Ok(())
}

/// The outer absence means an odd text.
fn limit_of(text: &str, device: DeviceNumber) -> Option<Option<u64>> {
    let of_device = lines(text).find(|(of, _)| *of == device);
    let rate: Option<u64> = of_device.map(|(_, rate)| rate.trim().parse()).transpose().ok()?;
    // The kernel writes no line for no limit; a plain file of a test keeps the 0 that was written.
    Some(rate.filter(|rate| *rate > 0))
}

fn counts(file: &ControlFile) -> Result<BTreeMap<DeviceNumber, ReadWrite<u64>>, KernelError> {
    let text = file.read()?;
    parse_counts(&text)
        .ok_or_else(|| file::unexpected(file.path(), &text, "lines of a disk, an operation and a count"))
}

/// Lines `MAJOR:MINOR OPERATION COUNT`, and a last one `Total COUNT`.
fn parse_counts(text: &str) -> Option<BTreeMap<DeviceNumber, ReadWrite<u64>>> {
    let mut counts: BTreeMap<DeviceNumber, ReadWrite<u64>> = BTreeMap::new();
    for (device, rest) in lines(text) {
        let (operation, count) = rest.split_once(' ')?;
        let count = count.trim().parse().ok()?;
        let counts = counts.entry(device).or_default();
        match operation {
            "Read" => counts.read = count,
            "Write" => counts.write = count,
            // Sync, Async, Discard, Total: the same requests, counted in another way.
            _ => {}
        }
    }
    Some(counts)
}

/// Each disk with the rest of its line. A line whose disk is not readable (`(unknown)` while it is being removed, the last
/// one of counters) says nothing of any disk that there is, and is left out.
fn lines(text: &str) -> impl Iterator<Item = (DeviceNumber, &str)> {
    text.lines().filter_map(|line| {
        let (device, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some((device.parse().ok()?, rest))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VDA: DeviceNumber = DeviceNumber { major: 254, minor: 0 };

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(limit_of("", VDA), Some(None));
        assert_eq!(limit_of("8:0 5\n254:0 1048576\n", VDA), Some(Some(1_048_576)));
        assert_eq!(limit_of("(unknown) 7\n254:0 5\n", VDA), Some(Some(5)));
        for bad in ["254:0", "254:0 -1", "254:0 x"] {
            assert_eq!(limit_of(bad, VDA), None, "{bad:?}");
        }
        let text = "254:0 Read 4096\n254:0 Write 1048576\n254:0 Sync 2097152\n254:0 Async 0\n254:0 Discard 1048576\n\
                    254:0 Total 2097152\nTotal 2097152\n";
        let expected = BTreeMap::from([(VDA, ReadWrite { read: 4096, write: 1_048_576 })]);
        assert_eq!(parse_counts(text), Some(expected.clone()));
        assert_eq!(parse_counts(&format!("(unknown) Read 1\n(unknown) Total 1\n{text}")), Some(expected));
        assert_eq!(parse_counts("Total 0\n"), Some(BTreeMap::new()));
        assert_eq!(parse_counts("254:0 Read\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[ -~\\n]{0,200}") {
            limit_of(&text, VDA);
            parse_counts(&text);
        }
    }
}
