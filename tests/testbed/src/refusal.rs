//! What the testbed refuses, each with its own exit code and a sentence that says what to do.

use std::process::ExitCode;

/// A reason not to begin. Nothing was changed, or it was undone.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What was asked makes no sense.
    #[error("{0}")]
    BadInput(String),
    /// A program that is not ours is not installed.
    #[error("{program} is missing: install the Debian package {package} (apt-get install {package})")]
    MissingProgram {
        /// The program's name or path.
        program: String,
        /// The package that has it.
        package: &'static str,
    },
    /// Control groups cannot be made here.
    #[error(
        "control groups cannot be made ({detail}): run as root where the cgroup hierarchies are writable"
    )]
    NoCgroups {
        /// What the kernel answered.
        detail: String,
    },
    /// Another testbed is there, or its remains.
    #[error(
        "{what} exists already: if it is a testbed's that was killed, `ballast-testbed sweep --cgroup-parent {parent}` \
         kills and removes it; else give another --cgroup-parent"
    )]
    InUse {
        /// The cgroup or folder found.
        what: String,
        /// The parent cgroup asked for.
        parent: String,
    },
    /// A cgroup that no testbed made is not to be killed.
    #[error(
        "nothing was touched: cgroup {cgroup} is there, but {folder} does not say that a testbed made it"
    )]
    NotATestbeds {
        /// The cgroup found.
        cgroup: String,
        /// The folder that a testbed of that name would have.
        folder: String,
    },
    /// Another program listens there.
    #[error("{address} is in use by another program: give --listen a free port, or port 0")]
    PortInUse {
        /// The address asked for.
        address: std::net::SocketAddr,
    },
}

impl Refusal {
    /// 2 bad usage, 3 a program is missing, 4 no cgroups, 5 in use; 1 is for what began and failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::BadInput(_) | Self::NotATestbeds { .. } => 2,
            Self::MissingProgram { .. } => 3,
            Self::NoCgroups { .. } => 4,
            Self::InUse { .. } | Self::PortInUse { .. } => 5,
        }
    }
}

/// The exit code for an error from anywhere in the program.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.downcast_ref::<Refusal>().map_or(1, Refusal::exit_code))
}
