//! Where a body in chunks ends (RFC 9112, 7.1).
//!
//! Keeps numbers only. Must not know what is in the chunks.

use super::{MOST_HEAD, Malformed};

/// The longest line before a chunk, in bytes: its size and extensions that nobody reads.
const MOST_LINE: usize = 4 << 10;

/// A place within the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunked {
    at: At,
    /// Bytes of this line, or of all trailing fields: both are bounded.
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the digits of a size.
    Size {
        size: Option<u64>,
    },
    /// Behind the digits.
    Extension {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// Behind the data: CR may come.
    DataEnd,
    /// CR was there: LF must come.
    DataEndLf,
    /// In a trailing field.
    Trailer {
        line_is_empty: bool,
    },
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { at: At::Size { size: None }, length: 0 }
    }

    /// How many of these bytes belong to the body, when its end is among them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            if let At::Data { left } = &mut self.at {
                let here = (bytes.len() - taken) as u64;
                if here < *left {
                    *left -= here;
                    return Ok(None);
                }
                // Not more than `here`.
                taken += usize::try_from(*left).unwrap_or_default();
                self.at = At::DataEnd;
                continue;
            }
            taken += 1;
            if self.step(*byte)? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Takes a byte outside the data; true when it was the last one.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.length += 1;
        self.at = match (self.at, byte) {
            (At::Size { size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                At::Size { size: Some(with_digit(size.unwrap_or(0), byte)?) }
            }
            (At::Size { size: Some(size) }, b'\r' | b';' | b' ' | b'\t') => At::Extension { size },
            (At::Size { size: Some(size) } | At::Extension { size }, b'\n') => self.after_line(size),
            (At::Extension { .. }, _) if self.length <= MOST_LINE => self.at,
            (At::DataEnd, b'\r') => At::DataEndLf,
            (At::DataEnd | At::DataEndLf, b'\n') => {
                self.length = 0;
                At::Size { size: None }
            }
            (At::Trailer { line_is_empty: true }, b'\n') => return Ok(true),
            (At::Trailer { .. }, b'\n') => At::Trailer { line_is_empty: true },
            (At::Trailer { line_is_empty: true }, b'\r') => self.at,
            (At::Trailer { .. }, _) if self.length <= MOST_HEAD => At::Trailer { line_is_empty: false },
            _ => return Err(Malformed::Chunk),
        };
        if self.length > MOST_HEAD { Err(Malformed::Chunk) } else { Ok(false) }
    }

    fn after_line(&mut self, size: u64) -> At {
        self.length = 0;
        if size == 0 { At::Trailer { line_is_empty: true } } else { At::Data { left: size } }
    }
}

fn with_digit(size: u64, digit: u8) -> Result<u64, Malformed> {
    let value = char::from(digit).to_digit(16).ok_or(Malformed::Chunk)?;
    Ok(size.checked_mul(16).ok_or(Malformed::Chunk)? + u64::from(value))
}
