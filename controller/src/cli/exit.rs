//! Exit codes that mean something, and failures that carry one.

use std::{fmt, process::ExitCode};

use ballast_api::NodeError;

/// How the program ends. The codes are listed in `ballast --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It ran, but did not reach what it was for.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A configuration, a name or a value is wrong.
    BadInput = 3,
    /// A node does not answer.
    NodeUnreachable = 4,
    /// The store does not answer.
    StoreUnreachable = 5,
    /// A port is in use.
    PortInUse = 6,
    /// Needs more rights than this user has.
    NotAllowed = 7,
    /// A program or a part that is needed is missing.
    Missing = 8,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: a sentence for people and a code for programs.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    sentence: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, sentence: impl fmt::Display) -> Self {
        Self { exit, sentence: sentence.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<&NodeError> for Exit {
    fn from(error: &NodeError) -> Self {
        match error {
            NodeError::Unreachable { .. } | NodeError::Protocol { .. } => Self::NodeUnreachable,
            NodeError::Invalid { .. } | NodeError::UnknownContainer { .. } => Self::BadInput,
            NodeError::Unauthenticated { .. } | NodeError::Forbidden { .. } => Self::NotAllowed,
            NodeError::StaleGeneration { .. }
            | NodeError::TooManyRequests { .. }
            | NodeError::WriteFailed { .. }
            | NodeError::Internal { .. } => Self::Failed,
        }
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        Self::new(Exit::from(&error), error)
    }
}

/// What is left when no more fitting code is known.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}
