//! Why a kernel interface did not do what was asked: operation, path, value, cause.
//!
//! Must not know who asked.

use std::{io, path::PathBuf};

use ballast_api::{Cores, Resource};

/// Everything that can go wrong between Ballast and the kernel's files. Messages leave out the cause: walk
/// [`std::error::Error::source`] for it.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel (or the file system) refused a call.
    #[error("cannot {operation} {}{}", path.display(), value.as_ref().map(|value| format!(" (value {value:?})")).unwrap_or_default())]
    Io {
        /// As a verb: `read`, `write to`, `create`, `remove`.
        operation: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// What was to be written.
        value: Option<String>,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A file holds what no kernel writes.
    #[error("{} holds {text:?}, which is not {expected}", path.display())]
    Unexpected {
        /// The file read.
        path: PathBuf,
        /// Its content, shortened.
        text: String,
        /// What was expected, as a noun.
        expected: &'static str,
    },
    /// No mounted hierarchy has the controllers needed.
    #[error("no usable cgroup hierarchy is listed in {}: {reason}", mountinfo.display())]
    NoHierarchy {
        /// Where mounts were looked up.
        mountinfo: PathBuf,
        /// What is missing, as a sentence.
        reason: String,
    },
    /// A text that cannot be the path of a cgroup.
    #[error("{text:?} is not a cgroup path: {reason}")]
    InvalidPath {
        /// The text, shortened.
        text: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// Less CPU than the kernel can grant.
    #[error("{asked} is too little for {}: the smallest limit is {smallest:.4}", path.display())]
    LimitTooSmall {
        /// The cgroup's folder.
        path: PathBuf,
        /// The limit asked for.
        asked: Cores,
        /// The smallest quota (1000 us) at the period in force.
        smallest: Cores,
    },
    /// cgroup v1 holds every quota between those of the children and that of the parent.
    #[error("the kernel refused {value:?} in {}: a cgroup's quota must not exceed its parent's, nor be less than a child's", path.display())]
    QuotaConflict {
        /// The file written.
        path: PathBuf,
        /// The value refused.
        value: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// resctrl is not mounted.
    #[error("no usable resctrl is listed in {}: {reason}", mountinfo.display())]
    NoResctrl {
        /// Where mounts were looked up.
        mountinfo: PathBuf,
        /// What is missing, as a sentence.
        reason: String,
    },
    /// A text that cannot be the name of a resctrl group.
    #[error("{text:?} is not the name of a resctrl group: {reason}")]
    InvalidGroup {
        /// The text, shortened.
        text: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// resctrl refused a command and said why.
    #[error("cannot {operation} {}{}: {status}", path.display(), value.as_ref().map(|value| format!(" (value {value:?})")).unwrap_or_default())]
    ResctrlRefused {
        /// As a verb: `write to`, `create`.
        operation: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// What was to be written.
        value: Option<String>,
        /// What `info/last_cmd_status` said.
        status: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The hardware has no class of service (CLOSID), or no monitoring id (RMID), left for one more resctrl group.
    #[error("no resctrl group can be made at {}: {status}", path.display())]
    OutOfClosids {
        /// The group that was to be made.
        path: PathBuf,
        /// What `info/last_cmd_status` said.
        status: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Tasks belong to a resctrl group that Ballast did not make.
    #[error("{container} is left alone: its tasks {tasks:?} are in {}, a resctrl group of somebody else", group.display())]
    ForeignGroup {
        /// Whose tasks they are.
        container: String,
        /// The group's folder.
        group: PathBuf,
        /// Some of the tasks.
        tasks: Vec<u32>,
    },
    /// Tasks were made faster than they could be moved into a resctrl group.
    #[error("tasks are still outside {} after {attempts} rounds of moving them, such as {tasks:?}", path.display())]
    TasksOutside {
        /// The group's folder.
        path: PathBuf,
        /// How many rounds there were.
        attempts: u32,
        /// Some of the tasks.
        tasks: Vec<u32>,
    },
    /// A limit that this machine cannot have.
    #[error("{resource} cannot be limited: {reason}")]
    LimitUnavailable {
        /// What was to be limited.
        resource: Resource,
        /// Why not, as a sentence.
        reason: String,
    },
    /// Processes outlived every attempt to kill them, or a folder stayed busy.
    #[error("{} is still in use after {attempts} attempts; processes in it: {pids:?}", path.display())]
    StillBusy {
        /// The cgroup's folder.
        path: PathBuf,
        /// How often it was tried.
        attempts: u32,
        /// Who is still there.
        pids: Vec<u32>,
    },
}

impl KernelError {
    /// Whether the cgroup is not there (any more). The kernel says ENODEV to who has a file of a removed cgroup open.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let (Self::Io { source, .. } | Self::ResctrlRefused { source, .. }) = self else { return false };
        source.kind() == io::ErrorKind::NotFound
            || source.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
    }
}
