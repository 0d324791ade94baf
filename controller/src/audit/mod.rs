//! The audit log: every decision with its evidence, one JSON line each, so that a run can be replayed.
//!
//! Must not know what a decision is: who writes brings the record's type, who reads knows it by its kind.

mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use ballast_api::UnixNanos;
use serde::{Deserialize, Serialize};

pub use self::{
    reader::{AuditReader, read},
    writer::AuditLog,
};

/// The version of the lines' own shape; a record's shape is its kind's business.
pub const SCHEMA: u32 = 1;

/// The longest line, in bytes: what a reader takes into memory at once.
pub const MAX_LINE_BYTES: usize = 8 << 20;

/// One line, read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// One more than the line before, also across restarts and rotation: a gap is a loss.
    pub sequence: u64,
    /// When it was written.
    pub at_unix_nanos: UnixNanos,
    /// What `record` is.
    pub kind: String,
    /// What was decided, and why.
    pub record: serde_json::Value,
}

/// What the audit log cannot do.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file system refuses.
    #[error("{operation} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A device or a pipe has no end and cannot be rotated.
    #[error("{} is not a file; an audit log must be one", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Two writers would mix their sequences.
    #[error("{} is being written by another process; give each controller an audit log of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else, and is left alone.
    #[error("{} is not an audit log of Ballast (line {line}: {detail})", path.display())]
    NotAnAuditLog {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: u64,
        /// What is odd.
        detail: String,
    },
    /// The record has no JSON.
    #[error("a record of kind {kind:?} cannot be written as JSON")]
    Encoding {
        /// Its kind.
        kind: String,
        /// Why not.
        #[source]
        cause: serde_json::Error,
    },
    /// The record is without bound.
    #[error(
        "a record of kind {kind:?} makes a line of {bytes} bytes, more than the {MAX_LINE_BYTES} allowed"
    )]
    TooLong {
        /// Its kind.
        kind: String,
        /// Its length.
        bytes: usize,
    },
}

/// Where the file before the one at `path` is: `audit.jsonl.1`.
fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Refuses what exists and is no file, before it is opened: opening a pipe would wait for its other end.
fn refuse_other_than_file(path: &Path) -> Result<(), AuditError> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(AuditError::NotAFile { path: path.to_owned() }),
        // Whatever else there is to say, opening says better.
        _ => Ok(()),
    }
}
