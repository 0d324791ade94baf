//! Ending loans: the baseline into the kernel, then the entry out of the journal, and again later what of it has failed.
//!
//! Must not know why a loan ends.

use std::{collections::BTreeSet, time::Duration};

use ballast_api::{Limits, with_causes};
use ballast_kernel::KernelError;
use tracing::{info, warn};

use super::{Lender, Loan, SWEEPS, records::pause_after};
use crate::{controls::GivenBack, discovery::Place, metrics::Cause};

impl Lender {
    /// Restores these baselines, and takes them from the journal. Answers what failed, a sentence each; that is tried
    /// again later.
    pub(super) fn restore_loans(&mut self, places: Vec<Place>, cause: Cause, now: Duration) -> Vec<String> {
        let mut failures = Vec::new();
        let mut is_news = false;
        let _turn = self.means.machine.network_turn();
        for place in places {
            self.notice_drift_of(&place, now);
            let owed = self.owed_by(&place);
            match self.settle(&place) {
                Ok(()) => {
                    self.means.metrics.restored(cause);
                    info!(cgroup = %place.path, %cause, "baseline restored");
                }
                Err(error) => {
                    let error = with_causes(&error);
                    self.try_again(&place, &error, now);
                    failures.push(format!("the baseline of {} was not restored: {error}", place.path));
                }
            }
            is_news |= owed != self.owed_by(&place);
        }
        if is_news {
            self.shorten_journal(now);
        }
        self.count_loans();
        failures
    }

    fn owed_by(&self, place: &Place) -> Option<Limits> {
        self.loans.get(place).map(|loan| loan.baseline)
    }

    fn try_again(&mut self, place: &Place, error: &str, now: Duration) {
        self.means.metrics.restoration_failures.inc();
        if let Some(loan) = self.loans.get_mut(place) {
            loan.failed_attempts = loan.failed_attempts.saturating_add(1);
            let pause = pause_after(loan.failed_attempts);
            loan.due = now + pause;
            // It may be written in part, which is nobody else's doing.
            loan.lent = Limits::default();
            let (owed, retry_seconds) = (loan.baseline, pause.as_secs_f64());
            warn!(cgroup = %place.path, error, %owed, retry_seconds, "baseline not restored");
        }
    }

    /// Gives back what is owed, and takes out of the books what is back: from then on it is whoever sets it who owns it, though
    /// something else of the container must be tried again. A cgroup that is gone took its limits along, and nothing else: an
    /// interface may be a pod's.
    fn settle(&mut self, place: &Place) -> Result<(), KernelError> {
        let Some(loan) = self.loans.get(place) else { return Ok(()) };
        let controls = self.means.machine.controls(&place.path, &loan.devices);
        let given_back = self.exists(place).then(|| controls.give_back(&loan.baseline, loan.cpu_burst_us));
        let is_gone = !self.exists(place);
        let GivenBack { owed, failure } =
            given_back.filter(|_| !is_gone).unwrap_or_else(|| controls.forget(&loan.baseline));
        if is_gone || controls.network_is_gone() {
            self.sweeps_due = SWEEPS;
        }
        let Some(error) = failure else {
            self.loans.remove(place);
            return Ok(());
        };
        if let Some(loan) = self.loans.get_mut(place) {
            loan.baseline = owed;
            loan.cpu_burst_us = loan.cpu_burst_us.filter(|_| owed.cpu.is_some());
        }
        Err(error)
    }

    /// A container that is gone needs no baseline, and a new one under its name has its own limits. What cannot be given
    /// back of it is due at once, and tried again like any other.
    pub(super) fn forget_vanished(&mut self) {
        // Those that were just seen need not be asked for.
        let seen: BTreeSet<_> = self.containers.values().map(|container| &container.place).collect();
        let is_news =
            |(place, loan): &(&Place, &Loan)| !loan.is_orphan && !seen.contains(place) && !self.exists(place);
        let gone: Vec<_> = self.loans.iter().filter(is_news).map(|(place, _)| place.clone()).collect();
        if gone.is_empty() {
            return;
        }
        let _turn = self.means.machine.network_turn();
        for place in gone {
            match self.settle(&place) {
                Ok(()) => info!(cgroup = %place.path, "container is gone, its loan is forgotten"),
                Err(error) => {
                    self.try_again(&place, &with_causes(&error), Duration::ZERO);
                    self.loans.entry(place).and_modify(|loan| loan.is_orphan = true);
                }
            }
        }
        self.shorten_journal(Duration::ZERO);
        self.count_loans();
    }
}
