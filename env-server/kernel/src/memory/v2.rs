//! cgroup v2: `memory.max`, `memory.current` and `memory.stat`.
//!
//! Must not know of v1.

use std::path::Path;

use super::stat;
use crate::{error::KernelError, file};

pub(super) fn counts(folder: &Path) -> bool {
    folder.join("memory.current").is_file()
}

pub(super) fn limit(folder: &Path) -> Result<Option<u64>, KernelError> {
    let path = folder.join("memory.max");
    let text = match file::read_record(&path) {
        // The root has no limit, and no file for one.
        Err(error) if error.is_gone() && folder.is_dir() => return Ok(None),
        other => other?,
    };
    match text.trim() {
        "max" => Ok(None),
        number => number.parse().map(Some).map_err(|_| file::unexpected(&path, &text, "bytes, or max")),
    }
}

pub(super) fn used_and_droppable(folder: &Path) -> Result<(u64, u64), KernelError> {
    let used = file::read_number(&folder.join("memory.current"))?;
    Ok((used, stat(folder, "inactive_file")?))
}
