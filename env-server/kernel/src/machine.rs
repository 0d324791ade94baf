//! What the machine has: its online processors.
//!
//! Must not know what this process may use of them: an affinity mask or a quota of our own is not the node's capacity.

use std::path::Path;

use crate::{error::KernelError, file};

/// How many processors are online, from a list such as `0-3,5` (normally `/sys/devices/system/cpu/online`).
///
/// # Errors
/// When the file cannot be read or holds no such list.
pub fn online_cpus(list: &Path) -> Result<u32, KernelError> {
    let text = file::read(list)?;
    parse_cpu_list(text.trim()).ok_or_else(|| file::unexpected(list, &text, "a list of processors"))
}

fn parse_cpu_list(text: &str) -> Option<u32> {
    text.split(',').try_fold(0, |count: u32, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_ranges_and_single_processors() {
        for (text, count) in [("0", 1), ("0-1", 2), ("0-3,5,8-9", 7)] {
            assert_eq!(parse_cpu_list(text), Some(count), "{text}");
        }
        for bad in ["", "a", "3-1", "0-", "0,,1", "0-4294967295"] {
            assert_eq!(parse_cpu_list(bad), None, "{bad}");
        }
    }
}
