//! cgroup v2: `io.max` and `io.stat`. One line for each disk, `MAJOR:MINOR KEY=VALUE...` (the kernel's cgroup-v2.rst).
//! Some kernels do not end the line of a disk that has nothing to say, so that several numbers stand before a key, and
//! some call a disk that is being removed `(unknown)`.
//!
//! Must not know of v1.

use std::{collections::BTreeMap, path::Path};

use super::{DeviceNumber, DiskCounters, Throttle};
use crate::{
    error::KernelError,
    file::{self, ControlFile},
};

/// The file of limits of one cgroup.
#[derive(Debug)]
pub(super) struct Limits {
    max: ControlFile,
}

impl Limits {
    pub(super) fn new(folder: &Path) -> Self {
        Self { max: ControlFile::of_limit(folder.join("io.max")) }
    }

    pub(super) fn throttle(&self, device: DeviceNumber) -> Result<Throttle, KernelError> {
        let text = self.max.read()?;
        parse_limits(&text, device).ok_or_else(|| file::unexpected(self.max.path(), &text, "limits of disks"))
    }

    pub(super) fn write(&self, device: DeviceNumber, asked: &Throttle) -> Result<(), KernelError> {
        self.max.write(&render(device, asked))
    }
}

/// The file of counters of one cgroup.
#[derive(Debug)]
pub(super) struct Counters {
    stat: ControlFile,
}

impl Counters {
    pub(super) fn new(folder: &Path) -> Self {
        Self { stat: ControlFile::of_counter(folder.join("io.stat")) }
    }

    pub(super) fn read(&self) -> Result<BTreeMap<DeviceNumber, DiskCounters>, KernelError> {
        let text = self.stat.read()?;
        parse_counters(&text).ok_or_else(|| file::unexpected(self.stat.path(), &text, "counters of disks"))
    }
}

fn render(device: DeviceNumber, Throttle { bytes, operations }: &Throttle) -> String {
    let word = |raw: Option<u64>| raw.map_or_else(|| "max".to_owned(), |raw| raw.to_string());
    format!(
        "{device} rbps={} wbps={} riops={} wiops={}",
        word(bytes.read),
        word(bytes.write),
        word(operations.read),
        word(operations.write)
    )
}

/// A disk without a line has no limits. The outer absence means an odd text.
fn parse_limits(text: &str, device: DeviceNumber) -> Option<Throttle> {
    let mut throttle = Throttle::default();
    for (of, key, value) in pairs(text) {
        if of != device {
            continue;
        }
        let raw = if value == "max" { None } else { Some(value.parse().ok()?) };
        match key {
            "rbps" => throttle.bytes.read = raw,
            "wbps" => throttle.bytes.write = raw,
            "riops" => throttle.operations.read = raw,
            "wiops" => throttle.operations.write = raw,
            _ => {}
        }
    }
    Some(throttle)
}

fn parse_counters(text: &str) -> Option<BTreeMap<DeviceNumber, DiskCounters>> {
    let mut disks: BTreeMap<DeviceNumber, DiskCounters> = BTreeMap::new();
    for (device, key, value) in pairs(text) {
        let disk = disks.entry(device).or_default();
        let counter = match key {
            "rbytes" => &mut disk.bytes.read,
            "wbytes" => &mut disk.bytes.write,
            "rios" => &mut disk.operations.read,
            "wios" => &mut disk.operations.write,
            // Discards, and what cost models add.
            _ => continue,
        };
        *counter = value.parse().ok()?;
    }
    Some(disks)
}

/// Every `KEY=VALUE` with the disk of its line, the last one before the first key. A line whose disk is not readable says
/// nothing of any disk that there is, and is left out.
fn pairs(text: &str) -> impl Iterator<Item = (DeviceNumber, &str, &str)> {
    let of_line = |line| {
        let device = words(line).take_while(|word| !word.contains('=')).last()?.parse().ok()?;
        Some(
            words(line).filter_map(move |word| word.split_once('=').map(|(key, value)| (device, key, value))),
        )
    };
    text.lines().filter_map(of_line).flatten()
}

fn words(line: &str) -> std::str::Split<'_, char> {
    line.split(' ')
}

#[cfg(test)]
mod tests {
    use ballast_api::ReadWrite;
    use proptest::prelude::*;

    use super::*;

    const SDA: DeviceNumber = DeviceNumber { major: 8, minor: 0 };

    #[test]
    fn reads_what_the_kernel_writes() {
        let text = "8:16 rbps=1 wbps=2 riops=3 wiops=4\n8:0 rbps=max wbps=1048576 riops=max wiops=120\n";
        let expected = Throttle {
            bytes: ReadWrite { read: None, write: Some(1_048_576) },
            operations: ReadWrite { read: None, write: Some(120) },
        };
        assert_eq!(parse_limits(text, SDA), Some(expected));
        assert_eq!(parse_limits("", SDA), Some(Throttle::default()));
        for bad in ["8:0 rbps=-1", "8:0 rbps="] {
            assert_eq!(parse_limits(bad, SDA), None, "{bad:?}");
        }
        let text = "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:0 \n";
        let expected = DiskCounters {
            bytes: ReadWrite { read: 4096, write: 8192 },
            operations: ReadWrite { read: 1, write: 2 },
        };
        assert_eq!(parse_counters(text), Some(BTreeMap::from([(SDA, expected)])));
    }

    #[test]
    fn an_odd_line_hides_no_other_disk() {
        let text = "(unknown) rbytes=1 wbytes=1 rios=1 wios=1\n\
                    7:7 7:6 7:5 8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n\
                    8:16 rbytes=512 wbytes=0 rios=1 wios=0\n7:4 7:3 \n";
        let read = |bytes| DiskCounters {
            bytes: ReadWrite { read: bytes, write: 0 },
            operations: ReadWrite { read: 1, write: 0 },
        };
        let expected = BTreeMap::from([(SDA, read(4096)), (DeviceNumber { minor: 16, ..SDA }, read(512))]);
        assert_eq!(parse_counters(text), Some(expected));
        let limited = Throttle { bytes: ReadWrite { read: Some(5), write: None }, ..Throttle::default() };
        assert_eq!(parse_limits("(unknown) rbps=1\n7:1 8:0 rbps=5 wbps=max\n", SDA), Some(limited));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(raw in proptest::array::uniform4(proptest::option::of(1u64..))) {
            let [read, write, reads, writes] = raw;
            let throttle = Throttle {
                bytes: ReadWrite { read, write },
                operations: ReadWrite { read: reads, write: writes },
            };
            prop_assert_eq!(parse_limits(&render(SDA, &throttle), SDA), Some(throttle));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[ -~\\n]{0,200}") {
            parse_limits(&text, SDA);
            parse_counters(&text);
        }
    }
}
