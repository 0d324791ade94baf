//! A range of amounts, as `20%..90%`, and what is drawn of it.
//!
//! Knows no units: both ends have the same one, whatever it is, and what is drawn has it too.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// From the one to the other, both included; or one amount alone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Range {
    from: f64,
    to: f64,
    unit: String,
}

impl Range {
    pub(super) fn unit(&self) -> &str {
        &self.unit
    }

    /// The amount at this part of the way, from 0 to 1, with its unit: to four decimals.
    #[must_use]
    pub fn at(&self, part: f64) -> String {
        let amount = self.from + part * (self.to - self.from);
        // Without the zeros at the end: 80%, not 80.0000%.
        let digits = format!("{amount:.4}");
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        format!("{digits}{}", self.unit)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let odd = || format!("{text:?} is no range: write 20%..90%, 5ms..50ms, or one amount");
        let ((from, first_unit), (to, unit)) = (amount(from).ok_or_else(odd)?, amount(to).ok_or_else(odd)?);
        if !first_unit.is_empty() && first_unit != unit {
            return Err(format!("{text:?} has two units: write both ends in one"));
        }
        if from > to {
            return Err(format!("{text:?} ends before it begins"));
        }
        Ok(Self { from, to, unit: unit.to_owned() })
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.at(0.0), self.at(1.0))
    }
}

/// A number that is not negative, and what follows it.
fn amount(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let is_unit = unit.trim().chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '%' | '/'));
    let number = number.parse().ok().filter(|number: &f64| number.is_finite() && is_unit)?;
    Some((number, unit.trim()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_drawn_has_the_unit_of_the_ends() {
        let range: Range = "20%..90%".parse().unwrap();
        assert_eq!((range.at(0.0), range.at(0.5), range.at(1.0)), ("20%".into(), "55%".into(), "90%".into()));
        assert_eq!("5..50 ms".parse::<Range>().unwrap().at(0.1), "9.5ms");
        assert_eq!("0.4".parse::<Range>().unwrap().at(0.7), "0.4");
        assert_eq!("100".parse::<Range>().unwrap().at(0.7), "100");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        assert!("9".repeat(400).parse::<Range>().is_err(), "it is not finite");
        for bad in ["", "..", "a..b", "5ms..6s", "90%..20%", "-1..2", "1e3..", "1.2.3", "0 .0."] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "[0-9.%a-z ]{0,12}", part in 0.0..1.0) {
            if let Ok(range) = text.parse::<Range>() {
                prop_assert!(range.at(part).parse::<Range>().is_ok());
            }
        }
    }
}
