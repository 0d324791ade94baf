//! Acting on a checked plan: journal first, then one limit after the other, and all undone when one fails.
//!
//! Must not choose anything: the plan is what it is.

use std::time::Duration;

use ballast_api::{AppliedLimits, ContainerName, Limits, NodeError, Plan, PlanOutcome, with_causes};
use ballast_kernel::{CgroupPath, KernelError, resctrl::InForce};
use tracing::{debug, info, warn};

use super::{Container, Lender, Loan, SWEEPS, check::Change, internal};
use crate::{
    controls::{Reading, of_caches, without_caches},
    discovery::Place,
};

/// A container some of whose own limits a plan was the first to put into the books.
pub(super) struct Borrowed {
    place: Place,
    /// What the books said before; nothing when it was lent nothing.
    earlier: Option<Limits>,
}

/// What is in force of a change.
struct Applied {
    limits: Limits,
    /// Who has the same resctrl group.
    shared_with: Vec<CgroupPath>,
}

impl Applied {
    fn alone(limits: Limits) -> Self {
        Self { limits, shared_with: Vec::new() }
    }
}

impl Lender {
    pub(super) fn execute(
        &mut self,
        plan: &Plan,
        changes: Vec<Change>,
        now: Duration,
    ) -> Result<PlanOutcome, NodeError> {
        let applied = if plan.dry_run {
            changes.iter().map(|change| Applied::alone(change.target)).collect()
        } else {
            let borrowed = self.borrow_limits(&changes, now)?;
            let applied = self.write(&changes, &borrowed, now)?;
            self.mark_lent(&changes, &applied, plan, now);
            applied
        };
        let applied = changes.into_iter().zip(applied).map(|(change, applied)| AppliedLimits {
            container: change.name,
            requested: change.requested,
            before: change.before.limits.among(&change.requested),
            applied: applied.limits.or(change.held),
            shared_with: self.names_of(&applied.shared_with),
        });
        Ok(PlanOutcome { generation: plan.generation, dry_run: plan.dry_run, applied: applied.collect() })
    }

    /// Puts the container's own limits into the journal, of all resources that are to be touched for the first time.
    pub(super) fn borrow_limits(
        &mut self,
        changes: &[Change],
        now: Duration,
    ) -> Result<Vec<Borrowed>, NodeError> {
        let mut borrowed = Vec::new();
        for change in changes {
            let place = change.place.clone();
            let owned = self.loans.get(&place).map(|loan| loan.baseline);
            let baseline = owned.unwrap_or_default().or(change.before.limits.among(&change.target));
            if owned.unwrap_or_default() == baseline {
                continue;
            }
            let loan = self.loans.entry(place.clone()).or_insert(Loan {
                devices: change.devices,
                baseline,
                cpu_burst_us: None,
                lent: Limits::default(),
                due: now,
                failed_attempts: 0,
                is_orphan: false,
            });
            // Those that something is owed on already are the same.
            (loan.baseline, loan.devices) = (baseline, change.devices);
            if owned.is_none_or(|owned| owned.cpu.is_none()) {
                loan.cpu_burst_us = change.before.cpu_burst_us();
            }
            borrowed.push(Borrowed { place, earlier: owned });
        }
        if !borrowed.is_empty()
            && let Err(error) = self.write_journal()
        {
            borrowed.iter().for_each(|borrowed| self.forget(borrowed));
            return Err(internal(&error));
        }
        Ok(borrowed)
    }

    /// Makes the books say what they said before [`Self::borrow_limits`].
    fn forget(&mut self, Borrowed { place, earlier }: &Borrowed) {
        match (earlier, self.loans.get_mut(place)) {
            (Some(baseline), Some(loan)) => loan.baseline = *baseline,
            _ => drop(self.loans.remove(place)),
        }
    }

