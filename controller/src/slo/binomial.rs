//! The binomial distribution's upper tail.

/// The chance of at least `successes` among `trials`, each of which succeeds with probability `p`.
///
/// Sums the lower tail term by term in logarithms, so that no number of trials underflows.
pub(super) fn at_least(successes: usize, trials: usize, p: f64) -> f64 {
    if successes == 0 {
        return 1.0;
    }
    if successes > trials || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    let odds = (p / (1.0 - p)).ln();
    let mut term = as_number(trials) * (1.0 - p).ln();
    let mut lower_tail = term.exp();
    for already in 0..successes - 1 {
        term += (as_number(trials - already) / as_number(already + 1)).ln() + odds;
        lower_tail += term.exp();
    }
    (1.0 - lower_tail).max(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn as_number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn known_answers() {
        for (successes, trials, p, expected) in [
            (0, 0, 0.5, 1.0),
            (1, 0, 0.5, 0.0),
            (1, 1, 0.25, 0.25),
            (2, 3, 0.5, 0.5),
            (3, 3, 0.1, 0.001),
            (1, 100, 0.01, 1.0 - 0.99f64.powi(100)),
            (3, 10, 0.0, 0.0),
            (3, 10, 1.0, 1.0),
        ] {
            let found = at_least(successes, trials, p);
            assert!((found - expected).abs() < 1e-12, "{successes} of {trials} at {p}: {found}");
        }
    }

    #[test]
    fn half_of_very_many_is_as_likely_as_not() {
        let chance = at_least(50_000, 100_000, 0.5);
        assert!((chance - 0.5).abs() < 0.01, "{chance}");
        assert!(at_least(52_000, 100_000, 0.5) < 1e-9);
    }
}
