//! Errors in one line. Must not know which errors.

use std::{error::Error, iter};

/// An error with the whole chain of its causes: the message of the outermost one often stops before the one that helps
/// ("connection refused").
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    iter::successors(error.source(), |&cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct NoAnswer(#[source] io::Error);

    #[test]
    fn every_cause_is_named_once() {
        let refused = NoAnswer(io::Error::other("connection refused"));
        assert_eq!(with_causes(&refused), "no answer: connection refused");
        assert_eq!(with_causes(&io::Error::other("alone")), "alone");
    }
}
