//! Where an answer ends, and what its status is: HTTP/1.1 responses, read in whatever pieces they come.
//!
//! Pure. Keeps of an answer no more than a head of [`MOST_HEAD`] bytes: bodies are counted, not stored. Must not know
//! sockets nor times.

mod chunked;

use chunked::Chunked;

/// The longest head accepted, in bytes, with status line and empty line.
pub const MOST_HEAD: usize = 16 << 10;

/// The most header fields.
const MOST_FIELDS: usize = 100;

/// A head's buffer that is larger is given back after each answer, since there may be 10,000 of them.
const KEPT_BUFFER: usize = 1 << 10;

/// What every answer begins with.
const PREFIX: &[u8] = b"HTTP/1.";

/// An answer that has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// As sent: 200 to 999.
    pub status: u16,
    /// Whether another request may be sent on the connection.
    pub keep_alive: bool,
}

/// Why something is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin as HTTP/1.
    #[error("it is not HTTP/1")]
    NotHttp,
    /// A bad status line or header field.
    #[error("its head makes no sense")]
    Head,
    /// More than [`MOST_HEAD`] bytes.
    #[error("its head is longer than {MOST_HEAD} bytes")]
    HeadTooLong,
    /// Lengths that are no numbers or contradict each other; a protocol that nobody asked for.
    #[error("its head does not say where it ends")]
    Framing,
    /// A body in chunks that is not.
    #[error("its chunks make no sense")]
    Chunk,
}

/// What the end of the stream means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// The answer was to end so.
    Complete(Answer),
    /// The answer is cut off, or has not begun.
    Cut,
}

/// Reads one answer after the other.
#[derive(Debug)]
pub struct ResponseParser {
    /// Whether the requests are HEAD, to which no answer has a body.
    to_head: bool,
    /// The begin of a head whose end has not come.
    head: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body(Answer, Body),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Sized { left: u64 },
    Chunked(Chunked),
    UntilClose,
}

impl ResponseParser {
    /// A reader of answers, to HEAD or to something else.
    #[must_use]
    pub fn new(to_head: bool) -> Self {
        Self { to_head, head: Vec::new(), state: State::Head }
    }

    /// Takes what has come; the answer when its end is among it, after which the next one may begin.
    ///
    /// # Errors
    /// When it is no answer: nothing that follows on the connection can be understood.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        loop {
            match &mut self.state {
                State::Head => {
                    let Some(taken) = self.take_head(bytes)? else { return Ok(None) };
                    bytes = &bytes[taken..];
                }
                State::Body(answer, body) => {
                    let Some(taken) = body.take(bytes)? else { return Ok(None) };
                    let mut answer = *answer;
                    // What nobody asked for may not be taken for the next answer.
                    answer.keep_alive &= taken == bytes.len();
                    self.state = State::Head;
                    return Ok(Some(answer));
                }
            }
        }
    }

    /// How many bytes it keeps: of a head whose end has not come, at most [`MOST_HEAD`].
    #[must_use]
    pub fn kept(&self) -> usize {
        self.head.len()
    }

    /// The stream has ended.
    #[must_use]
    pub fn end(&self) -> AtEnd {
        match self.state {
            State::Body(answer, Body::UntilClose) => AtEnd::Complete(Answer { keep_alive: false, ..answer }),
            _ => AtEnd::Cut,
        }
    }

    /// Moves on behind the head when its end has come, and answers how many of these bytes belong to it.
    fn take_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        if self.head.is_empty() {
            // The usual case: nothing is copied.
            check_prefix(bytes)?;
            if let Some(end) = head_end(bytes, 0) {
                self.state = interpret(&bytes[..end], self.to_head)?;
                return Ok(Some(end));
            }
        }
        let before = self.head.len();
        let room = MOST_HEAD - before;
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        check_prefix(&self.head)?;
        match head_end(&self.head, before.saturating_sub(2)) {
            Some(end) => {
                self.state = interpret(&self.head[..end], self.to_head)?;
                self.head.clear();
                self.head.shrink_to(KEPT_BUFFER);
                Ok(Some(end - before))
            }
            None if self.head.len() >= MOST_HEAD => Err(Malformed::HeadTooLong),
            None => Ok(None),
        }
    }
}

