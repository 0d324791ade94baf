//! Why a kernel interface did not do what was asked: operation, path, value, cause.
//!
//! Must not know who asked.

use std::{io, path::PathBuf};

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
    /// Less than the kernel can hold somebody to.
    #[error("{asked} is too little for {}: the smallest limit is {smallest}", path.display())]
    LimitTooSmall {
        /// The cgroup's folder.
        path: PathBuf,
        /// The limit asked for, with its unit.
        asked: String,
        /// The smallest one, with its unit.
        smallest: String,
    },
    /// More than the kernel can write down.
    #[error("{asked} is too much for {}: the largest limit is {largest}; leave it unlimited instead", path.display())]
    LimitTooLarge {
        /// The cgroup's folder.
        path: PathBuf,
        /// The limit asked for, with its unit.
        asked: String,
        /// The largest one, with its unit.
        largest: String,
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
        let Self::Io { source, .. } = self else { return false };
        source.kind() == io::ErrorKind::NotFound
            || source.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
    }
}
