//! The books on disk: what is written into the journal, and when that is tried again.
//!
//! Must not know what is lent, nor why.

use std::time::Duration;

use ballast_api::with_causes;
use tracing::warn;

use super::Lender;
use crate::journal::JournalError;

/// Pause before the second attempt at something that failed; doubled for each further one up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The journal is to be written again: it names limits that are back already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overdue {
    pub(super) due: Duration,
    failed_attempts: u32,
}

impl Lender {
    /// Makes the journal say what the books say.
    pub(super) fn write_journal(&mut self) -> Result<(), JournalError> {
        self.means.journal.write(self.loans.iter().map(|(place, loan)| loan.entry(place)))?;
        self.overdue = None;
        Ok(())
    }

    /// Takes out of the journal what is out of the books. When that fails, only that is tried again: the kernel's side is done,
    /// and may be somebody else's by then.
    pub(super) fn shorten_journal(&mut self, now: Duration) {
        let Err(error) = self.write_journal() else { return };
        let failed_attempts = self.overdue.map_or(0, |overdue| overdue.failed_attempts).saturating_add(1);
        let pause = pause_after(failed_attempts);
        self.overdue = Some(Overdue { due: now + pause, failed_attempts });
        warn!(error = with_causes(&error), retry_seconds = pause.as_secs_f64(), "journal not shortened");
    }

    /// The last attempt, where one is overdue. Answers why it failed, a sentence.
    pub(super) fn close_journal(&mut self) -> Option<String> {
        self.overdue?;
        let error = self.write_journal().err()?;
        Some(format!("the journal still names limits that are back: {}", with_causes(&error)))
    }
}

pub(super) fn pause_after(failed_attempts: u32) -> Duration {
    let doublings = failed_attempts.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}
