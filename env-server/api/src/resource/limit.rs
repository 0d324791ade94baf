//! A limit of any unit: so much, or as much as there is; on the wire a number, or the word `"max"`.
//!
//! Must not know what is limited.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A limit: so much, or as much as there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit<U> {
    /// No limit but the node's capacity.
    Max,
    /// At most this much.
    At(U),
}

impl<U: Copy> Limit<U> {
    /// The amount allowed on a node that has `capacity`.
    pub fn or(self, capacity: U) -> U {
        match self {
            Self::Max => capacity,
            Self::At(amount) => amount,
        }
    }
}

impl<U> Limit<U> {
    /// The same of another unit.
    pub fn map<V>(self, of: impl FnOnce(U) -> V) -> Limit<V> {
        match self {
            Self::Max => Limit::Max,
            Self::At(amount) => Limit::At(of(amount)),
        }
    }
}

impl<U: fmt::Display> fmt::Display for Limit<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::At(amount) => amount.fmt(f),
        }
    }
}

/// On the wire: the word `"max"`, or the number.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a limit is \"max\" or a number that is finite and not negative")]
enum WireLimit<U> {
    Word(MaxWord),
    Amount(U),
}

#[derive(Serialize, Deserialize)]
enum MaxWord {
    #[serde(rename = "max")]
    Max,
}

impl<U: Serialize + Copy> Serialize for Limit<U> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Max => WireLimit::<U>::Word(MaxWord::Max),
            Self::At(amount) => WireLimit::Amount(*amount),
        }
        .serialize(serializer)
    }
}

impl<'de, U: Deserialize<'de>> Deserialize<'de> for Limit<U> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WireLimit::deserialize(deserializer)? {
            WireLimit::Word(MaxWord::Max) => Self::Max,
            WireLimit::Amount(amount) => Self::At(amount),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Cores;

    #[test]
    fn a_limit_is_a_number_or_the_word_max() {
        let read = |text| serde_json::from_str::<Limit<Cores>>(text);
        assert_eq!(read("\"max\"").unwrap(), Limit::Max);
        assert_eq!(read("0.5").unwrap(), Limit::At(Cores::new(0.5).unwrap()));
        for bad in ["-1", "\"unlimited\"", "null", "true", "1e999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&Limit::<Cores>::Max).unwrap(), "\"max\"");
    }

    #[test]
    fn a_limit_without_bound_is_the_capacity() {
        assert_eq!(Limit::Max.or(4), 4);
        assert_eq!(Limit::At(1).or(4), 1);
    }
}
