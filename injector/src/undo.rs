//! What takes an injection back: noted down before it is done, carried out by whoever is left.
//!
//! Each step may be repeated, and finds nothing to do where it was done. Must not know what the injection was.

use ballast_kernel::{CgroupPath, CgroupTree, Freezer, Hierarchy};
use serde::{Deserialize, Serialize};

use crate::{error::InjectorError, process::identity::ProcessIdentity};

/// Where the kernel tells what is mounted.
pub(crate) const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "undo", deny_unknown_fields)]
pub enum Undo {
    /// Kill a process, and wait until it is gone.
    EndProcess {
        /// Which one.
        process: ProcessIdentity,
    },
    /// Let the processes of a cgroup go on.
    Thaw {
        /// Whose: below the root of the hierarchy.
        cgroup: String,
        /// The inode of its folder: a later cgroup of the same path is left alone.
        identity: u64,
    },
    /// Remove a cgroup that was made for the injection, with all that is in it.
    RemoveCgroup {
        /// Which one: below the root of every hierarchy.
        cgroup: String,
    },
}

impl Undo {
    /// Does it.
    ///
    /// # Errors
    /// When it is not done; it may be tried again.
    pub fn carry_out(&self) -> Result<(), InjectorError> {
        match self {
            Self::EndProcess { process } => process.end(),
            Self::Thaw { cgroup, identity } => thaw(&CgroupPath::new(cgroup)?, *identity),
            Self::RemoveCgroup { cgroup } => remove(&CgroupPath::new(cgroup)?),
        }
    }
}

fn hierarchy() -> Result<Hierarchy, InjectorError> {
    Ok(Hierarchy::find_any(MOUNTINFO.as_ref())?)
}

fn thaw(cgroup: &CgroupPath, identity: u64) -> Result<(), InjectorError> {
    if hierarchy()?.identity(cgroup) != Some(identity) {
        return Ok(());
    }
    match Freezer::find(MOUNTINFO.as_ref(), cgroup)?.map(|freezer| freezer.freeze(false)) {
        Some(Err(error)) if !error.is_gone() => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove(cgroup: &CgroupPath) -> Result<(), InjectorError> {
    if let Some(cgroup) = CgroupTree::new(hierarchy()?).find(cgroup.as_str())? {
        cgroup.kill_all()?;
        cgroup.remove()?;
    }
    Ok(())
}
