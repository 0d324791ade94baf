//! How much load is asked for: a percentage of what the target may use, or an amount.
//!
//! Pure. Must not know where limits are read.

use std::fmt;

use serde::Serialize;

use crate::unit::Unit;

/// The largest percentage accepted: a hundred times the limit.
const MOST_PERCENT: f64 = 10_000.0;

/// An intensity as the user writes it: more than zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Intensity {
    /// Of the target's limit, or of what the node has when there is none: in (0, 10000].
    Percent(f64),
    /// In the base unit of the kind.
    Amount(f64, Unit),
}

/// What a requested intensity refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A percentage of the target's limit.
    TargetLimit,
    /// A percentage of what the node has: the target has no limit, or there is no target.
    Node,
    /// An amount, as asked.
    Absolute,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TargetLimit => "of the target's limit",
            Self::Node => "of what the node has: no limit is in force",
            Self::Absolute => "as asked",
        })
    }
}

/// Why an intensity cannot be injected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidIntensity {
    /// It is no intensity at all.
    #[error("{text:?} is no intensity: write a percentage such as 80%, or {}", unit.example())]
    Syntax {
        /// As written, cut off.
        text: String,
        /// What it should have been in.
        unit: Unit,
    },
    /// A percentage out of range.
    #[error("{0} % is out of range: it must be more than 0 and at most {MOST_PERCENT} %")]
    Percent(f64),
    /// Zero or less.
    #[error("{} is out of range: it must be more than 0", unit.show(*amount))]
    NotPositive {
        /// As written.
        amount: f64,
        /// Its unit.
        unit: Unit,
    },
    /// More than the machine has.
    #[error("{} are more than the {} of this node: ask for less", unit.show(*asked), unit.show(*node))]
    TooMuch {
        /// What was asked.
        asked: f64,
        /// What the node has.
        node: f64,
        /// Of both.
        unit: Unit,
    },
    /// Less than can be given.
    #[error("{} are too little to be given exactly: ask for at least {}", unit.show(*asked), unit.show(*least))]
    TooLittle {
        /// What was asked.
        asked: f64,
        /// What can be given.
        least: f64,
        /// Of both.
        unit: Unit,
    },
    /// A percentage where nobody knows of what.
    #[error("{percent} % of what? The target has no limit and the node's own is not known: write {}", unit.example())]
    NoBasis {
        /// As written.
        percent: f64,
        /// What to write instead.
        unit: Unit,
    },
}

impl Intensity {
    /// Reads an intensity of a kind with this unit.
    ///
    /// # Errors
    /// When it is none, or out of range.
    pub fn parse(text: &str, unit: Unit) -> Result<Self, InvalidIntensity> {
        let syntax = || InvalidIntensity::Syntax { text: text.chars().take(80).collect(), unit };
        if let Some(digits) = text.trim().strip_suffix('%') {
            let percent: f64 = digits.trim().parse().map_err(|_| syntax())?;
            return match percent {
                _ if !percent.is_finite() => Err(syntax()),
                _ if percent > 0.0 && percent <= MOST_PERCENT => Ok(Self::Percent(percent)),
                _ => Err(InvalidIntensity::Percent(percent)),
            };
        }
        match unit.parse(text).ok_or_else(syntax)? {
            amount if amount > 0.0 => Ok(Self::Amount(amount, unit)),
            amount => Err(InvalidIntensity::NotPositive { amount, unit }),
        }
    }

    /// The amount, in the base unit, for a target with this limit on a node that has so much. Either may not be known.
    ///
    /// # Errors
    /// When it is more than the node has, or a percentage of nothing that is known.
    pub fn resolve(
        self,
        unit: Unit,
        limit: Option<f64>,
        node: Option<f64>,
    ) -> Result<(f64, Basis), InvalidIntensity> {
        let (asked, basis) = match (self, limit, node) {
            (Self::Amount(amount, _), _, _) => (amount, Basis::Absolute),
            (Self::Percent(percent), Some(limit), _) => (part(limit, percent), Basis::TargetLimit),
            (Self::Percent(percent), None, Some(node)) => (part(node, percent), Basis::Node),
            (Self::Percent(percent), None, None) => return Err(InvalidIntensity::NoBasis { percent, unit }),
        };
        match node {
            Some(node) if asked > node => Err(InvalidIntensity::TooMuch { asked, node, unit }),
            _ => Ok((asked, basis)),
        }
    }
}

/// A percentage of something; rounded, 100 % of a number could be the next larger one.
fn part(whole: f64, percent: f64) -> f64 {
    let part = whole * percent / 100.0;
    if percent <= 100.0 { part.min(whole) } else { part }
}

impl fmt::Display for Intensity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Amount(amount, unit) => write!(f, "{}", unit.show(*amount)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CORES: Unit = Unit::Cores;

    #[test]
    fn reads_percentages_and_amounts() {
        for (text, meant) in [
            ("80%", Intensity::Percent(80.0)),
            (" 12.5 % ", Intensity::Percent(12.5)),
            ("10000%", Intensity::Percent(10_000.0)),
            ("0.4", Intensity::Amount(0.4, CORES)),
            ("0.4 cores", Intensity::Amount(0.4, CORES)),
        ] {
            assert_eq!(Intensity::parse(text, CORES), Ok(meant), "{text}");
        }
        assert_eq!(
            Intensity::parse("2GB/s", Unit::BytesPerSecond),
            Ok(Intensity::Amount(2e9, Unit::BytesPerSecond))
        );
    }

    #[test]
    fn refuses_what_is_no_intensity_and_says_what_is() {
        for bad in ["", "%", "cores", "80 percent", "NaN", "NaN%", "inf", "1e999", "0x10", "80%%", "--"] {
            let error = Intensity::parse(bad, CORES).unwrap_err();
            assert!(error.to_string().contains("80%"), "{bad}: {error}");
        }
        for bad in ["0%", "-1%", "10000.1%", "0", "-0.4 cores"] {
            assert!(Intensity::parse(bad, CORES).unwrap_err().to_string().contains("out of range"), "{bad}");
        }
    }

    #[test]
    fn a_percentage_is_of_the_limit_and_without_one_of_the_node() {
        let resolve =
            |text: &str, limit, node| Intensity::parse(text, CORES).unwrap().resolve(CORES, limit, node);
        assert_eq!(resolve("80%", Some(0.2), Some(2.0)), Ok((0.2 * 80.0 / 100.0, Basis::TargetLimit)));
        assert_eq!(resolve("50%", None, Some(2.0)), Ok((1.0, Basis::Node)));
        assert_eq!(resolve("0.4", Some(0.2), None), Ok((0.4, Basis::Absolute)));
        assert!(resolve("50%", None, None).unwrap_err().to_string().contains("of what?"));
    }

    #[test]
    fn more_than_the_node_has_is_refused() {
        for text in ["2.1", "101%"] {
            let error = Intensity::parse(text, CORES).unwrap().resolve(CORES, None, Some(2.0)).unwrap_err();
            assert!(error.to_string().contains("more than the 2.0000 cores"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,20}") {
            let _ = Intensity::parse(&text, Unit::BytesPerSecond);
        }

        #[test]
        fn all_of_a_node_is_no_more_than_it_has(node in 1e-3..1e15) {
            let (all, _) = Intensity::Percent(100.0).resolve(Unit::BytesPerSecond, None, Some(node)).unwrap();
            prop_assert!((all / node - 1.0).abs() < 1e-12, "{}", all);
        }
    }
}
