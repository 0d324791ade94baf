//! Memory of the node and of this process, from `/proc`; and whether a load's memory fits where it is to be.
//!
//! Must not know what the memory is for.

use std::{fs, io, path::Path};

use ballast_kernel::MemoryControl;

use super::Situation;
use crate::{error::InjectorError, unit::Unit};

const MEMINFO: &str = "/proc/meminfo";
const STATUS: &str = "/proc/self/status";

/// What a worker needs beside its load: program, stacks, and page tables of a small load.
const WORKER_BYTES: u64 = 8 << 20;

/// Page tables take 8 bytes for each page of 4 KiB; this is twice that.
const PAGE_TABLE_SHARE: u64 = 256;

/// The node's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeMemory {
    pub(super) total: u64,
    /// What programs can get without swapping, as the kernel estimates it.
    pub(super) available: u64,
}

impl NodeMemory {
    pub(super) fn now() -> Result<Self, InjectorError> {
        let text = read(MEMINFO)?;
        let value = |key| field(&text, key).ok_or_else(|| odd(MEMINFO));
        Ok(Self { total: value("MemTotal:")?, available: value("MemAvailable:")? })
    }
}

/// Bytes that this process made itself and that are in memory now. Not its program's: the kernel maps that in by and by as
/// it runs, more than a MiB of it after a load has begun.
pub(super) fn resident() -> Result<u64, InjectorError> {
    field(&read(STATUS)?, "RssAnon:").ok_or_else(|| odd(STATUS))
}

/// Refuses a load of so many bytes inside of a target whose limit leaves no room for it and for its worker: the kernel would
/// kill one of the target's processes.
pub(super) fn must_fit(
    situation: &Situation<'_>,
    what: &'static str,
    bytes: u64,
) -> Result<(), InjectorError> {
    let Some(control) = inside(situation) else { return Ok(()) };
    let needed = with_worker(bytes);
    match control.room_bytes()? {
        Some(room) if needed > room => {
            let shown = |bytes| Unit::Bytes.show(as_f64(bytes));
            let reason = format!(
                "it takes {}, and the target's memory limit leaves {}: the kernel would kill",
                shown(needed),
                shown(room)
            );
            Err(InjectorError::Impossible { what, reason })
        }
        _ => Ok(()),
    }
}

/// The memory of the target, where the load counts as its.
pub(super) fn inside(situation: &Situation<'_>) -> Option<MemoryControl> {
    let target = situation.target.filter(|_| situation.is_inside)?;
    MemoryControl::find(situation.hierarchy, target.path())
}

fn with_worker(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / PAGE_TABLE_SHARE).saturating_add(WORKER_BYTES)
}

/// For doses, which are numbers of any unit.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53: nine petabytes")]
pub(super) fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

fn read(path: &'static str) -> Result<String, InjectorError> {
    fs::read_to_string(path).map_err(|source| failed(path, source))
}

fn odd(path: &'static str) -> InjectorError {
    failed(path, io::Error::new(io::ErrorKind::InvalidData, "not as in proc(5)"))
}

fn failed(path: &'static str, source: io::Error) -> InjectorError {
    InjectorError::File { operation: "read", path: Path::new(path).to_owned(), source }
}

/// The bytes in a line such as `MemTotal:       24683656 kB`.
fn field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let text = "MemTotal:       24683656 kB\nMemFree:         9762676 kB\nMemAvailable:   23390228 kB\n";
        assert_eq!(field(text, "MemTotal:"), Some(24_683_656 * 1024));
        assert_eq!(field(text, "MemAvailable:"), Some(23_390_228 * 1024));
        for (text, key) in
            [("", "MemTotal:"), ("MemTotal: x kB\n", "MemTotal:"), ("MemTotal: 1\n", "MemTotal:")]
        {
            assert_eq!(field(text, key), None, "{text}");
        }
        assert_eq!(field("RssAnon:\t     3180 kB\nRssFile:\t  9 kB\n", "RssAnon:"), Some(3180 * 1024));
    }

    #[test]
    fn this_process_and_this_node_have_memory() {
        let NodeMemory { total, available } = NodeMemory::now().unwrap();
        assert!(total >= available && available > 0);
        assert!((1..total).contains(&resident().unwrap()));
    }

    #[test]
    fn page_tables_are_part_of_the_need() {
        assert_eq!(with_worker(1 << 30), (1 << 30) + (4 << 20) + WORKER_BYTES);
        assert_eq!(with_worker(u64::MAX), u64::MAX);
    }
}
