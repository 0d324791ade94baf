//! What doses are measured in, as people write and read it.
//!
//! Pure. Must not know which kind of load has which unit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The unit of a dose. Amounts are `f64` in the base unit that the name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// CPU time per time.
    Cores,
    /// Memory, or a part of a cache.
    Bytes,
    /// Traffic of memory or of a disk.
    BytesPerSecond,
    /// Requests to a disk.
    OperationsPerSecond,
    /// Traffic of a network.
    BitsPerSecond,
    /// A delay.
    Seconds,
    /// A part of a whole, from 0 to 1.
    Share,
}

/// A way to write an amount, and what it is in the base unit. Longer endings come first.
type Ending = (&'static str, f64);

const CORES: &[Ending] = &[("cores", 1.0), ("core", 1.0), ("", 1.0)];
const BYTES: &[Ending] = &[
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
];
const BYTES_PER_SECOND: &[Ending] = &[
    ("KiB/s", 1024.0),
    ("MiB/s", 1_048_576.0),
    ("GiB/s", 1_073_741_824.0),
    ("kB/s", 1e3),
    ("KB/s", 1e3),
    ("MB/s", 1e6),
    ("GB/s", 1e9),
    ("B/s", 1.0),
];
const OPERATIONS: &[Ending] = &[("iops", 1.0), ("/s", 1.0)];
const BITS: &[Ending] = &[
    ("kbit/s", 1e3),
    ("Mbit/s", 1e6),
    ("Gbit/s", 1e9),
    ("bit/s", 1.0),
    ("kbit", 1e3),
    ("Mbit", 1e6),
    ("Gbit", 1e9),
];
const SECONDS: &[Ending] = &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
const SHARE: &[Ending] = &[("%", 0.01)];

impl Unit {
    fn endings(self) -> &'static [Ending] {
        match self {
            Self::Cores => CORES,
            Self::Bytes => BYTES,
            Self::BytesPerSecond => BYTES_PER_SECOND,
            Self::OperationsPerSecond => OPERATIONS,
            Self::BitsPerSecond => BITS,
            Self::Seconds => SECONDS,
            Self::Share => SHARE,
        }
    }

    /// An example of an amount, for messages.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Cores => "cores such as 0.4",
            Self::Bytes => "bytes such as 64MiB",
            Self::BytesPerSecond => "a rate such as 200MB/s",
            Self::OperationsPerSecond => "a rate such as 500iops",
            Self::BitsPerSecond => "a rate such as 20Mbit/s",
            Self::Seconds => "a time such as 20ms",
            Self::Share => "a share such as 5%",
        }
    }

    /// The amount that is written there, in the base unit. Absent where it is none: no number, no unit of this kind, not
    /// finite. May be zero or negative.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<f64> {
        let text = text.trim();
        self.endings().iter().find_map(|(ending, factor)| {
            let number: f64 = text.strip_suffix(ending)?.trim_end().parse().ok()?;
            Some(number * factor).filter(|amount| amount.is_finite())
        })
    }

    /// An amount as people read it.
    #[must_use]
    pub fn show(self, amount: f64) -> Shown {
        Shown { unit: self, amount }
    }
}

/// An amount with its unit.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    unit: Unit,
    amount: f64,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, amount } = *self;
        match unit {
            Unit::Cores => write!(f, "{amount:.4} cores"),
            Unit::Bytes => scaled(f, amount, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]),
            Unit::BytesPerSecond => scaled(f, amount, 1000.0, &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]),
            Unit::OperationsPerSecond => write!(f, "{amount:.1} iops"),
            Unit::BitsPerSecond => {
                scaled(f, amount, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
            }
            Unit::Seconds => write!(f, "{:.3} ms", 1e3 * amount),
            Unit::Share => write!(f, "{:.2} %", 1e2 * amount),
        }
    }
}

/// With the largest of the names, each `step` times the one before, that leaves a number of at least one.
fn scaled(f: &mut fmt::Formatter<'_>, amount: f64, step: f64, names: &[&str]) -> fmt::Result {
    let (mut amount, mut names) = (amount, names.iter());
    let mut name = names.next().copied().unwrap_or_default();
    for larger in names {
        if amount.abs() < step {
            break;
        }
        (amount, name) = (amount / step, larger);
    }
    write!(f, "{amount:.3} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (unit, text, amount) in [
            (Unit::Cores, "0.4", 0.4),
            (Unit::Cores, "1core", 1.0),
            (Unit::Bytes, " 64 MiB ", 67_108_864.0),
            (Unit::Bytes, "1kB", 1000.0),
            (Unit::Bytes, "12B", 12.0),
            (Unit::BytesPerSecond, "1.5GB/s", 1.5e9),
            (Unit::OperationsPerSecond, "500iops", 500.0),
            (Unit::BitsPerSecond, "20Mbit/s", 20e6),
            (Unit::BitsPerSecond, "20Mbit", 20e6),
            (Unit::Seconds, "20ms", 0.02),
            (Unit::Seconds, "1s", 1.0),
            (Unit::Share, "5%", 0.05),
        ] {
            let read = unit.parse(text).unwrap();
            assert!((read - amount).abs() <= 1e-9 * amount, "{text}: {read}");
        }
        for (unit, text) in [
            (Unit::Bytes, "64"),
            (Unit::Bytes, "64MB/s"),
            (Unit::Seconds, "5"),
            (Unit::Share, "0.5"),
            (Unit::Cores, "inf"),
            (Unit::Cores, "1e999"),
            (Unit::BytesPerSecond, "MB/s"),
        ] {
            assert_eq!(unit.parse(text), None, "{text}");
        }
    }

    #[test]
    fn shows_what_people_read() {
        for (unit, amount, text) in [
            (Unit::Cores, 0.4, "0.4000 cores"),
            (Unit::Bytes, 67_108_864.0, "64.000 MiB"),
            (Unit::BytesPerSecond, 1.5e9, "1.500 GB/s"),
            (Unit::BitsPerSecond, 12.0, "12.000 bit/s"),
            (Unit::Seconds, 0.02, "20.000 ms"),
            (Unit::Share, 0.05, "5.00 %"),
        ] {
            assert_eq!(unit.show(amount).to_string(), text);
        }
    }
}
