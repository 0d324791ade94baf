//! Why the program ends, as a sentence and an exit code.
//!
//! Must not know how to go on: a failure of this kind ends the process.

use std::{io, net::SocketAddr};

use ballast_kernel::KernelError;

use crate::{journal::JournalError, privileges::PrivilegesError, state_dir::StateDirError};

/// An end that a user can do something about. Every kind has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Some limits are not back at their baselines.
    #[error("{} (the journal keeps them: run `ballast-env-server restore`)", .0.join("; "))]
    NotRestored(Vec<String>),
    /// Serving ended by itself.
    #[error("serving HTTP failed")]
    Serving(#[source] io::Error),
    /// Flags or configuration make no sense; every problem is named.
    #[error("{}", .0.join("\n"))]
    Usage(Vec<String>),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: is another program using this port? Give --listen another one, or port 0 for any"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The machine's cgroups are not to be found.
    #[error("this machine's containers cannot be controlled")]
    NoCgroups(#[source] KernelError),
    /// The machine's cgroups are not ours to write.
    #[error(
        "the cgroups in {folder} cannot be written: run as root, or have the folder delegated to this user"
    )]
    NotPermitted {
        /// The folder.
        folder: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error("limits could not be kept safe")]
    StateDir(#[source] StateDirError),
    /// More could be done by this process than it needs.
    #[error("this process would keep rights that it does not need")]
    Privileges(#[source] PrivilegesError),
    /// The journal cannot be used.
    #[error("no limit was changed")]
    Journal(#[source] JournalError),
}

impl Failure {
    /// The exit code, as listed in `--help`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotRestored(_) | Self::Serving(_) => 1,
            Self::Usage(_) => 2,
            Self::Listen { .. } => 3,
            Self::NoCgroups(_) | Self::NotPermitted { .. } => 4,
            Self::StateDir(_) => 5,
            Self::Journal(_) => 6,
            Self::Privileges(_) => 7,
        }
    }
}
