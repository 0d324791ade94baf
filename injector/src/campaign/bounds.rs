//! How large a campaign may be, told before any of it is drawn: a small file may ask for much.
//!
//! Pure. Must not know how injections are drawn.

use std::{collections::BTreeMap, time::Duration};

use super::file::{Chance, Drawn, Fixed, Place, Plan};

/// The longest campaign: a day. No time in one is longer.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The most injections that a campaign may come to.
pub const MOST_INJECTIONS: usize = 100_000;

/// The most text that the command lines of all its injections may have, in bytes.
pub const MOST_TEXT: usize = 64 << 20;

/// The longest name of a campaign, in characters: the ground truth of each injection has it.
const LONGEST_NAME: usize = 64;

/// The longest number that is drawn: `f64::MAX` with four decimals.
const LONGEST_AMOUNT: usize = 320;

/// What each argument costs beside its text.
const OF_EACH: usize = size_of::<String>();

impl Plan {
    /// What no single field tells: whether it is all within bounds.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.duration > LONGEST || self.duration.is_zero() {
            return Err("the campaign's duration must be more than 0 and at most 1day".to_owned());
        }
        let letters = self.name.chars().count();
        if letters > LONGEST_NAME {
            return Err(format!(
                "the campaign's name has {letters} characters: at most {LONGEST_NAME} are taken"
            ));
        }
        if self.fixed.is_empty() && self.chances.is_empty() {
            return Err("there is nothing to inject: add [[injection]] or [[random]]".to_owned());
        }
        if let Some(late) = self.fixed.iter().find(|fixed| fixed.at > self.duration) {
            return Err(format!("the {} injection at {:?} begins after the campaign", late.kind, late.at));
        }
        self.chances.iter().try_for_each(Chance::check)?;
        self.check_size()
    }

    fn check_size(&self) -> Result<(), String> {
        let (mut injections, mut text) = (self.fixed.len(), 0_usize);
        for fixed in &self.fixed {
            text = text.saturating_add(fixed.text());
        }
        for chance in &self.chances {
            let most = chance.most_injections(self.duration);
            injections = injections.saturating_add(most);
            text = text.saturating_add(most.saturating_mul(chance.text_of_each()));
        }
        if injections > MOST_INJECTIONS {
            return Err(format!(
                "it may come to more than {MOST_INJECTIONS} injections: mean gaps are too short for that campaign"
            ));
        }
        if text > MOST_TEXT {
            return Err(format!(
                "its command lines may come to more than {} MiB: options are too long for so many injections",
                MOST_TEXT >> 20
            ));
        }
        Ok(())
    }
}

impl Chance {
    fn check(&self) -> Result<(), String> {
        let have_places = !self.places.is_empty() || self.kinds.iter().all(|kind| kind.url.is_some());
        if self.kinds.is_empty() || !have_places {
            return Err("[[random]] needs at least one kind, and one place or, for load, `url`".to_owned());
        }
        if self.places.contains(&Place::Node(false)) {
            return Err("`node = false` is no place".to_owned());
        }
        if self.mean_gap > LONGEST || self.duration.to > LONGEST {
            return Err("mean gaps and durations must be at most 1day".to_owned());
        }
        Ok(())
    }

    /// Chance gives more than twice of what is expected, and one, never: they are far too many, or hardly any.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; is not negative")]
    fn most_injections(&self, of: Duration) -> usize {
        let expected = of.as_secs_f64() / self.mean_gap.as_secs_f64();
        ((2.0 * expected) as usize).saturating_add(1)
    }

    fn text_of_each(&self) -> usize {
        let kind = self.kinds.iter().map(Drawn::text).max().unwrap_or_default();
        kind.saturating_add(self.places.iter().map(Place::text).max().unwrap_or_default())
    }
}

impl Fixed {
    fn text(&self) -> usize {
        let intensity = self.intensity.as_ref().map_or(0, String::len);
        sum([self.kind.len(), intensity, self.place.text(), text_of(&self.options)])
    }
}

impl Drawn {
    fn text(&self) -> usize {
        let intensity = self.intensity.as_ref().map_or(0, |range| range.unit().len() + LONGEST_AMOUNT);
        sum([self.kind.len(), intensity, self.url.as_ref().map_or(0, String::len), text_of(&self.options)])
    }
}

impl Place {
    fn text(&self) -> usize {
        match self {
            Self::Target(text) | Self::Beside(text) | Self::Url(text) => text.len(),
            Self::Node(_) => 0,
        }
    }
}

fn text_of(options: &BTreeMap<String, toml::Value>) -> usize {
    sum(options.iter().map(|(name, value)| text_of_one(name, value)))
}

/// As [`mod@super::schedule`] writes it, without that it is written: a list has its option's name with each value.
fn text_of_one(name: &str, value: &toml::Value) -> usize {
    match value {
        toml::Value::Array(values) => sum(values.iter().map(|value| text_of_one(name, value))),
        toml::Value::String(text) => sum([name.len(), text.len(), 2 * OF_EACH]),
        other => sum([name.len(), other.to_string().len(), 2 * OF_EACH]),
    }
}

fn sum(parts: impl IntoIterator<Item = usize>) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(duration: &str, rest: &str) -> Result<Plan, String> {
        Plan::parse(&format!("duration = \"{duration}\"\n{rest}"))
    }

    fn random(gap: &str, each: &str, kind: &str) -> String {
        format!(
            "[[random]]\nmean_gap = \"{gap}\"\nduration = \"{each}\"\noverlap = true\n\
             places = [{{ node = true }}]\nkinds = [{{ kind = \"cpu\", {kind} }}]\n"
        )
    }

    #[test]
    fn a_name_is_short() {
        let named =
            |name: &str| plan("1m", &format!("name = '{name}'\n{}", random("20s", "1s", "intensity = '1'")));
        assert!(named(&"ä".repeat(LONGEST_NAME)).is_ok());
        let error = named(&"x".repeat(65)).unwrap_err();
        assert!(error.contains("has 65 characters: at most 64"), "{error}");
    }

    #[test]
    fn a_small_file_cannot_ask_for_too_much() {
        let cpu = "intensity = \"1\"";
        let list = format!("options = {{ {} = [{}] }}", "n".repeat(1000), "1,".repeat(1000));
        for (text, told) in [
            (random("1s", "1s", cpu), "too short"),
            (random("5s", "1s", cpu).repeat(3), "too short"),
            (random("0s", "1s", cpu), "too short"),
            (random("500000000000years", "1s", cpu), "at most 1day"),
            (random("20s", "1s..500000000000years", cpu), "at most 1day"),
            (random("1m", "1s", &list), "too long"),
            (random("2s", "1s", &format!("intensity = \"1{}\"", "x".repeat(2000))), "too long"),
            (random("20s", "1s", cpu).replace("node = true", "node = false"), "no place"),
            (
                format!(
                    "[[injection]]\nat = \"0s\"\nduration = \"1s\"\nkind = \"cpu\"\nnode = true\n{}",
                    list.replace(&"n".repeat(1000), &"n".repeat(80_000))
                ),
                "too long",
            ),
        ] {
            let error = plan("1day", &text).unwrap_err();
            assert!(error.contains(told), "{told}: {error}");
        }
    }
}
