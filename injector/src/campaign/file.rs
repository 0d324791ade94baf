//! What a campaign is, as its file says it.
//!
//! Pure. Must not know which kinds there are: that is the command line's to judge.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer};

use super::range::Range;

/// A campaign.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Goes into the ground truth, with the number of each injection.
    #[serde(default = "unnamed")]
    pub name: String,
    /// Of all chance in it.
    #[serde(default)]
    pub seed: u64,
    /// Nothing begins after it; what has begun ends in its own time.
    #[serde(deserialize_with = "time")]
    pub duration: Duration,
    /// Injections that are planned.
    #[serde(default, rename = "injection")]
    pub fixed: Vec<Fixed>,
    /// Injections by chance; each of these goes on by itself.
    #[serde(default, rename = "random")]
    pub chances: Vec<Chance>,
}

/// One injection that is planned.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "FixedKeys")]
pub struct Fixed {
    /// When, from the campaign's begin.
    pub at: Duration,
    /// How long.
    pub duration: Duration,
    /// `cpu` and so on: a subcommand of this program.
    pub kind: String,
    /// As after `--intensity`; absent for kinds that have none.
    pub intensity: Option<String>,
    /// Where.
    pub place: Place,
    /// Further options of the kind, as after `--`: `{ threads = 4 }`.
    pub options: BTreeMap<String, toml::Value>,
}

/// The same, key for key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FixedKeys {
    #[serde(deserialize_with = "time")]
    at: Duration,
    #[serde(deserialize_with = "time")]
    duration: Duration,
    kind: String,
    intensity: Option<String>,
    target: Option<String>,
    beside: Option<String>,
    #[serde(default)]
    node: bool,
    url: Option<String>,
    #[serde(default)]
    options: BTreeMap<String, toml::Value>,
}

impl TryFrom<FixedKeys> for Fixed {
    type Error = String;

    fn try_from(keys: FixedKeys) -> Result<Self, String> {
        let FixedKeys { at, duration, kind, intensity, target, beside, node, url, options } = keys;
        let place = match (target, beside, node, url) {
            (Some(target), None, false, None) => Place::Target(target),
            (None, Some(beside), false, None) => Place::Beside(beside),
            (None, None, true, None) => Place::Node(true),
            (None, None, false, Some(url)) => Place::Url(url),
            _ => return Err("give one of `target`, `beside`, `node = true` and, for load, `url`".to_owned()),
        };
        Ok(Self { at, duration, kind, intensity, place, options })
    }
}

/// Where, as on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In this cgroup.
    Target(String),
    /// Beside it.
    Beside(String),
    /// On the node: `node = true`.
    Node(bool),
    /// A service that is asked. No place for most kinds: in `[[random]]` it is told with the kind that needs it.
    #[serde(skip)]
    Url(String),
}

/// Injections by chance: at exponential gaps, one of these kinds at one of these places.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    /// Those that are drawn from, each as likely.
    pub kinds: Vec<Drawn>,
    /// Those that are drawn from, each as likely, for kinds without a URL of their own.
    #[serde(default)]
    pub places: Vec<Place>,
    /// The mean of the exponential gaps: from one's begin to the next one's, or from its end where they may not overlap.
    #[serde(deserialize_with = "time")]
    pub mean_gap: Duration,
    /// The shortest and the longest, uniform between.
    pub duration: Times,
    /// Whether one may begin while another of this list is there.
    #[serde(default)]
    pub overlap: bool,
}

/// A kind of which an intensity is drawn, uniform in its range.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// `cpu` and so on.
    pub kind: String,
    /// As `20%..90%`; absent for kinds that have none.
    pub intensity: Option<Range>,
    /// The service that is asked, for a kind that has no other place.
    pub url: Option<String>,
    /// As in [`Fixed`].
    #[serde(default)]
    pub options: BTreeMap<String, toml::Value>,
}

/// A range of times, as `5s..30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Times {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl std::str::FromStr for Times {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let time = |text: &str| {
            humantime::parse_duration(text.trim()).map_err(|error| format!("{error}; write 5s..30s"))
        };
        match (time(from)?, time(to)?) {
            (from, to) if from > to => Err(format!("{text:?} ends before it begins")),
            (from, to) => Ok(Self { from, to }),
        }
    }
}

impl TryFrom<String> for Times {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn unnamed() -> String {
    "campaign".to_owned()
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("{error}; write 20s or 1m 30s")))
}

impl Plan {
    /// Reads a campaign from the text of its file.
    ///
    /// # Errors
    /// A sentence that says where and what.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        plan.check().map(|()| plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::campaign::EXAMPLE;

    #[test]
    fn the_example_is_a_campaign() {
        let plan = Plan::parse(EXAMPLE).unwrap();
        assert_eq!((plan.seed, plan.fixed.len(), plan.chances.len()), (7, 3, 2));
        assert_eq!(plan.fixed[0].place, Place::Target("ballast-demo/geo".to_owned()));
        assert_eq!(plan.chances[0].kinds.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, to, told) in [
            ("seed = 7", "sead = 7", "sead"),
            ("at = \"30s\"", "at = \"soon\"", "write 20s"),
            ("at = \"30s\"", "at = \"2h\"", "after the campaign"),
            ("duration = \"10m\"", "duration = \"2days\"", "at most 1day"),
            ("20%..90%", "90%..20%", "ends before it begins"),
            ("5s..20s", "20s..5s", "ends before it begins"),
            ("mean_gap = \"20s\"", "mean_gap = \"1us\"", "too short"),
            ("target = \"ballast-demo/geo\"", "where = \"ballast-demo/geo\"", "where"),
            ("target = \"ballast-demo/geo\"", "", "give one of"),
            ("target = \"ballast-demo/geo\"", "target = \"a\"\nnode = true", "give one of"),
            ("target = \"ballast-demo/geo\"", "target = \"a\"\nurl = \"http://a/\"", "give one of"),
            ("{ node = true }", "{ url = \"http://a/\" }", "unknown variant `url`"),
            ("kind = \"load\", url = ", "kind = \"load\", uri = ", "uri"),
        ] {
            assert!(EXAMPLE.contains(from), "{from}");
            let error = Plan::parse(&EXAMPLE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(told), "{told}: {error}");
        }
        assert!(Plan::parse("duration = \"1m\"").unwrap_err().contains("nothing to inject"));
    }
}
