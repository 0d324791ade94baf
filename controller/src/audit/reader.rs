//! Reading an audit log back, also one whose writer was killed in the midst of a line.
//!
//! Must not know any kind of record.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{AuditError, AuditRecord, MAX_LINE_BYTES, SCHEMA, refuse_other_than_file, rotated};

/// The records of the log at `path`, oldest first, beginning with the file that was rotated away.
///
/// # Errors
/// When there is no such log, or it cannot be opened.
pub fn read(path: &Path) -> Result<AuditReader, AuditError> {
    let older = Lines::open(&rotated(path))?;
    match Lines::open(path)? {
        // Killed between rotating the old file away and making the new one.
        None if older.is_some() => Ok(AuditReader { older, newer: None }),
        None => Err(AuditError::Io {
            operation: "cannot read the audit log",
            path: path.to_owned(),
            cause: io::ErrorKind::NotFound.into(),
        }),
        newer => Ok(AuditReader { older, newer }),
    }
}

/// An iterator over records. A line that cannot be read is an error in its place, and the next line follows; a last line
/// that was torn off is no record and no error.
#[derive(Debug)]
pub struct AuditReader {
    older: Option<Lines>,
    newer: Option<Lines>,
}

impl Iterator for AuditReader {
    type Item = Result<AuditRecord, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        for file in [&mut self.older, &mut self.newer] {
            if let Some(item) = file.as_mut().and_then(next_record) {
                return Some(item);
            }
            *file = None;
        }
        None
    }
}

fn next_record(lines: &mut Lines) -> Option<Result<AuditRecord, AuditError>> {
    match lines.next_line()? {
        Ok(Line { bytes, whole: true }) => Some(lines.decode(&bytes)),
        Ok(Line { bytes, whole: false }) => lines.decode(&bytes).ok().map(Ok),
        Err(error) => Some(Err(error)),
    }
}

/// One line.
pub(super) struct Line {
    /// Without its end.
    pub(super) bytes: Vec<u8>,
    /// Whether it has an end.
    pub(super) whole: bool,
}

/// One file, line by line.
#[derive(Debug)]
pub(super) struct Lines {
    file: BufReader<File>,
    path: PathBuf,
    number: u64,
    broken: bool,
}

impl Lines {
    /// `None` when there is no such file.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, AuditError> {
        refuse_other_than_file(path)?;
        match File::open(path) {
            Ok(file) => {
                Ok(Some(Self { file: BufReader::new(file), path: path.to_owned(), number: 0, broken: false }))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => {
                Err(AuditError::Io { operation: "cannot read the audit log", path: path.to_owned(), cause })
            }
        }
    }

    pub(super) fn next_line(&mut self) -> Option<Result<Line, AuditError>> {
        if self.broken {
            return None;
        }
        let mut bytes = Vec::new();
        match self.read_line(&mut bytes) {
            Ok(0) => None,
            Ok(length) if length > MAX_LINE_BYTES => {
                Some(Err(self.odd(format!("it is longer than {MAX_LINE_BYTES} bytes"))))
            }
            Ok(_) => {
                let whole = bytes.pop_if(|byte| *byte == b'\n').is_some();
                Some(Ok(Line { bytes, whole }))
            }
            Err(cause) => {
                // To read on where the disk is broken would never end.
                self.broken = true;
                Some(Err(AuditError::Io { operation: "cannot read", path: self.path.clone(), cause }))
            }
        }
    }

    /// The length of the line, of which no more than [`MAX_LINE_BYTES`] are kept.
    fn read_line(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let length = self.file.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', bytes)?;
        self.number += 1;
        if length > MAX_LINE_BYTES && bytes.last() != Some(&b'\n') {
            return Ok(length + self.file.skip_until(b'\n')?);
        }
        Ok(length)
    }

    /// Reads `bytes` as the line last read.
    pub(super) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, AuditError> {
        #[derive(serde::Deserialize)]
        struct Version {
            schema: u32,
        }
        let odd = |error: serde_json::Error| self.odd(error.to_string());
        let version: Version = serde_json::from_slice(bytes).map_err(odd)?;
        if version.schema != SCHEMA {
            return Err(self.odd(format!("its schema is {}, not {SCHEMA}", version.schema)));
        }
        serde_json::from_slice(bytes).map_err(odd)
    }

    pub(super) fn odd(&self, detail: String) -> AuditError {
        AuditError::NotAnAuditLog { path: self.path.clone(), line: self.number, detail }
    }
}
