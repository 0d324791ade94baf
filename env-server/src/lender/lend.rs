//! Acting on a checked plan: journal first, then one limit after the other, and all undone when one fails.
//!
//! Must not choose anything: the plan is what it is.

use std::time::Duration;

use ballast_api::{AppliedLimits, Cores, Limit, Limits, NodeError, Plan, PlanOutcome, with_causes};
use ballast_kernel::{CgroupPath, KernelError};
use tracing::{info, warn};

use super::{Lender, Loan, check::Change, internal};
use crate::discovery::Place;

impl Lender {
    pub(super) fn execute(
        &mut self,
        plan: &Plan,
        changes: Vec<Change>,
        now: Duration,
    ) -> Result<PlanOutcome, NodeError> {
        let applied = if plan.dry_run {
            changes.iter().map(|change| change.target).collect()
        } else {
            let first_touched = self.borrow_limits(&changes, now)?;
            let applied = self.write(&changes, &first_touched, now)?;
            self.hold(&changes, plan, now);
            applied
        };
        let applied = changes.into_iter().zip(applied).map(|(change, applied)| AppliedLimits {
            container: change.name,
            requested: change.requested,
            before: Limits::of_cpu(change.before),
            applied: Limits::of_cpu(applied),
        });
        Ok(PlanOutcome { generation: plan.generation, dry_run: plan.dry_run, applied: applied.collect() })
    }

    /// Puts the baselines of containers that are not lent anything yet into the journal, and answers which these are.
    pub(super) fn borrow_limits(
        &mut self,
        changes: &[Change],
        now: Duration,
    ) -> Result<Vec<CgroupPath>, NodeError> {
        let first_touched: Vec<_> =
            changes.iter().filter(|change| !self.loans.contains_key(&change.place.path)).collect();
        for change in &first_touched {
            let Place { path, identity } = change.place.clone();
            let baseline = Limits::of_cpu(change.before);
            self.loans.insert(path, Loan { identity, baseline, due: now, failed_attempts: 0 });
        }
        let paths: Vec<_> = first_touched.iter().map(|change| change.place.path.clone()).collect();
        if !paths.is_empty()
            && let Err(error) = self.write_journal(|_| true)
        {
            self.loans.retain(|path, _| !paths.contains(path));
            return Err(internal(&error));
        }
        Ok(paths)
    }

    /// Writes one limit after the other and answers what is in force. A failure undoes all of it.
    fn write(
        &mut self,
        changes: &[Change],
        first_touched: &[CgroupPath],
        now: Duration,
    ) -> Result<Vec<Limit<Cores>>, NodeError> {
        let mut applied = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            match change.cpu.set_limit(change.target) {
                Ok(limit) => applied.push(limit),
                // The one that failed is undone too: it may have been written and only not read back.
                Err(error) => return Err(self.undo(&changes[..=index], first_touched, &error, now)),
            }
        }
        Ok(applied)
    }

    pub(super) fn undo(
        &mut self,
        written: &[Change],
        first_touched: &[CgroupPath],
        error: &KernelError,
        now: Duration,
    ) -> NodeError {
        let stuck: Vec<_> = written.iter().rev().filter(|change| !self.undo_one(change)).collect();
        for change in &stuck {
            // Ends the loan now: the baseline is restored, with retries, also where an older loan was to go on.
            if let Some(loan) = self.loans.get_mut(&change.place.path) {
                loan.due = now;
            }
        }
        let stays_lent = |path: &CgroupPath| stuck.iter().any(|change| change.place.path == *path);
        let undone = |path: &CgroupPath| first_touched.contains(path) && !stays_lent(path);
        match self.write_journal(|path| !undone(path)) {
            Ok(()) => self.loans.retain(|path, _| !undone(path)),
            // They stay lent and due: writing the baseline once more does no harm, and the journal is tried again.
            Err(error) => warn!(error = with_causes(&error), "journal not shortened"),
        }
        // The one that failed is the last that was written.
        let container = written.last().map(|change| change.name.to_string()).unwrap_or_default();
        let detail = with_causes(error);
        if stuck.is_empty() {
            NodeError::WriteFailed { container, detail }
        } else {
            let stuck = stuck.iter().map(|change| change.name.as_str()).collect::<Vec<_>>().join(", ");
            NodeError::Internal {
                detail: format!("{container}: {detail}; undoing failed too and is being retried for {stuck}"),
            }
        }
    }

    /// Whether the limit is what it was before the plan.
    fn undo_one(&self, change: &Change) -> bool {
        let before = change.before;
        if !self.exists(&change.place) || change.cpu.limit().is_ok_and(|limit| limit == before) {
            return true;
        }
        match change.cpu.set_limit(before) {
            Ok(_) => true,
            Err(_) if !self.exists(&change.place) => true,
            Err(error) => {
                warn!(container = %change.name, error = with_causes(&error), "change not undone");
                false
            }
        }
    }

    /// Marks the plan's containers as lent until its lease ends.
    fn hold(&mut self, changes: &[Change], plan: &Plan, now: Duration) {
        let due = now + Duration::from_secs_f64(plan.lease_seconds);
        for change in changes {
            if let Some(loan) = self.loans.get_mut(&change.place.path) {
                loan.due = due;
                loan.failed_attempts = 0;
            }
            if let Some(container) = self.containers.get_mut(&change.name) {
                container.generation = plan.generation;
            }
            info!(
                container = %change.name, before = %change.before, limit = %change.target,
                generation = plan.generation, lease_seconds = plan.lease_seconds, "limit lent"
            );
        }
    }
}