    /// Writes one container's limits after the other, then the caches of all of them, and answers what is in force. A failure
    /// undoes all of it.
    fn write(
        &mut self,
        changes: &[Change],
        borrowed: &[Borrowed],
        now: Duration,
    ) -> Result<Vec<Applied>, NodeError> {
        let mut applied = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let own_burst_us = self.loans.get(&change.place).and_then(|loan| loan.cpu_burst_us);
            match change.controls.change(&change.before, &change.target, own_burst_us) {
                Ok(limits) => applied.push(Applied::alone(limits)),
                // The one that failed is undone too: it may have been written in part, or only not read back.
                Err(error) => {
                    return Err(self.undo(&changes[..=index], borrowed, change.name.as_str(), &error, now));
                }
            }
        }
        match self.write_caches(changes, &mut applied) {
            Ok(()) => Ok(applied),
            Err(error) => {
                let ordered = changes.iter().filter(|change| change.order().is_some());
                let culprits: Vec<_> = ordered.map(|change| change.name.as_str()).collect();
                Err(self.undo(changes, borrowed, &culprits.join(", "), &error, now))
            }
        }
    }

    fn write_caches(&self, changes: &[Change], applied: &mut [Applied]) -> Result<(), KernelError> {
        let orders = changes
            .iter()
            .zip(applied)
            .filter_map(|(change, applied)| Some((change.order()?, (change, applied))));
        let (orders, asked): (Vec<_>, Vec<_>) = orders.unzip();
        let in_force = self.means.machine.order_caches(&orders)?;
        for ((change, applied), InForce { limits, shared_with, .. }) in asked.into_iter().zip(in_force) {
            applied.limits = applied.limits.or(of_caches(&limits).among(&change.target));
            applied.shared_with = shared_with;
        }
        Ok(())
    }

    fn names_of(&self, paths: &[CgroupPath]) -> Vec<ContainerName> {
        let shares = |container: &Container| paths.contains(&container.place.path);
        let sharing = self.containers.iter().filter(|(_, container)| shares(container));
        if paths.is_empty() { Vec::new() } else { sharing.map(|(name, _)| name.clone()).collect() }
    }

    /// `culprit` is the container that failed, or those of which one did.
    pub(super) fn undo(
        &mut self,
        written: &[Change],
        borrowed: &[Borrowed],
        culprit: &str,
        error: &KernelError,
        now: Duration,
    ) -> NodeError {
        let stuck: Vec<_> = written.iter().rev().filter(|change| !self.undo_one(change)).collect();
        // Of what the kernel has not undone itself, what nobody holds is removed with the next samples.
        self.sweeps_due = SWEEPS;
        for change in &stuck {
            // Ends the loan now: the baseline is restored, with retries, also where an older loan was to go on.
            if let Some(loan) = self.loans.get_mut(&change.place) {
                loan.due = now;
                loan.lent = Limits::default();
            }
        }
        let is_stuck = |place: &Place| stuck.iter().any(|change| change.place == *place);
        // What is stuck stays lent and due, with all that was borrowed.
        borrowed.iter().filter(|borrowed| !is_stuck(&borrowed.place)).for_each(|undone| self.forget(undone));
        self.shorten_journal(now);
        if written.iter().any(|change| change.controls.network_is_gone()) {
            self.sweeps_due = SWEEPS;
        }
        let detail = with_causes(error);
        if stuck.is_empty() {
            NodeError::WriteFailed { container: culprit.to_owned(), detail }
        } else {
            let stuck = stuck.iter().map(|change| change.name.as_str()).collect::<Vec<_>>().join(", ");
            NodeError::Internal {
                detail: format!("{culprit}: {detail}; undoing failed too and is being retried for {stuck}"),
            }
        }
    }

    /// Whether the limits are what they were before the plan.
    fn undo_one(&self, change: &Change) -> bool {
        // Caches are ordered last and all or none: what failed has left them as they were.
        let before = without_caches(change.before.limits.among(&change.target));
        let burst_us = change.before.cpu_burst_us();
        let is_as_before =
            |reading: Reading| reading.limits.among(&before) == before && reading.cpu_burst_us() == burst_us;
        if !self.exists(&change.place) || change.controls.limits().is_ok_and(is_as_before) {
            return true;
        }
        match change.controls.give_back(&before, burst_us).whole() {
            Ok(()) => true,
            Err(_) if !self.exists(&change.place) => true,
            Err(error) => {
                warn!(container = %change.name, error = with_causes(&error), "change not undone");
                false
            }
        }
    }

    /// Marks the plan's containers as lent until its lease ends.
    fn mark_lent(&mut self, changes: &[Change], applied: &[Applied], plan: &Plan, now: Duration) {
        let due = now + Duration::from_secs_f64(plan.lease_seconds);
        for (change, applied) in changes.iter().zip(applied) {
            if let Some(loan) = self.loans.get_mut(&change.place) {
                loan.due = due;
                loan.lent = applied.limits.or(loan.lent);
                loan.failed_attempts = 0;
            }
            if let Some(container) = self.containers.get_mut(&change.name) {
                container.generation = plan.generation;
            }
            let (before, limits) = (change.before.limits.among(&change.target), change.target);
            let (name, generation, lease_seconds) = (&change.name, plan.generation, plan.lease_seconds);
            // Renewals come each second: they are no news.
            if before == limits {
                debug!(container = %name, %limits, generation, lease_seconds, "lease renewed");
            } else {
                info!(container = %name, %before, %limits, generation, lease_seconds, "limits lent");
            }
        }
    }
}
