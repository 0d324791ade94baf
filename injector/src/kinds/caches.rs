//! The last-level cache of a processor: how large it is, how long its lines are, and who shares it.
//!
//! From the kernel's description in sysfs. Must not know what is done with it.

use std::{fs, path::Path};

/// Where the kernel describes the processors.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// What every processor of today has, where the kernel does not tell.
const USUAL_LINE_BYTES: u64 = 64;

/// A cache of the highest level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastLevel {
    pub(super) bytes: u64,
    pub(super) line_bytes: u64,
    /// The processors that share it, ascending; never empty.
    pub(super) processors: Vec<usize>,
}

/// What the kernel says of one cache.
struct Described {
    level: u32,
    kind: String,
    cache: LastLevel,
}

impl LastLevel {
    /// That of one processor; absent where the kernel does not tell, as on some virtual machines.
    pub(super) fn of(processor: usize) -> Option<Self> {
        Self::described_in(&Path::new(PROCESSORS).join(format!("cpu{processor}/cache")))
    }

    /// The one of the highest level that holds data, among the caches described in `folder`.
    fn described_in(folder: &Path) -> Option<Self> {
        let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let caches =
            entries.filter_map(|entry| describe(|file| fs::read_to_string(entry.path().join(file)).ok()));
        let last = caches.filter(|cache| cache.kind != "Instruction").max_by_key(|cache| cache.level)?;
        Some(last.cache)
    }
}

/// From the files of one cache, as `read` gives them by their names.
fn describe(read: impl Fn(&str) -> Option<String>) -> Option<Described> {
    let text = |file: &str| Some(read(file)?.trim().to_owned());
    let line_bytes = text("coherency_line_size").and_then(|text| text.parse().ok());
    Some(Described {
        level: text("level")?.parse().ok()?,
        kind: text("type")?,
        cache: LastLevel {
            bytes: parse_size(&text("size")?).filter(|bytes| *bytes > 0)?,
            line_bytes: line_bytes.filter(|bytes| (8..=4096).contains(bytes)).unwrap_or(USUAL_LINE_BYTES),
            processors: parse_list(&text("shared_cpu_list")?).filter(|processors| !processors.is_empty())?,
        },
    })
}

/// Bytes, from what the kernel writes: `32768K`; a plain number and `32M` are understood too.
fn parse_size(text: &str) -> Option<u64> {
    let units = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("", 1)];
    units.iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*factor))
}

/// A list such as `0-3,5`. No machine has as many processors as [`nix::sched::CpuSet`] has room for, and a range beyond
/// that is no list: so its length is bounded.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut processors = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= nix::sched::CpuSet::count() {
            return None;
        }
        processors.extend(first..=last);
    }
    processors.sort_unstable();
    processors.dedup();
    Some(processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_the_kernel_writes_them() {
        for (text, bytes) in [("32768K", 33_554_432), ("1M", 1_048_576), ("512", 512)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "K", "-1K", "1.5M", "99999999999999999999G", "18446744073709551615K"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn lists_are_ranges_and_single_processors() {
        for (text, processors) in [("0", vec![0]), ("0-1", vec![0, 1]), ("8,0-2,2", vec![0, 1, 2, 8])] {
            assert_eq!(parse_list(text), Some(processors), "{text}");
        }
        for bad in ["", "a", "3-1", "0-", "0,,1", "0-18446744073709551615"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_highest_level_that_holds_data_counts() {
        let folder = tempfile::tempdir().unwrap();
        let cache = |index: &str, files: [&str; 4]| {
            let at = folder.path().join(index);
            fs::create_dir(&at).unwrap();
            for (name, text) in ["level", "type", "size", "shared_cpu_list"].into_iter().zip(files) {
                fs::write(at.join(name), format!("{text}\n")).unwrap();
            }
        };
        assert_eq!(LastLevel::described_in(folder.path()), None);
        cache("index0", ["1", "Data", "32K", "4"]);
        cache("index1", ["4", "Instruction", "64M", "4"]);
        cache("index3", ["3", "Unified", "32768K", "4-5"]);
        cache("index2", ["2", "Unified", "512K", "4"]);
        fs::write(folder.path().join("uevent"), "").unwrap();
        let expected = LastLevel { bytes: 33_554_432, line_bytes: 64, processors: vec![4, 5] };
        assert_eq!(LastLevel::described_in(folder.path()), Some(expected.clone()));
        fs::write(folder.path().join("index3/coherency_line_size"), "128\n").unwrap();
        assert_eq!(LastLevel::described_in(folder.path()), Some(LastLevel { line_bytes: 128, ..expected }));
    }
}
