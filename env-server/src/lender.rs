//! Who has been lent what, until when, and how it is taken back. A limit that is not the container's own is in the
//! journal before it is in the kernel, and leaves the journal after it has left the kernel.
//!
//! Waits for nothing and reads no clock: time is passed in, so that a test lives through hours in an instant. Must not
//! know of HTTP.

mod check;
mod container;
mod drift;
mod give_back;
mod lend;
mod loan;
mod look;
mod networks;
mod records;
mod sample;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ballast_api::{
    Capability, Clock, ContainerName, ContainerState, EgressIngress, Limit, Limits, NodeError, PerResource,
    Plan, PlanOutcome, with_causes,
};
use ballast_kernel::{KernelError, network::Presence};
use tracing::warn;

use crate::{
    controls::{Controls, Reading},
    discovery::{Discovery, Place},
    journal::{Journal, JournalError},
    machine::Machine,
    metrics::{Cause, Metrics, PlanResult},
};
use check::Change;
use container::Container;
use drift::Hold;
use loan::Loan;
use records::Overdue;

/// In how many rounds of samples leftovers are looked for once a container that was lent something is gone: the kernel
/// removes its network interface when it comes to it.
const SWEEPS: u32 = 5;

/// What a lender works with.
pub struct Means {
    /// What there is to lend.
    pub machine: Machine,
    /// Finds the containers.
    pub discovery: Discovery,
    /// Samples of a container are at least half of this apart.
    pub sample_interval: Duration,
    /// Dates the samples.
    pub clock: Arc<dyn Clock>,
    /// Counts what is done.
    pub metrics: Arc<Metrics>,
    /// Remembers baselines; the caller holds its folder.
    pub journal: Journal,
}

/// The books of one node. Times are measured from any fixed moment, the same in all calls.
pub struct Lender {
    means: Means,
    containers: BTreeMap<ContainerName, Container>,
    loans: BTreeMap<Place, Loan>,
    /// Where the journal says more than the books.
    overdue: Option<Overdue>,
    /// Why cgroups were passed over at the last look.
    skipped: BTreeSet<String>,
    /// In how many rounds of samples to come leftovers are looked for.
    sweeps_due: u32,
    /// Keeps other env-servers from taking what is lent for leftovers.
    _presence: Option<Presence>,
    /// What failed in the last round of samples.
    not_sampled: BTreeSet<String>,
    closed: bool,
}

impl Lender {
    /// Opens the books: first restores every baseline that an earlier env-server left in the journal. What cannot be
    /// restored stays lent and is tried again by [`Self::expire`].
    ///
    /// # Errors
    /// When the journal cannot be read; then no limit was changed.
    pub fn open(means: Means, now: Duration) -> Result<Self, JournalError> {
        let loans: BTreeMap<_, _> =
            means.journal.load()?.into_iter().map(|entry| Loan::of(entry, now)).collect();
        let owed = loans.values().filter_map(|loan: &Loan| loan.owed().network);
        let presence = means.machine.join_network(&owed.collect::<Vec<_>>());
        let mut lender = Self {
            means,
            containers: BTreeMap::new(),
            loans,
            overdue: None,
            skipped: BTreeSet::new(),
            sweeps_due: 0,
            _presence: presence,
            not_sampled: BTreeSet::new(),
            closed: false,
        };
        lender.restore_loans(lender.loans.keys().cloned().collect(), Cause::Restart, now);
        lender.means.machine.sweep();
        Ok(lender)
    }

    /// Every container, in the order of their names.
    ///
    /// # Errors
    /// [`NodeError::Internal`] when the kernel's files cannot be read.
    pub fn containers(&mut self, now: Duration) -> Result<Vec<ContainerState>, NodeError> {
        self.look_around().map_err(|error| internal(&error))?;
        let mut readings = Vec::new();
        for container in self.containers.values() {
            match container.controls.limits() {
                Ok(reading) => readings.push((container.place.clone(), reading)),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(internal(&error)),
            }
        }
        for (place, reading) in &readings {
            self.notice_drift(place, reading, now);
        }
        let mut readings: BTreeMap<_, _> = readings.into_iter().collect();
        let state = |(name, container): (&ContainerName, &Container)| {
            Some(self.state(name, container, readings.remove(&container.place)?, now))
        };
        Ok(self.containers.iter().filter_map(state).collect())
    }

    fn state(&self, name: &ContainerName, of: &Container, reading: Reading, now: Duration) -> ContainerState {
        let loan = self.loans.get(&of.place);
        let rates = of.history.rates();
        let (astray, under_injection) = (reading.astray(), reading.under_injection());
        // What an injection has put in force is nobody's own.
        let own = reading.limits.without(&reading.injected());
        let Reading { limits, failed, .. } = reading;
        ContainerState {
            name: name.clone(),
            source: of.about.source,
            labels: of.about.told_labels(),
            usage: rates.as_ref().map(|rates| rates.usage),
            throttling: rates.as_ref().and_then(|rates| rates.throttling),
            unmeasured: rates.map(|rates| rates.unmeasured).unwrap_or_default(),
            limits,
            baseline: loan.map_or(own, |loan| loan.baseline.or(own)),
            missing: failed.or(of.missing.clone()),
            drift: under_injection.or(of.hold.told(now)).or(astray),
            sampled_at_unix_nanos: of.history.last().map_or_else(
                // The first sample failed: nothing is known yet.
                || self.means.clock.now(),
                |sample| sample.taken_at,
            ),
            generation: of.generation,
            lease_remaining_seconds: loan.map(|loan| loan.due.saturating_sub(now).as_secs_f64()),
        }
    }

