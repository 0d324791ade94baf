//! Why a kernel interface did not do what was asked: operation, path, value, cause.
//!
//! Must not know who asked.

use std::{io, path::PathBuf};

use ballast_api::{BitsPerSecond, Resource};

use crate::network::NoInterface;

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
    /// A quota above an ancestor's: cgroup v1 refuses it, and on v2 the ancestor's would be in force.
    #[error("{asked} is more than {} leaves to what is in it ({allowed}); write \"max\" for no limit beside that", ancestor.display())]
    AboveAncestor {
        /// The limit asked for, with its unit.
        asked: String,
        /// The ancestor's folder.
        ancestor: PathBuf,
        /// What it allows, with its unit.
        allowed: String,
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
    /// Two at once would remove each other's groups.
    #[error("another env-server controls {}", path.display())]
    ResctrlInUse {
        /// The mount's folder `info`, which is locked.
        path: PathBuf,
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
    /// The kernel refused a netlink request.
    #[error("cannot {operation} {object}{}{}", value.as_ref().map(|value| format!(" (value {value:?})")).unwrap_or_default(), said.as_ref().map(|said| format!(" (the kernel says: {said})")).unwrap_or_default())]
    Netlink {
        /// As a verb: `add an HTB qdisc to`, `remove`.
        operation: &'static str,
        /// The interface concerned.
        object: String,
        /// What was to be set.
        value: Option<String>,
        /// The kernel's own words, where it has any.
        said: Option<String>,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Netlink answered what no kernel says.
    #[error("cannot {operation} {object}: the kernel's answer is odd: {detail}")]
    OddAnswer {
        /// As a verb.
        operation: &'static str,
        /// The interface concerned.
        object: String,
        /// What is odd about it.
        detail: String,
    },
    /// A process whose network cannot be controlled.
    #[error("the network of process {pid} cannot be controlled: {reason}")]
    NoInterface {
        /// Of the container.
        pid: u32,
        /// Why not.
        reason: NoInterface,
    },
    /// A lower network rate than makes sense.
    #[error(
        "{asked:.0} is too little for {object}: the smallest limit is {smallest:.0}, at which one full-size frame takes an eighth of a second"
    )]
    RateTooSmall {
        /// The interface concerned.
        object: String,
        /// The limit asked for.
        asked: BitsPerSecond,
        /// The smallest.
        smallest: BitsPerSecond,
    },
    /// Something of somebody else is where a limit would go.
    #[error(
        "{direction} of {object} cannot be limited: {found} is there already, which is not Ballast's and stays untouched"
    )]
    NotOurs {
        /// `egress` or `ingress`, seen from the container.
        direction: &'static str,
        /// The interface concerned.
        object: String,
        /// What is there.
        found: String,
    },
}

impl KernelError {
    /// Whether the cgroup, the process or the network interface is not there (any more). The kernel says ENODEV to who
    /// has a file of a removed cgroup open, and to who names a removed interface.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let no_device = |source: &io::Error| source.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32);
        match self {
            Self::Io { source, .. } | Self::ResctrlRefused { source, .. } => {
                source.kind() == io::ErrorKind::NotFound || no_device(source)
            }
            Self::Netlink { source, .. } => no_device(source),
            Self::NoInterface { reason, .. } => *reason == NoInterface::NoSuchProcess,
            _ => false,
        }
    }
}
