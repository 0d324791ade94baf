//! Ending loans: the baseline into the kernel, then the entry out of the journal, and again later when one of them fails.
//!
//! Must not know why a loan ends.

use std::{collections::BTreeSet, time::Duration};

use ballast_api::with_causes;
use ballast_kernel::{CgroupPath, KernelError};
use tracing::{info, warn};

use super::Lender;
use crate::{discovery::Place, metrics::Cause};

/// Pause before the second attempt to restore a baseline; doubled for each further one up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Lender {
    /// Restores these baselines, and takes them from the journal. Answers what failed, a sentence each; that is tried
    /// again later.
    pub(super) fn restore_loans(
        &mut self,
        paths: Vec<CgroupPath>,
        cause: Cause,
        now: Duration,
    ) -> Vec<String> {
        let mut failures = Vec::new();
        let mut restored = BTreeSet::new();
        for path in paths {
            self.notice_drift_of(&path, now);
            match self.restore_baseline(&path) {
                Ok(()) => drop(restored.insert(path)),
                Err(error) => failures.push((path, with_causes(&error))),
            }
        }
        if !restored.is_empty()
            && let Err(error) = self.write_journal(|path| !restored.contains(path))
        {
            let error = with_causes(&error);
            failures.extend(std::mem::take(&mut restored).into_iter().map(|path| (path, error.clone())));
        }
        for path in restored {
            self.loans.remove(&path);
            self.means.metrics.restored(cause);
            info!(cgroup = %path, %cause, "baseline restored");
        }
        for (path, error) in &failures {
            self.means.metrics.restoration_failures.inc();
            if let Some(loan) = self.loans.get_mut(path) {
                loan.failed_attempts = loan.failed_attempts.saturating_add(1);
                let pause = pause_after(loan.failed_attempts);
                loan.due = now + pause;
                warn!(cgroup = %path, %cause, error, retry_seconds = pause.as_secs_f64(), "baseline not restored");
            }
        }
        self.count_loans();
        failures
            .into_iter()
            .map(|(path, error)| format!("the baseline of {path} was not restored: {error}"))
            .collect()
    }

    fn restore_baseline(&self, path: &CgroupPath) -> Result<(), KernelError> {
        let Some(loan) = self.loans.get(path) else { return Ok(()) };
        let place = Place { path: path.clone(), identity: loan.identity };
        if !self.exists(&place) {
            return Ok(());
        }
        match self.means.machine.controls(path, &loan.devices).give_back(&loan.baseline, loan.cpu_burst_us) {
            Err(error) if self.exists(&place) => Err(error),
            _ => Ok(()),
        }
    }
}

fn pause_after(failed_attempts: u32) -> Duration {
    let doublings = failed_attempts.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}
