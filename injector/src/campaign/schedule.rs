//! What happens when: drawn before anything is done, so that it can be looked at first, and done again.
//!
//! Pure. The same campaign comes to the same schedule on any machine.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    bounds::MOST_INJECTIONS,
    draw::Draw,
    file::{Chance, Drawn, Fixed, Place, Plan},
};

/// Chance is drawn in milliseconds: finer is no use to anybody who reads it.
const STEP_MS: u128 = 1;

/// One injection, as it will be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scheduled {
    /// Counted from 1, in the order of their begins.
    pub number: usize,
    /// From the campaign's begin, in milliseconds.
    pub at_ms: u64,
    /// How long.
    pub duration_ms: u64,
    /// Its kind.
    pub kind: String,
    /// Its intensity; absent for kinds that have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intensity: Option<String>,
    /// `target`, `beside`, `node` or `url`.
    pub place: &'static str,
    /// The cgroup concerned; absent for the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The service that is asked, where that is the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Further options, as on the command line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Scheduled {
    /// When it begins.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }

    /// How it is asked for: the arguments of this program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.kind.clone()];
        match &self.url {
            Some(url) => arguments.push(url.clone()),
            None => arguments.push(format!("--{}", self.place)),
        }
        arguments.extend(self.cgroup.clone());
        if let Some(intensity) = &self.intensity {
            arguments.extend(["--intensity".to_owned(), intensity.clone()]);
        }
        arguments.extend(["--duration".to_owned(), format!("{}ms", self.duration_ms)]);
        arguments.extend(self.options.iter().cloned());
        arguments
    }
}

/// All injections of a campaign, in the order of their begins: at most [`MOST_INJECTIONS`].
#[must_use]
pub fn schedule(plan: &Plan) -> Vec<Scheduled> {
    schedule_to(plan, MOST_INJECTIONS)
}

/// The same, but nothing is drawn once there are `most`: with fewer, it is all of them.
pub(super) fn schedule_to(plan: &Plan, most: usize) -> Vec<Scheduled> {
    let mut scheduled: Vec<_> = plan.fixed.iter().map(planned).collect();
    for (number, chance) in (0..).zip(&plan.chances) {
        let room = most.saturating_sub(scheduled.len());
        scheduled.extend(by_chance(chance, plan.duration, room, Draw::new(plan.seed, number)));
    }
    scheduled.sort_by_key(|injection| injection.at_ms);
    for (number, injection) in (1..).zip(&mut scheduled) {
        injection.number = number;
    }
    scheduled
}

fn planned(fixed: &Fixed) -> Scheduled {
    let Fixed { at, duration, kind, intensity, place, options } = fixed;
    injection(*at, *duration, kind, intensity.clone(), place, options)
}

fn by_chance(chance: &Chance, end: Duration, room: usize, mut draw: Draw) -> Vec<Scheduled> {
    let mut drawn = Vec::new();
    let mut earliest = Duration::ZERO;
    while drawn.len() < room {
        let at = earliest + draw.gap(chance.mean_gap);
        let (kind, place) = (draw.one(&chance.kinds), draw.one(&chance.places));
        let (duration, part) = (draw.time(chance.duration), draw.part());
        let Some(Drawn { kind, intensity, url, options }) = kind else { break };
        let Some(place) = url.clone().map(Place::Url).or_else(|| place.cloned()) else { break };
        if at > end {
            break;
        }
        let intensity = intensity.as_ref().map(|range| range.at(part));
        drawn.push(injection(at, duration, kind, intensity, &place, options));
        earliest = if chance.overlap { at } else { at + duration };
    }
    drawn
}

fn injection(
    at: Duration,
    duration: Duration,
    kind: &str,
    intensity: Option<String>,
    place: &Place,
    options: &BTreeMap<String, toml::Value>,
) -> Scheduled {
    let (place, cgroup, url) = match place {
        Place::Target(cgroup) => ("target", Some(cgroup.clone()), None),
        Place::Beside(cgroup) => ("beside", Some(cgroup.clone()), None),
        Place::Node(_) => ("node", None, None),
        Place::Url(url) => ("url", None, Some(url.clone())),
    };
    let options = options.iter().flat_map(|(name, value)| option(name, value)).collect();
    let (at_ms, duration_ms) = (whole_ms(at), whole_ms(duration));
    Scheduled { number: 0, at_ms, duration_ms, kind: kind.to_owned(), intensity, place, cgroup, url, options }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / STEP_MS).unwrap_or(u64::MAX)
}

