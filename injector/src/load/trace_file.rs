//! Rates per second from a file, read strictly.
//!
//! Pure, but for reading the file. Must not know how requests are spaced.

use std::{fs::File, io::Read, path::Path};

use serde::Serialize;

use super::{MOST_RATE, error::LoadError};

/// The largest file accepted, in bytes: many times an hour of milliseconds' worth of sensible traces.
const MOST_BYTES: u64 = 4 << 20;

/// The most steps.
const MOST_STEPS: usize = 100_000;

/// Rates that hold one after the other. Bounded by `MOST_STEPS`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// Each one's rate per second, and for how many seconds it holds.
    #[serde(skip)]
    steps: Vec<(f64, f64)>,
    seconds: f64,
}

/// What is wrong with a trace, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrace {
    /// A line that is not understood.
    #[error("line {line}: {problem}")]
    Line {
        /// From 1.
        line: usize,
        /// A sentence.
        problem: String,
    },
    /// No line with a rate.
    #[error(
        "it has no rate: write one number per line (requests per second, second by second), or `seconds,rate`"
    )]
    Empty,
    /// Too many lines, or too many bytes.
    #[error("it is too long: at most {MOST_STEPS} steps and {} MiB are read", MOST_BYTES >> 20)]
    TooLong,
    /// Not text.
    #[error("it is no UTF-8 text")]
    NoText,
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no trace.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|source| LoadError::TraceFile { path: path.to_owned(), source })?;
        let parsed = if bytes.len() as u64 > MOST_BYTES {
            Err(InvalidTrace::TooLong)
        } else {
            std::str::from_utf8(&bytes).map_err(|_| InvalidTrace::NoText).and_then(Self::parse)
        };
        parsed.map_err(|source| LoadError::Trace { path: path.to_owned(), source })
    }

    /// Reads a text: either a rate per line, each for a second; or `seconds,rate` per line, each until the next line's
    /// seconds, the last one for a second. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// On the first line that is neither, or not of the first one's form.
    pub fn parse(text: &str) -> Result<Self, InvalidTrace> {
        let mut reader = Reader::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                reader.take(line).map_err(|problem| InvalidTrace::Line { line: number + 1, problem })?;
            }
            if reader.steps.len() > MOST_STEPS {
                return Err(InvalidTrace::TooLong);
            }
        }
        if reader.steps.is_empty() {
            return Err(InvalidTrace::Empty);
        }
        let seconds = reader.steps.iter().map(|(_, lasts)| lasts).sum();
        Ok(Self { steps: reader.steps, seconds })
    }

    /// Each step's rate per second, and for how many seconds it holds.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64)> + use<> {
        self.steps.clone().into_iter()
    }

    /// How long it lasts.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}

#[derive(Default)]
struct Reader {
    steps: Vec<(f64, f64)>,
    /// When the last step begins; absent in a file of plain rates.
    last_began: Option<f64>,
}

impl Reader {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let is_first = self.steps.is_empty();
        match line.split_once(',') {
            Some(_) if !is_first && self.last_began.is_none() => {
                Err(format!("{} has seconds, the lines before have none: keep to one form", shown(line)))
            }
            None if self.last_began.is_some() => {
                Err(format!("{} has no seconds, the lines before have: write seconds,rate", shown(line)))
            }
            Some((seconds, rate)) => self.step(number(seconds, "seconds")?, self::rate(rate)?),
            None => {
                self.steps.push((rate(line)?, 1.0));
                Ok(())
            }
        }
    }

    fn step(&mut self, began: f64, rate: f64) -> Result<(), String> {
        match (self.last_began, self.steps.last_mut()) {
            (Some(before), Some((_, lasts))) if began > before => *lasts = began - before,
            (Some(before), _) => return Err(format!("{began} s is not after the line before ({before} s)")),
            _ if began == 0.0 => {}
            _ => return Err(format!("the first line must be at 0 seconds, not at {began}")),
        }
        self.last_began = Some(began);
        self.steps.push((rate, 1.0));
        Ok(())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, "requests per second").and_then(|rate| {
        let fits = (0.0..=MOST_RATE).contains(&rate);
        fits.then_some(rate).ok_or_else(|| format!("{rate} requests/s are out of range: 0 to {MOST_RATE}"))
    })
}

fn number(text: &str, what: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("{} is no number of {what}", shown(text)))
}

/// As much of a line as a message may hold.
fn shown(text: &str) -> String {
    format!("{:?}", text.trim().chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(text: &str) -> Vec<(f64, f64)> {
        Trace::parse(text).unwrap().steps
    }

    #[test]
    fn reads_both_forms() {
        assert_eq!(steps("10\n\n# calm\n 2.5 \r\n0\n"), [(10.0, 1.0), (2.5, 1.0), (0.0, 1.0)]);
        assert_eq!(steps("0,10\n2.5, 300\n10,0"), [(10.0, 2.5), (300.0, 7.5), (0.0, 1.0)]);
        assert_eq!(Trace::parse("0,10\n2.5,300\n10,0").unwrap().seconds(), 11.0);
    }

    #[test]
    fn refuses_what_is_neither_and_names_the_line() {
        for (text, line, told) in [
            ("10\nmany\n", 2, "\"many\" is no number of requests per second"),
            ("10\n\n-1", 3, "out of range"),
            ("1e9", 1, "out of range"),
            ("NaN", 1, "no number"),
            ("10\n1,20", 2, "keep to one form"),
            ("0,10\n20", 2, "write seconds,rate"),
            ("1,10", 1, "must be at 0 seconds"),
            ("0,1\n5,1\n5,2", 3, "not after"),
            ("0,1\n5,1\n4,2", 3, "not after"),
            ("0,1,2", 1, "\"1,2\" is no number"),
            ("0,", 1, "no number"),
            ("0;1", 1, "no number"),
            ("inf,1", 1, "no number of seconds"),
        ] {
            let error = Trace::parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("line {line}: ")) && error.contains(told),
                "{text:?}: {error}"
            );
        }
        for empty in ["", "\n \n# nothing\n"] {
            assert_eq!(Trace::parse(empty), Err(InvalidTrace::Empty));
        }
        assert_eq!(Trace::parse(&"1\n".repeat(MOST_STEPS + 1)), Err(InvalidTrace::TooLong));
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let error = Trace::read(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error, LoadError::Trace { source: InvalidTrace::TooLong, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "[-0-9.,e#\nxN ]{0,40}") {
            if let Ok(trace) = Trace::parse(&text) {
                prop_assert!(trace.seconds() > 0.0);
                prop_assert!(trace.steps().all(|(rate, lasts)| (0.0..=MOST_RATE).contains(&rate) && lasts > 0.0));
            }
        }
    }
}
