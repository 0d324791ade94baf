//! Limits that somebody else changed while they were lent (a person, kubelet, systemd's daemon-reload): noticed, told, and
//! left to them for a while. What an injection holds is none of these: it comes back by itself.
//!
//! Writes no limit: what was found is the container's own from then on. What a lent quota has held down of the burst
//! comes back as far as theirs allows.

use std::time::Duration;

use ballast_api::{Limits, PerResource, Resource, with_causes};
use tracing::warn;

use super::Lender;
use crate::{controls::Reading, discovery::Place};

/// How long a limit is left alone after somebody else changed it; doubled with each further time, up to [`LONGEST_HOLD`].
/// Whoever changes it again and again is not fought every second.
const FIRST_HOLD: Duration = Duration::from_secs(60);
const LONGEST_HOLD: Duration = Duration::from_secs(3600);

/// What a container's limits are left alone for.
#[derive(Debug, Clone, Default)]
pub(super) struct Hold {
    /// As they were found.
    found: Limits,
    until: Duration,
    times: u32,
    /// What was made of the resctrl group, in resctrl's words: other words are another change.
    group: Option<String>,
}

impl Hold {
    /// The limits that are not to be touched now, as they were found.
    pub(super) fn at(&self, now: Duration) -> Limits {
        if now < self.until { self.found } else { Limits::default() }
    }

    /// The same, told to people.
    pub(super) fn told(&self, now: Duration) -> PerResource<String> {
        let held = self.at(now);
        let seconds = self.until.saturating_sub(now).as_secs();
        PerResource::from_fn(|resource| {
            let is_held = held.named().any(|named: Resource| named == resource);
            is_held.then(|| format!("somebody else set {held}; it is left alone for {seconds} s"))
        })
    }

    fn begin(&mut self, found: Limits, now: Duration) {
        let pause = FIRST_HOLD.saturating_mul(1 << self.times.min(16)).min(LONGEST_HOLD);
        (self.found, self.until, self.times) = (found.or(self.at(now)), now + pause, self.times + 1);
    }

    /// The limits of a resctrl group that somebody else has changed, both of them, whichever was changed; nothing when that is
    /// known already.
    fn news_of_group(&mut self, reading: &Reading) -> Limits {
        let (words, found) = reading.disturbed().unzip();
        let is_news = words.is_some() && words != self.group.as_deref();
        self.group = words.map(str::to_owned);
        found.filter(|_| is_news).unwrap_or_default()
    }
}

impl Lender {
    /// Reads what is in force where something is lent, and compares.
    pub(super) fn notice_drift_of(&mut self, place: &Place, now: Duration) {
        // What is there under the path of a container that is gone is another one's.
        let Some(loan) = self.loans.get(place).filter(|_| self.exists(place)) else { return };
        // What cannot be read is gone, or is told by whoever needs it.
        if let Ok(reading) = self.means.machine.controls(&place.path, &loan.devices).limits() {
            self.notice_drift(place, &reading, now);
        }
    }

    /// Compares what is in force with what is lent. What differs is lent no longer: but for a resctrl group, which is Ballast's
    /// own and goes with the loan, whoever changed it; and but for what an injection holds for a while, after which what is lent
    /// is in force again.
    pub(super) fn notice_drift(&mut self, place: &Place, reading: &Reading, now: Duration) {
        let Some(loan) = self.loans.get_mut(place) else { return };
        loan.lent = reading.arranged().among(&loan.lent).or(loan.lent);
        let container = self.containers.values_mut().find(|container| container.place == *place);
        let of_group = container.map(|container| container.hold.news_of_group(reading)).unwrap_or_default();
        let found = of_group.or(reading.limits.without(&reading.injected()).differing(&loan.lent));
        if found == Limits::default() {
            return;
        }
        let controls = self.means.machine.controls(&place.path, &loan.devices);
        if let Err(error) =
            controls.give_back(&Limits { cpu: found.cpu, ..Limits::default() }, loan.cpu_burst_us).whole()
        {
            warn!(cgroup = %place.path, error = with_causes(&error), "burst not given back");
        }
        let lent = loan.lent.among(&found);
        warn!(cgroup = %place.path, %lent, %found, "somebody else changed a limit that was lent: it is left to them");
        self.means.metrics.drifts.inc();
        let of_group =
            Limits { llc: found.llc, memory_bandwidth: found.memory_bandwidth, ..Limits::default() };
        loan.lent = of_group.among(&loan.lent).or(loan.lent.without(&found));
        loan.baseline = loan.baseline.without(&found.without(&of_group));
        if loan.baseline == Limits::default() {
            self.loans.remove(place);
        }
        self.shorten_journal(now);
        if let Some(container) = self.containers.values_mut().find(|container| container.place == *place) {
            container.hold.begin(found, now);
        }
        self.count_loans();
    }
}
