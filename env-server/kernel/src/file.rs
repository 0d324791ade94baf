//! Reading and writing single kernel files.
//!
//! Never creates a file: a name that the kernel does not offer is an error, not a new file.

mod control;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

pub(crate) use control::ControlFile;

use crate::error::KernelError;

/// How much of an odd text goes into an error.
const SHOWN_CHARS: usize = 120;

/// An [`io::Error`] on its way to a [`KernelError::Io`] that has no value.
pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::Io { operation, path: path.to_owned(), value: None, source }
}

pub(crate) fn unexpected(path: &Path, text: &str, expected: &'static str) -> KernelError {
    let text = text.chars().take(SHOWN_CHARS).collect();
    KernelError::Unexpected { path: path.to_owned(), text, expected }
}

pub(crate) fn read(path: &Path) -> Result<String, KernelError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// A file whose length is up to others: one that is longer than `most` bytes is refused, and not read to its end.
pub(crate) fn read_within(path: &Path, most: u64) -> Result<String, KernelError> {
    let attempt = || {
        let mut bytes = Vec::new();
        let length = File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if length as u64 > most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is longer than {most} bytes"),
            ));
        }
        text_of(bytes)
    };
    attempt().map_err(failed("read", path))
}

fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Longer than what most kernel files hold.
const RECORD_BYTES: usize = 1024;

/// A file that the kernel makes at once, as it makes every control file but lists of processes: what comes short of the
/// buffer is all there is. It asks for no size and reads no second time, as [`read`] does.
pub(crate) fn read_record(path: &Path) -> Result<String, KernelError> {
    File::open(path).and_then(|file| record(&file)).map_err(failed("read", path))
}

/// All that an open file says, from its beginning.
fn record(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; RECORD_BYTES];
    loop {
        let length = file.read_at(&mut buffer, bytes.len() as u64)?;
        bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
        if length < RECORD_BYTES {
            return text_of(bytes);
        }
    }
}

/// Writes the whole value in one call, as kernel files want it.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), KernelError> {
    let attempt = || OpenOptions::new().write(true).truncate(true).open(path)?.write_all(value.as_bytes());
    attempt().map_err(not_written(path, value))
}

/// The same to a file that is open, at `path`: ENODEV when the kernel has removed it, whatever is at its path by now.
pub(crate) fn write_open(file: &File, path: &Path, value: &str) -> Result<(), KernelError> {
    file.write_all_at(value.as_bytes(), 0).map_err(not_written(path, value))
}

/// An [`io::Error`] on its way to a [`KernelError::Io`] of a value.
fn not_written(path: &Path, value: &str) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::Io {
        operation: "write to",
        path: path.to_owned(),
        value: Some(value.to_owned()),
        source,
    }
}

/// The number that a file holds.
pub(crate) fn read_number<T: std::str::FromStr>(path: &Path) -> Result<T, KernelError> {
    number(path, &read_record(path)?)
}

fn number<T: std::str::FromStr>(path: &Path, text: &str) -> Result<T, KernelError> {
    text.trim().parse().map_err(|_| unexpected(path, text, "a whole number"))
}

/// Waits between two looks at something that the kernel does not announce.
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel announces neither an empty v1 cgroup nor a free folder; callers bound their attempts"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_length_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for length in [0, 1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 5 * RECORD_BYTES] {
            fs::write(&path, "x".repeat(length)).unwrap();
            assert_eq!(read_record(&path).unwrap().len(), length);
        }
        fs::write(&path, "x".repeat(7)).unwrap();
        assert_eq!(read_within(&path, 7).unwrap().len(), 7);
        let refused = ballast_api::with_causes(&read_within(&path, 6).unwrap_err());
        assert!(refused.contains("file: it is longer than 6 bytes"), "{refused}");
        fs::write(&path, b"\xff").unwrap();
        assert!(read_within(&path, 7).is_err());
        assert!(read_record(&path).unwrap_err().to_string().contains("file"));
        assert!(read_record(&folder.path().join("absent")).unwrap_err().is_gone());
    }
}
