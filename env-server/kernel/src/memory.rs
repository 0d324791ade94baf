//! Memory of a cgroup: how much it may use, and how much of that is still free.
//!
//! Only reads. Must not know what the memory is wanted for.

mod v1;
mod v2;

use std::path::{Path, PathBuf};

use ballast_api::CgroupVersion;

use crate::{error::KernelError, file, hierarchy::Hierarchy, path::CgroupPath};

/// The memory files of one cgroup and of those above it: the smallest limit counts.
#[derive(Debug, Clone)]
pub struct MemoryControl {
    version: CgroupVersion,
    /// Its own first.
    folders: Vec<PathBuf>,
}

impl MemoryControl {
    /// Those of the cgroup at `path`; absent where no controller counts its memory.
    #[must_use]
    pub fn find(hierarchy: &Hierarchy, path: &CgroupPath) -> Option<Self> {
        let (version, own) = hierarchy.memory_folder(path)?;
        let (_, root) = hierarchy.memory_root()?;
        let counts = match version {
            CgroupVersion::V2 => v2::counts(&own),
            _ => v1::counts(&own),
        };
        let above = path.ancestors().map(|ancestor| root.join(ancestor));
        counts.then(|| Self { version, folders: [own].into_iter().chain(above).collect() })
    }

    /// The smallest limit of its own and those above, in bytes; absent where none has one.
    ///
    /// # Errors
    /// When the cgroup is gone, or a file holds what no kernel writes.
    pub fn limit_bytes(&self) -> Result<Option<u64>, KernelError> {
        let limits: Result<Vec<_>, _> = self.folders.iter().map(|folder| self.limit_of(folder)).collect();
        Ok(limits?.into_iter().flatten().min())
    }

    /// How many bytes more it can use before a limit, of its own or above, makes the kernel kill: what is used already does
    /// not count where the kernel can drop it at once (file pages that nobody used lately). Absent without a limit.
    ///
    /// # Errors
    /// As [`Self::limit_bytes`].
    pub fn room_bytes(&self) -> Result<Option<u64>, KernelError> {
        let mut least: Option<u64> = None;
        for folder in &self.folders {
            if let Some(limit) = self.limit_of(folder)? {
                let room = limit.saturating_sub(self.needed_of(folder)?);
                least = Some(least.map_or(room, |least| least.min(room)));
            }
        }
        Ok(least)
    }

    fn limit_of(&self, folder: &Path) -> Result<Option<u64>, KernelError> {
        match self.version {
            CgroupVersion::V2 => v2::limit(folder),
            _ => v1::limit(folder),
        }
    }

    fn needed_of(&self, folder: &Path) -> Result<u64, KernelError> {
        let (used, droppable) = match self.version {
            CgroupVersion::V2 => v2::used_and_droppable(folder)?,
            _ => v1::used_and_droppable(folder)?,
        };
        Ok(used.saturating_sub(droppable))
    }
}

/// The value of `key` in `memory.stat`.
fn stat(folder: &Path, key: &str) -> Result<u64, KernelError> {
    let path = folder.join("memory.stat");
    let text = file::read(&path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
    value.ok_or_else(|| file::unexpected(&path, &text, "the statistics of file pages"))
}

#[cfg(test)]
mod tests;
