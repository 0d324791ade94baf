//! Why no load can be made, before anything is sent.
//!
//! Must not know how it is printed.

use std::{io, path::PathBuf};

use super::trace_file::InvalidTrace;
use crate::error::ExitStatus;

/// Why there was no load. What goes wrong with single requests is counted, not told here. Messages leave out the cause.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not a URL, or not one of HTTP.
    #[error("{url:?} cannot be requested: {problem}")]
    Url {
        /// As asked.
        url: String,
        /// A sentence.
        problem: String,
    },
    /// A header that would make a broken request, or one that is set already.
    #[error("the header {header:?} cannot be sent: {problem}")]
    Header {
        /// As asked.
        header: String,
        /// A sentence.
        problem: &'static str,
    },
    /// No address.
    #[error("the host {host:?} has no address: is its name right, and known to this machine?")]
    Unresolved {
        /// As asked.
        host: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// A trace that cannot be read.
    #[error("cannot read the trace {}", path.display())]
    TraceFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A trace that is none.
    #[error("{} is no trace", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: InvalidTrace,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// More connections than the process may open.
    #[error(
        "{connections} connections need {needed} open files, this process may open {allowed}: ask for fewer, or raise `ulimit -n`"
    )]
    TooManyConnections {
        /// As asked.
        connections: usize,
        /// With those that the program needs itself.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// The kernel refused.
    #[error("cannot {operation}")]
    System {
        /// As a verb.
        operation: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LoadError {
    /// The exit code that tells this error from others.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Unresolved { .. } => ExitStatus::NoSuchTarget,
            Self::TraceFile { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ExitStatus::NotPermitted
            }
            Self::Url { .. }
            | Self::Header { .. }
            | Self::TraceFile { .. }
            | Self::Trace { .. }
            | Self::Contradiction(_)
            | Self::TooManyConnections { .. } => ExitStatus::Usage,
            Self::System { .. } => ExitStatus::Failed,
        }
    }
}
