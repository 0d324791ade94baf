//! Writing the audit log: a line is whole or is taken back, and two files of bounded size are kept.
//!
//! Must not know any kind of record.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ballast_api::{Clock, UnixNanos};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tracing::warn;

use super::{AuditError, MAX_LINE_BYTES, SCHEMA, reader::Lines, refuse_other_than_file, rotated};
use crate::store::RedisStore;

/// A file that would grow over this is rotated away first; the one rotated away before is forgotten.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// How every line begins.
const LINE_BEGINS: &[u8] = b"{\"schema\":";

/// An open audit log. A line that [`AuditLog::append`] has answered for survives `kill -9`; it is not forced to the disk,
/// so a power cut may cost the last seconds.
pub struct AuditLog {
    clock: Arc<dyn Clock>,
    redis: Option<RedisStore>,
    writer: Mutex<Writer>,
}

/// A line as it is written; read back as [`AuditRecord`](super::AuditRecord).
#[derive(Serialize)]
struct NewLine<'a, T: ?Sized> {
    schema: u32,
    sequence: u64,
    at_unix_nanos: UnixNanos,
    kind: &'a str,
    record: &'a T,
}

impl AuditLog {
    /// Opens the log at `path`, or begins one; the sequence goes on where it ended. A line that a killed writer has torn
    /// off is removed. Lines go to `redis` as well, whenever it is there.
    ///
    /// # Errors
    /// When another process writes it, it holds something else (which is left as it is), or it cannot be opened.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, redis: Option<RedisStore>) -> Result<Self, AuditError> {
        Self::with_bound(path, clock, redis, MAX_FILE_BYTES)
    }

    pub(super) fn with_bound(
        path: &Path,
        clock: Arc<dyn Clock>,
        redis: Option<RedisStore>,
        max_file_bytes: u64,
    ) -> Result<Self, AuditError> {
        let writer = Mutex::new(Writer::open(path, max_file_bytes)?);
        Ok(Self { clock, redis, writer })
    }

    /// Writes one line and answers its sequence number. Takes microseconds: no disk is waited for.
    ///
    /// # Errors
    /// When the record has no JSON, its line is longer than [`MAX_LINE_BYTES`], or the file system refuses; then nothing
    /// of it is left in the file, and its number goes to the next record.
    pub fn append<T: Serialize + ?Sized>(&self, kind: &str, record: &T) -> Result<u64, AuditError> {
        let at_unix_nanos = self.clock.now();
        // A writer is never left half changed, so that a panic elsewhere has not broken it.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = writer.next_sequence;
        let line = NewLine { schema: SCHEMA, sequence, at_unix_nanos, kind, record };
        let mut json = serde_json::to_string(&line)
            .map_err(|cause| AuditError::Encoding { kind: kind.to_owned(), cause })?;
        json.push('\n');
        if json.len() > MAX_LINE_BYTES {
            return Err(AuditError::TooLong { kind: kind.to_owned(), bytes: json.len() });
        }
        writer.write(json.as_bytes())?;
        writer.next_sequence += 1;
        if let Some(redis) = &self.redis {
            json.pop();
            // Under the lock, so that the stream has the order of the file.
            redis.append_audit(json);
        }
        Ok(sequence)
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    bytes: u64,
    next_sequence: u64,
    max_file_bytes: u64,
}

impl Writer {
    fn open(path: &Path, max_file_bytes: u64) -> Result<Self, AuditError> {
        let file = open_locked(path)?;
        let older = examine(&rotated(path))?;
        let here = examine(path)?;
        let mut writer = Self {
            path: path.to_owned(),
            file,
            bytes: here.whole_bytes,
            next_sequence: here.next_sequence.or(older.next_sequence).unwrap_or(0),
            max_file_bytes,
        };
        match here.tail {
            Tail::None => {}
            // Whole but for its end.
            Tail::Record { bytes } => {
                writer.bytes += bytes;
                writer.write(b"\n")?;
            }
            Tail::Torn { bytes } => {
                warn!(path = %path.display(), bytes, "the last line of the audit log was torn off: it is removed");
                writer.take_back("cannot remove the torn last line of")?;
            }
        }
        Ok(writer)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), AuditError> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.max_file_bytes {
            self.rotate()?;
        }
        if let Err(cause) = self.file.write_all(line) {
            // A part may be written; the next line must not continue it.
            self.take_back("cannot take back a part of a line in")?;
            return Err(self.failed("cannot write to", cause));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Cuts the file to its whole lines.
    fn take_back(&self, operation: &'static str) -> Result<(), AuditError> {
        self.file.set_len(self.bytes).map_err(|cause| self.failed(operation, cause))
    }

    fn rotate(&mut self) -> Result<(), AuditError> {
        let away = rotated(&self.path);
        fs::rename(&self.path, &away).map_err(|cause| self.failed("cannot rotate", cause))?;
        self.file = open_locked(&self.path).inspect_err(|_| {
            // Back to where the open file was, so that the next attempt finds what this one found. Should that fail, the
            // next attempt says so.
            let _ = fs::rename(&away, &self.path);
        })?;
        self.bytes = 0;
        Ok(())
    }

    fn failed(&self, operation: &'static str, cause: io::Error) -> AuditError {
        AuditError::Io { operation, path: self.path.clone(), cause }
    }
}

/// Opens or makes the file; the lock ends with it.
fn open_locked(path: &Path) -> Result<File, AuditError> {
    let failed = |operation, cause| AuditError::Io { operation, path: path.to_owned(), cause };
    refuse_other_than_file(path)?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|cause| failed("cannot open the audit log", cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(failed("cannot lock the audit log", cause)),
    }
}

/// What a file ends with.
#[derive(Default)]
struct Examined {
    whole_bytes: u64,
    next_sequence: Option<u64>,
    tail: Tail,
}

/// What stands behind the last end of a line.
#[derive(Default)]
enum Tail {
    #[default]
    None,
    Record {
        bytes: u64,
    },
    Torn {
        bytes: u64,
    },
}

/// As much of a record as the sequence needs.
#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
    #[serde(rename = "record")]
    _record: IgnoredAny,
}

/// Goes through a log. One that does not begin as ours is refused; a line in its midst that somebody damaged is left for
/// readers to tell.
fn examine(path: &Path) -> Result<Examined, AuditError> {
    let mut examined = Examined::default();
    let Some(mut lines) = Lines::open(path)? else { return Ok(examined) };
    let mut first = true;
    while let Some(line) = lines.next_line() {
        let line = line?;
        let bytes = line.bytes.len() as u64;
        let numbered = lines.decode::<Numbered>(&line.bytes);
        if let Ok(Numbered { sequence, .. }) = numbered {
            examined.next_sequence = Some(sequence.saturating_add(1));
        }
        if line.whole {
            if first {
                numbered?;
            }
            examined.whole_bytes += bytes + 1;
        } else if numbered.is_ok() {
            examined.tail = Tail::Record { bytes };
        } else if LINE_BEGINS.starts_with(&line.bytes) || line.bytes.starts_with(LINE_BEGINS) || !first {
            examined.tail = Tail::Torn { bytes };
        } else {
            return Err(lines.odd("it does not begin as a record does".to_owned()));
        }
        first = false;
    }
    Ok(examined)
}
