//! Whole numbers as JSON means them: `420.0` and `4.2e2` are as whole as `420`, and some languages write no other.
//!
//! Must not know what is counted.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// The first number that is too large.
const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;

/// Reads a whole number from 0 to [`u64::MAX`], however it is written.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_u64(Whole)
}

/// The same, where it may be absent.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Number(#[serde(deserialize_with = "deserialize")] u64);
    Ok(<Option<Number> as serde::Deserialize>::deserialize(deserializer)?.map(|Number(number)| number))
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {}", u64::MAX)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        value.try_into().map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, not negative, and below 2^64"
    )]
    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        if value.fract() == 0.0 && (0.0..TOO_LARGE).contains(&value) {
            return Ok(value as u64);
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<u64, serde_json::Error> {
        deserialize(&mut serde_json::Deserializer::from_str(text))
    }

    #[test]
    fn a_whole_number_is_read_however_it_is_written() {
        for (text, number) in [
            ("420", 420),
            ("420.0", 420),
            ("4.2e2", 420),
            ("-0", 0),
            ("-0.0", 0),
            ("18446744073709551615", u64::MAX),
            ("18446744073709549568.0", u64::MAX - 2047),
        ] {
            assert_eq!(read(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_not_whole_negative_or_too_large_is_refused() {
        for text in ["0.5", "-1", "-1.0", "18446744073709551616", "1e20", "1e999", "\"1\"", "true", "null"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
