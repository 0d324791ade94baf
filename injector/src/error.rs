//! What can go wrong, and the exit code of each way to end.
//!
//! Must not know how it is printed.

use std::{io, path::PathBuf};

use ballast_kernel::KernelError;

use crate::{intensity::InvalidIntensity, report::Ending};

/// Why there was no injection, or why it did not end well. Messages leave out the cause: walk
/// [`std::error::Error::source`] for it.
#[derive(Debug, thiserror::Error)]
pub enum InjectorError {
    /// The target is no cgroup of this machine.
    #[error("there is no cgroup {target:?}: nothing at {}; give its path below that of the hierarchy, such as docker/3f2a9c", folder.display())]
    NoSuchTarget {
        /// As asked.
        target: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// On cgroup v2, a group that hands controllers down.
    #[error(
        "the cgroup {target:?} hands controllers to its children, so on cgroup v2 it can hold no process: choose one of them"
    )]
    InnerNode {
        /// As asked.
        target: String,
    },
    /// More (or less) than can be injected.
    #[error(transparent)]
    Intensity(#[from] InvalidIntensity),
    /// Fewer threads than cores asked for.
    #[error("{threads} threads cannot use {cores:.3} cores: give at least {needed}")]
    TooFewThreads {
        /// As asked.
        threads: usize,
        /// The dose.
        cores: f64,
        /// One for each core.
        needed: usize,
    },
    /// This machine, or this target, cannot have it.
    #[error("cannot {what}: {reason}")]
    Impossible {
        /// As a verb with its object: `pause the target`.
        what: &'static str,
        /// Why not, and what it would take.
        reason: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file or folder.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// As a verb: `create`, `read`, `lock`.
        operation: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The journal holds what this program does not write.
    #[error("{} is no journal entry ({reason}); look at it and remove it", path.display())]
    StrangeEntry {
        /// The file.
        path: PathBuf,
        /// What is odd.
        reason: String,
    },
    /// A process of the injection could not be started or spoken to.
    #[error("cannot {operation}")]
    Process {
        /// As a verb.
        operation: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The worker ended by itself, before its time.
    #[error("the worker failed ({status}); its own message is above")]
    WorkerFailed {
        /// How it ended.
        status: String,
    },
    /// The worker did not start its load in time.
    #[error(
        "the worker did not start within {seconds} s: does the target get any CPU time, or is there more to fill than that time allows?"
    )]
    StartTimeout {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A workload that cannot be made.
    #[error(transparent)]
    Load(#[from] crate::load::error::LoadError),
    /// The injection ended before the first burn.
    #[error("ended before the load began: {0}")]
    BeforeStart(Ending),
    /// A guard tripped before the first burn.
    #[error("ended before the load began: a guard stopped it ({reason})")]
    Guarded {
        /// What it saw.
        reason: String,
    },
    /// Something is still there that should not be.
    #[error("not everything could be removed; run `ballast-injector restore` (the journal is kept)")]
    LeftBehind(#[source] Box<InjectorError>),
}

/// How the program ends, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// As asked.
    Done = 0,
    /// Something failed that no other code names.
    Failed = 1,
    /// The command line makes no sense, or asks for more than can be given.
    Usage = 2,
    /// There is no such target.
    NoSuchTarget = 3,
    /// Not root, or a read-only file system.
    NotPermitted = 4,
    /// The target's processes ended, or the target was removed, in the midst.
    TargetGone = 5,
    /// The worker was killed from outside, in the midst.
    WorkerKilled = 6,
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted = 7,
    /// Something could not be removed.
    LeftBehind = 8,
    /// This machine, or this target, cannot have it.
    Impossible = 9,
    /// A guard stopped it in the midst.
    Guarded = 10,
}

impl ExitStatus {
    /// The number that a shell shows.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Ending> for ExitStatus {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Completed | Ending::StdinClosed => Self::Done,
            Ending::Interrupted => Self::Interrupted,
            Ending::TargetGone => Self::TargetGone,
            Ending::WorkerKilled => Self::WorkerKilled,
            Ending::Guarded => Self::Guarded,
            Ending::Failed => Self::Failed,
        }
    }
}

impl InjectorError {
    /// The exit code that tells this error from others.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::NoSuchTarget { .. } => ExitStatus::NoSuchTarget,
            Self::Intensity(_)
            | Self::InnerNode { .. }
            | Self::TooFewThreads { .. }
            | Self::Kernel(KernelError::InvalidPath { .. } | KernelError::RateTooSmall { .. }) => {
                ExitStatus::Usage
            }
            Self::BeforeStart(ending) => (*ending).into(),
            Self::Guarded { .. } => ExitStatus::Guarded,
            Self::Load(error) => error.exit_status(),
            Self::LeftBehind(_) => ExitStatus::LeftBehind,
            Self::Impossible { .. } | Self::Kernel(KernelError::NotOurs { .. }) => ExitStatus::Impossible,
            Self::File { source, .. } | Self::Kernel(KernelError::Io { source, .. })
                if not_permitted(source) =>
            {
                ExitStatus::NotPermitted
            }
            Self::Kernel(KernelError::NoHierarchy { .. }) => ExitStatus::NotPermitted,
            _ => ExitStatus::Failed,
        }
    }
}

fn not_permitted(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
