//! What goes down and comes back is told once each time, not once a second.
//!
//! Must not know what it is that goes down.

/// Failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    failures: u64,
}

impl Outage {
    /// Notes a failure; true for the first of an outage.
    pub(crate) fn failed(&mut self) -> bool {
        self.failures += 1;
        self.failures == 1
    }

    /// Notes a success; answers the number of failures when it ends an outage.
    pub(crate) fn succeeded(&mut self) -> Option<u64> {
        match std::mem::take(&mut self.failures) {
            0 => None,
            failures => Some(failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_has_one_begin_and_one_end() {
        let mut outage = Outage::default();
        assert_eq!(outage.succeeded(), None);
        assert_eq!([outage.failed(), outage.failed(), outage.failed()], [true, false, false]);
        assert_eq!(outage.succeeded(), Some(3));
        assert_eq!(outage.succeeded(), None);
        assert!(outage.failed());
    }
}