/// A flag that is `true` has no value; one that is `false` is not there; one with a list is there several times.
fn option(name: &str, value: &toml::Value) -> Vec<String> {
    let flag = format!("--{name}");
    match value {
        toml::Value::Boolean(true) => vec![flag],
        toml::Value::Boolean(false) => Vec::new(),
        toml::Value::String(text) => vec![flag, text.clone()],
        toml::Value::Array(values) => values.iter().flat_map(|value| option(name, value)).collect(),
        other => vec![flag, other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Plan {
        Plan::parse(crate::campaign::EXAMPLE).unwrap()
    }

    #[test]
    fn what_is_planned_is_asked_for_as_a_person_would() {
        let plan = Plan { chances: Vec::new(), ..example() };
        let asked: Vec<_> = schedule(&plan).iter().map(|injection| injection.arguments().join(" ")).collect();
        assert_eq!(
            asked,
            [
                "cpu --target ballast-demo/geo --intensity 80% --duration 20000ms --threads 4",
                "pause --target ballast-demo/rate --duration 2000ms",
                "load http://127.0.0.1:8080/ --intensity 100 --duration 30000ms --burst-gap 10s --burst-length 2s \
                 --burst-to 800",
            ]
        );
    }

    #[test]
    fn a_list_is_an_option_given_several_times() {
        let header = ["Accept: a", "X: b"].map(|text| toml::Value::String(text.to_owned())).to_vec();
        assert_eq!(
            option("header", &toml::Value::Array(header)),
            ["--header", "Accept: a", "--header", "X: b"]
        );
    }

    #[test]
    fn a_kind_with_a_url_is_nowhere_else() {
        let mut plan = example();
        plan.fixed.clear();
        let loads = plan.chances.remove(1).kinds;
        plan.chances[0].kinds.extend(loads);
        let scheduled = schedule(&plan);
        let (loads, others): (Vec<_>, Vec<_>) =
            scheduled.iter().partition(|injection| injection.kind == "load");
        assert!(loads.len() > 1 && others.len() > 1, "{scheduled:?}");
        assert!(loads.iter().all(|load| load.place == "url" && load.cgroup.is_none()), "{loads:?}");
        assert!(others.iter().all(|other| other.place != "url" && other.url.is_none()), "{others:?}");
    }

    #[test]
    fn gaps_are_as_long_as_they_should_be_on_the_average() {
        let mut plan = example();
        plan.fixed.clear();
        plan.chances.truncate(1);
        plan.duration = Duration::from_secs(86_400);
        plan.chances[0].overlap = true;
        let scheduled = schedule(&plan);
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let mean = 86_400.0 / scheduled.len() as f64;
        // 4320 expected: the standard error is 1.5 %.
        assert!((mean - 20.0).abs() < 1.2, "{mean}");
        let on_the_node = scheduled.iter().filter(|injection| injection.place == "node").count();
        assert!((1200..1700).contains(&on_the_node), "a third: {on_the_node}");
    }

    proptest! {
        #[test]
        fn the_same_seed_comes_to_the_same(seed in any::<u64>()) {
            let plan = Plan { seed, ..example() };
            prop_assert_eq!(schedule(&plan), schedule(&plan));
            let another = Plan { seed: seed.wrapping_add(1), ..example() };
            prop_assert_ne!(schedule(&plan), schedule(&another));
        }

        #[test]
        fn what_may_not_overlap_does_not(seed in any::<u64>()) {
            let mut plan = Plan { seed, ..example() };
            plan.fixed.clear();
            plan.chances.truncate(1);
            let scheduled = schedule(&plan);
            for pair in scheduled.windows(2) {
                prop_assert!(pair[0].at_ms + pair[0].duration_ms <= pair[1].at_ms + 1);
                prop_assert_eq!(pair[0].number + 1, pair[1].number);
            }
            for injection in &scheduled {
                prop_assert!(injection.at() <= plan.duration);
                prop_assert!((5_000..=20_000).contains(&injection.duration_ms));
            }
        }
    }
}