    /// Lends limits, or renews what is lent.
    ///
    /// # Errors
    /// See [`NodeError`]; no limit is left changed but where [`NodeError::Internal`] says that undoing is being retried.
    pub fn apply(&mut self, plan: &Plan, now: Duration) -> Result<PlanOutcome, NodeError> {
        let outcome = self.ready().and_then(|()| {
            // What was read is still so when it is written.
            let _turn = self.means.machine.network_turn();
            let changes = self.check(plan, now)?;
            self.execute(plan, changes, now)
        });
        self.means.metrics.plan(match &outcome {
            Ok(outcome) if outcome.dry_run => PlanResult::DryRun,
            Ok(_) => PlanResult::Applied,
            Err(NodeError::WriteFailed { .. }) => PlanResult::Undone,
            Err(NodeError::Internal { .. }) => PlanResult::Failed,
            Err(_) => PlanResult::Refused,
        });
        self.count_loans();
        outcome
    }

    fn ready(&mut self) -> Result<(), NodeError> {
        if self.closed {
            return Err(NodeError::Internal { detail: "the env-server is shutting down".to_owned() });
        }
        self.look_around().map_err(|error| internal(&error))
    }

    fn check(&mut self, plan: &Plan, now: Duration) -> Result<Vec<Change>, NodeError> {
        let asked = plan.changes.iter().map(|change| &change.container);
        let asked = asked.filter_map(|name| Some((name.clone(), self.containers.get(name)?)));
        let readings: BTreeMap<_, _> = asked.map(|(name, of)| (name, of.controls.limits())).collect();
        for (name, reading) in &readings {
            if let (Ok(reading), Some(container)) = (reading, self.containers.get(name)) {
                self.notice_drift(&container.place.clone(), reading, now);
            }
        }
        check::changes(plan, &self.containers, readings, &self.means, now)
    }

    /// Puts one container back to its baseline and answers the limits in force then.
    ///
    /// # Errors
    /// [`NodeError::UnknownContainer`], or [`NodeError::Internal`] when the kernel refuses; then it is tried again.
    pub fn restore(&mut self, name: &ContainerName, now: Duration) -> Result<Limits, NodeError> {
        self.look_around().map_err(|error| internal(&error))?;
        let unknown = || NodeError::UnknownContainer { container: name.to_string() };
        let container = self.containers.get(name).ok_or_else(unknown)?;
        let (place, controls) = (container.place.clone(), container.controls.clone());
        self.notice_drift_of(&place, now);
        if self.loans.contains_key(&place)
            && let Some(failure) = self.restore_loans(vec![place], Cause::Request, now).pop()
        {
            return Err(NodeError::Internal { detail: format!("{failure}; it is being retried") });
        }
        // Whoever asks for the container's own limits knows of the change.
        if let Some(container) = self.containers.get_mut(name) {
            container.hold = Hold::default();
        }
        match self.without_injection(&controls) {
            Ok(limits) => Ok(limits),
            Err(error) if error.is_gone() => Err(unknown()),
            Err(error) => Err(internal(&error)),
        }
    }

    /// Ends what an injection holds of a container that is lent nothing: one that ended badly may have left it, and its
    /// record be lost.
    fn without_injection(&self, controls: &Controls) -> Result<Limits, KernelError> {
        let _turn = self.means.machine.network_turn();
        let reading = controls.limits()?;
        if reading.injected() == Limits::default() {
            return Ok(reading.limits);
        }
        let network = Some(EgressIngress { egress: Limit::Max, ingress: Limit::Max });
        controls.give_back(&Limits { network, ..Limits::default() }, None).whole()?;
        Ok(controls.limits()?.limits)
    }

    /// Restores the baselines whose leases have ended, and tries again what failed.
    pub fn expire(&mut self, now: Duration) {
        let due = self.loans.iter().filter(|(_, loan)| loan.due <= now).map(|(place, _)| place.clone());
        self.restore_loans(due.collect(), Cause::Expiry, now);
        if self.overdue.is_some_and(|overdue| overdue.due <= now) {
            self.shorten_journal(now);
        }
    }

    /// When [`Self::expire`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let overdue = self.overdue.map(|overdue| overdue.due);
        self.loans.values().map(|loan| loan.due).chain(overdue).min()
    }

    /// Restores every baseline and refuses plans from now on. Answers what could not be restored, a sentence each; it
    /// stays in the journal.
    pub fn close(&mut self, now: Duration) -> Vec<String> {
        self.closed = true;
        let mut failures = self.restore_loans(self.loans.keys().cloned().collect(), Cause::Shutdown, now);
        failures.extend(self.close_journal());
        failures
    }

    /// What can be lent now.
    #[must_use]
    pub fn capabilities(&self) -> PerResource<Capability> {
        self.means.machine.capabilities()
    }

    /// How many containers are lent limits.
    #[must_use]
    pub fn loans(&self) -> usize {
        self.loans.len()
    }

    fn exists(&self, place: &Place) -> bool {
        self.means.machine.hierarchy().identity(&place.path) == Some(place.identity)
    }

    fn count_loans(&self) {
        self.means.metrics.loans.set(i64::try_from(self.loans.len()).unwrap_or(i64::MAX));
    }
}

/// Says what was not the case last time, so that the log is not filled with one sentence.
fn say_what_is_new(last: &mut BTreeSet<String>, now: BTreeSet<String>) {
    now.difference(last).for_each(|sentence| warn!("{sentence}"));
    *last = now;
}

fn internal(error: &(dyn std::error::Error + 'static)) -> NodeError {
    NodeError::Internal { detail: with_causes(error) }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
