//! Percentiles of latencies.

/// The smallest value that `percentile` percent of the values do not exceed (the nearest rank); absent without values.
/// `percentile` is in (0, 100].
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank between 0 and the number of values"
)]
pub fn percentile<T: Copy>(ascending: &[T], percentile: f64) -> Option<T> {
    let rank = (percentile / 100.0 * ascending.len() as f64).ceil() as usize;
    ascending.get(rank.max(1) - 1).or(ascending.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn nearest_rank_percentiles() {
        let values: Vec<u64> = (1..=10).collect();
        assert_eq!(
            [0.1, 10.0, 50.0, 90.1, 99.0, 100.0].map(|p| percentile(&values, p)),
            [1, 1, 5, 10, 10, 10].map(Some)
        );
        assert_eq!(percentile::<f64>(&[], 50.0), None);
        assert_eq!(percentile(&[7.5], 99.0), Some(7.5));
    }
}