impl Body {
    /// How many of these bytes belong to the body, when its end is among them.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        match self {
            Self::None => Ok(Some(0)),
            Self::Sized { left } => {
                let here = bytes.len() as u64;
                if here < *left {
                    *left -= here;
                    return Ok(None);
                }
                // Not more than `here`.
                Ok(Some(usize::try_from(*left).unwrap_or(bytes.len())))
            }
            Self::Chunked(chunks) => chunks.take(bytes),
            Self::UntilClose => Ok(None),
        }
    }
}

fn check_prefix(bytes: &[u8]) -> Result<(), Malformed> {
    let length = bytes.len().min(PREFIX.len());
    if bytes[..length] == PREFIX[..length] { Ok(()) } else { Err(Malformed::NotHttp) }
}

/// Behind the empty line that ends a head, when it is within the first [`MOST_HEAD`] bytes. A line may end without CR.
fn head_end(bytes: &[u8], mut from: usize) -> Option<usize> {
    let bytes = &bytes[..bytes.len().min(MOST_HEAD)];
    loop {
        let after_line = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\n')? + 1;
        match bytes.get(after_line..)? {
            [b'\n', ..] => return Some(after_line + 1),
            [b'\r', b'\n', ..] => return Some(after_line + 2),
            _ => from = after_line,
        }
    }
}

/// What follows a whole head.
fn interpret(head: &[u8], to_head: bool) -> Result<State, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        _ => return Err(Malformed::Head),
    }
    let status = response.code.unwrap_or_default();
    match status {
        // Nobody asked for another protocol.
        0..=99 | 101 => Err(Malformed::Framing),
        100..=199 => Ok(State::Head),
        _ => {
            let mut keep_alive = response.version == Some(1);
            let body = body_of(response.headers, status, to_head, &mut keep_alive)?;
            Ok(State::Body(Answer { status, keep_alive }, body))
        }
    }
}

/// What a field `Connection` says of the connection's future, if anything.
fn read_persistence(value: &[u8], keep_alive: &mut bool) {
    for option in items(value) {
        if option.eq_ignore_ascii_case(b"close") {
            *keep_alive = false;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            *keep_alive = true;
        }
    }
}

/// RFC 9112, 6.3; contradictions are refused.
fn body_of(
    fields: &[httparse::Header<'_>],
    status: u16,
    to_head: bool,
    keep_alive: &mut bool,
) -> Result<Body, Malformed> {
    let (mut length, mut coded) = (None, None);
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let said = decimal(field.value)?;
            if length.replace(said).is_some_and(|before| before != said) {
                return Err(Malformed::Framing);
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            coded = items(field.value).last().map(|last| last.eq_ignore_ascii_case(b"chunked"));
        } else if field.name.eq_ignore_ascii_case("connection") {
            read_persistence(field.value, keep_alive);
        }
    }
    if to_head || matches!(status, 204 | 304) {
        return Ok(Body::None);
    }
    match (coded, length) {
        (Some(_), Some(_)) => Err(Malformed::Framing),
        (Some(true), None) => Ok(Body::Chunked(Chunked::new())),
        (None, Some(0)) => Ok(Body::None),
        (None, Some(left)) => Ok(Body::Sized { left }),
        (Some(false), None) | (None, None) => Ok(Body::UntilClose),
    }
}

/// The items of a list that commas divide.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits and nothing else, all the same where they are given more than once.
fn decimal(value: &[u8]) -> Result<u64, Malformed> {
    let mut numbers = items(value).map(|item| {
        let digits = std::str::from_utf8(item).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|text| text.parse().ok()).ok_or(Malformed::Framing)
    });
    let first = numbers.next().unwrap_or(Err(Malformed::Framing))?;
    for other in numbers {
        if other? != first {
            return Err(Malformed::Framing);
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests;
