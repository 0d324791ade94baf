//! How much load is asked for: a percentage of what the target may use, or a number of cores.
//!
//! Pure. Must not know where limits are read.

use std::{fmt, str::FromStr};

use ballast_api::{Cores, Limit};
use serde::Serialize;

/// The largest percentage accepted: a hundred times the limit.
const MOST_PERCENT: f64 = 10_000.0;

/// An intensity as the user writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Intensity {
    /// Of the target's CPU limit, or of the node when there is none: in (0, 10000].
    Percent(f64),
    /// More than zero.
    Cores(Cores),
}

/// What a requested intensity refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A percentage of the target's CPU limit.
    TargetLimit,
    /// A percentage of all cores of the node, because the target has no limit.
    Node,
    /// Cores, as asked.
    Absolute,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TargetLimit => "of the target's CPU limit",
            Self::Node => "of the node's cores: the target has no CPU limit",
            Self::Absolute => "as asked",
        })
    }
}

/// Why an intensity cannot be injected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidIntensity {
    /// It is no intensity at all.
    #[error("{0:?} is no intensity: write a percentage such as 80%, or cores such as 0.4")]
    Syntax(String),
    /// A percentage out of range.
    #[error("{0} % is out of range: it must be more than 0 and at most {MOST_PERCENT} %")]
    Percent(f64),
    /// Zero or negative cores.
    #[error("{0} cores are out of range: it must be more than 0")]
    NotPositive(f64),
    /// More than the machine has.
    #[error("{asked:.3} are more than the {node:.0} of this node: ask for less")]
    TooManyCores {
        /// What was asked, in cores.
        asked: Cores,
        /// What the node has.
        node: Cores,
    },
}

impl FromStr for Intensity {
    type Err = InvalidIntensity;

    fn from_str(text: &str) -> Result<Self, InvalidIntensity> {
        let number = |digits: &str| {
            let number = digits.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| InvalidIntensity::Syntax(text.chars().take(80).collect()))
        };
        let written = text.trim();
        if let Some(digits) = written.strip_suffix('%') {
            let percent = number(digits)?;
            return if percent > 0.0 && percent <= MOST_PERCENT {
                Ok(Self::Percent(percent))
            } else {
                Err(InvalidIntensity::Percent(percent))
            };
        }
        let digits =
            written.strip_suffix("cores").or_else(|| written.strip_suffix("core")).unwrap_or(written);
        let cores = number(digits)?;
        match Cores::new(cores) {
            Ok(cores) if cores > Cores::ZERO => Ok(Self::Cores(cores)),
            _ => Err(InvalidIntensity::NotPositive(cores)),
        }
    }
}

impl fmt::Display for Intensity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Cores(cores) => write!(f, "{cores}"),
        }
    }
}

impl Intensity {
    /// The same in cores, for a target with this limit on a node with so many cores.
    ///
    /// # Errors
    /// When it is more than the node has.
    pub fn resolve(self, limit: Limit<Cores>, node: Cores) -> Result<(Cores, Basis), InvalidIntensity> {
        let (asked, basis) = match (self, limit) {
            (Self::Cores(cores), _) => (cores, Basis::Absolute),
            (Self::Percent(percent), Limit::At(limit)) => {
                (Cores::saturating(limit.get() * percent / 100.0), Basis::TargetLimit)
            }
            (Self::Percent(percent), Limit::Max) => {
                (Cores::saturating(node.get() * percent / 100.0), Basis::Node)
            }
        };
        if asked > node { Err(InvalidIntensity::TooManyCores { asked, node }) } else { Ok((asked, basis)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cores(value: f64) -> Cores {
        Cores::new(value).unwrap()
    }

    #[test]
    fn reads_percentages_and_cores() {
        for (text, meant) in [
            ("80%", Intensity::Percent(80.0)),
            (" 12.5 % ", Intensity::Percent(12.5)),
            ("10000%", Intensity::Percent(10_000.0)),
            ("0.4", Intensity::Cores(cores(0.4))),
            ("0.4 cores", Intensity::Cores(cores(0.4))),
            ("1core", Intensity::Cores(cores(1.0))),
        ] {
            assert_eq!(text.parse(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_intensity_and_says_what_is() {
        for bad in ["", "%", "cores", "80 percent", "NaN", "inf", "1e999", "0x10", "80%%", "--"] {
            let error = bad.parse::<Intensity>().unwrap_err();
            assert!(error.to_string().contains("80%"), "{bad}: {error}");
        }
        for bad in ["0%", "-1%", "10000.1%", "0", "-0.4 cores"] {
            assert!(bad.parse::<Intensity>().unwrap_err().to_string().contains("out of range"), "{bad}");
        }
    }

    #[test]
    fn a_percentage_is_of_the_limit_and_without_one_of_the_node() {
        let resolve =
            |text: &str, limit| text.parse::<Intensity>().unwrap().resolve(limit, cores(2.0)).unwrap();
        assert_eq!(resolve("80%", Limit::At(cores(0.2))), (cores(0.2 * 80.0 / 100.0), Basis::TargetLimit));
        assert_eq!(resolve("50%", Limit::Max), (cores(1.0), Basis::Node));
        assert_eq!(resolve("0.4", Limit::At(cores(0.2))), (cores(0.4), Basis::Absolute));
    }

    #[test]
    fn more_than_the_node_has_is_refused() {
        for text in ["2.1", "101%"] {
            let error = text.parse::<Intensity>().unwrap().resolve(Limit::Max, cores(2.0)).unwrap_err();
            assert!(error.to_string().contains("more than the 2 cores"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(percent in 0.001..10_000.0_f64, cores in 0.001..512.0_f64) {
            for intensity in [Intensity::Percent(percent), Intensity::Cores(Cores::new(cores).unwrap())] {
                prop_assert_eq!(intensity.to_string().parse(), Ok(intensity));
            }
        }

        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,20}") {
            let _ = text.parse::<Intensity>();
        }
    }
}
