//! A round of samples: of every container, and of what else is looked after now and then.
//!
//! Must not know what the samples are for.

use std::collections::BTreeSet;

use ballast_api::with_causes;

use super::{Lender, Loan, container::Container, say_what_is_new};

impl Lender {
    /// Samples every container whose last sample is not too recent.
    pub fn sample(&mut self) {
        let mut failures = BTreeSet::new();
        if self.sweeps_due > 0 {
            self.sweeps_due -= 1;
            self.means.machine.sweep();
        }
        if let Err(error) = self.look_around() {
            self.means.metrics.sampling_failures.inc();
            failures.insert(format!("containers cannot be listed: {}", with_causes(&error)));
        }
        self.means.machine.notice_disks();
        let (means, loans) = (&self.means, &self.loans);
        let recent = |container: &Container| {
            let last = container.history.last();
            let age = last.map(|sample| means.clock.monotonic().saturating_sub(sample.at));
            age.is_some_and(|age| age < means.sample_interval / 2)
        };
        for (name, container) in self.containers.iter_mut().filter(|(_, container)| !recent(container)) {
            let loan = loans.get(&container.place);
            let sampled = container.sample(means, loan.map(Loan::owed).unwrap_or_default());
            if let Err(error) = sampled.and_then(|()| container.gather(loan.is_some()))
                && !error.is_gone()
            {
                means.metrics.sampling_failures.inc();
                failures.insert(format!("{name} cannot be sampled: {}", with_causes(&error)));
            }
        }
        // Somebody may have turned up on an interface.
        self.share_out_networks();
        say_what_is_new(&mut self.not_sampled, failures);
    }
}
