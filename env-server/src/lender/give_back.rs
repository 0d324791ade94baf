//! Ending loans: the baseline into the kernel, then the entry out of the journal, and again later when one of them fails.
//!
//! Must not know why a loan ends.

use std::{collections::BTreeSet, time::Duration};

use ballast_api::{Limits, with_causes};
use ballast_kernel::KernelError;
use tracing::{info, warn};

use super::{Lender, Loan, SWEEPS};
use crate::{discovery::Place, metrics::Cause};

/// Pause before the second attempt to restore a baseline; doubled for each further one up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Lender {
    /// Restores these baselines, and takes them from the journal. Answers what failed, a sentence each; that is tried
    /// again later.
    pub(super) fn restore_loans(&mut self, places: Vec<Place>, cause: Cause, now: Duration) -> Vec<String> {
        let mut failures = Vec::new();
        let mut restored = BTreeSet::new();
        for place in places {
            self.notice_drift_of(&place, now);
            match self.restore_baseline(&place) {
                Ok(()) => drop(restored.insert(place)),
                Err(error) => failures.push((place, with_causes(&error))),
            }
        }
        if !restored.is_empty()
            && let Err(error) = self.write_journal(|place| !restored.contains(place))
        {
            let error = with_causes(&error);
            failures.extend(std::mem::take(&mut restored).into_iter().map(|place| (place, error.clone())));
        }
        for place in restored {
            self.loans.remove(&place);
            self.means.metrics.restored(cause);
            info!(cgroup = %place.path, %cause, "baseline restored");
        }
        for (place, error) in &failures {
            self.try_again(place, error, now);
        }
        self.count_loans();
        let sentence = |(place, error): (Place, String)| {
            format!("the baseline of {} was not restored: {error}", place.path)
        };
        failures.into_iter().map(sentence).collect()
    }

    fn try_again(&mut self, place: &Place, error: &str, now: Duration) {
        self.means.metrics.restoration_failures.inc();
        if let Some(loan) = self.loans.get_mut(place) {
            loan.failed_attempts = loan.failed_attempts.saturating_add(1);
            let pause = pause_after(loan.failed_attempts);
            loan.due = now + pause;
            // Some of it may be back already, which is nobody else's doing.
            loan.lent = Limits::default();
            let retry_seconds = pause.as_secs_f64();
            warn!(cgroup = %place.path, error, retry_seconds, "baseline not restored");
        }
    }

    /// A cgroup that is gone took its limits along, and nothing else: an interface may be a pod's.
    fn restore_baseline(&mut self, place: &Place) -> Result<(), KernelError> {
        let Some(loan) = self.loans.get(place) else { return Ok(()) };
        let controls = self.means.machine.controls(&place.path, &loan.devices);
        let given_back =
            if self.exists(place) { controls.give_back(&loan.baseline, loan.cpu_burst_us) } else { Ok(()) };
        let is_gone = !self.exists(place);
        if is_gone {
            controls.forget(&loan.baseline)?;
        } else {
            given_back?;
        }
        if is_gone || controls.network_is_gone() {
            self.sweeps_due = SWEEPS;
        }
        Ok(())
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
        for place in gone {
            match self.restore_baseline(&place) {
                Ok(()) => {
                    self.loans.remove(&place);
                    info!(cgroup = %place.path, "container is gone, its loan is forgotten");
                }
                Err(error) => {
                    self.try_again(&place, &with_causes(&error), Duration::ZERO);
                    self.loans.entry(place).and_modify(|loan| loan.is_orphan = true);
                }
            }
        }
        if let Err(error) = self.write_journal(|_| true) {
            // What an entry of a cgroup that is gone asks for is done already.
            warn!(error = with_causes(&error), "journal not shortened");
        }
        self.count_loans();
    }
}

fn pause_after(failed_attempts: u32) -> Duration {
    let doublings = failed_attempts.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}
