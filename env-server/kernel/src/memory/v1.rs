//! cgroup v1: the files of the controller `memory`.
//!
//! Must not know of v2.

use std::path::Path;

use super::stat;
use crate::{error::KernelError, file};

/// From here on a number means "no limit": the kernel writes the largest that it can count in pages, a little below 2^63.
const UNLIMITED: u64 = 1 << 62;

pub(super) fn counts(folder: &Path) -> bool {
    folder.join("memory.limit_in_bytes").is_file()
}

pub(super) fn limit(folder: &Path) -> Result<Option<u64>, KernelError> {
    let limit: u64 = file::read_number(&folder.join("memory.limit_in_bytes"))?;
    Ok(Some(limit).filter(|limit| *limit < UNLIMITED))
}

pub(super) fn used_and_droppable(folder: &Path) -> Result<(u64, u64), KernelError> {
    let used = file::read_number(&folder.join("memory.usage_in_bytes"))?;
    Ok((used, stat(folder, "total_inactive_file")?))
}
