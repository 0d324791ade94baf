//! The area under the receiver operating characteristic.

/// The chance that a random positive example scores above a random negative one, ties counting half (the Mann-Whitney
/// statistic). Absent without examples of both kinds, or where a score is NaN.
#[must_use]
pub fn roc_auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    if scores.len() != labels.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut negatives, mut positives, mut wins) = (0.0, 0.0, 0.0);
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let tied_positives = count(tied, true);
        let tied_negatives = count(tied, false);
        wins += tied_positives * (negatives + tied_negatives / 2.0);
        negatives += tied_negatives;
        positives += tied_positives;
    }
    (negatives > 0.0 && positives > 0.0).then(|| wins / (negatives * positives))
}

#[expect(clippy::cast_precision_loss, reason = "counts of examples")]
fn count(examples: &[(f64, bool)], label: bool) -> f64 {
    examples.iter().filter(|example| example.1 == label).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let auc = |scores: &[f64], labels: &[u8]| {
            roc_auc(scores, &labels.iter().map(|label| *label == 1).collect::<Vec<_>>())
        };
        assert_eq!(auc(&[1.0, 2.0, 3.0, 4.0], &[0, 0, 1, 1]), Some(1.0));
        assert_eq!(auc(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 0, 0]), Some(0.0));
        assert_eq!(auc(&[5.0, 5.0, 5.0, 5.0], &[1, 0, 0, 1]), Some(0.5));
        // One of four pairs is the wrong way round.
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]), Some(0.75));
        // One pair of two is tied, the other won.
        assert_eq!(auc(&[1.0, 0.0, 1.0], &[1, 0, 0]), Some(0.75));
        assert_eq!(auc(&[-0.0, 0.0], &[1, 0]), Some(0.5));
        assert_eq!(auc(&[f64::NEG_INFINITY, f64::INFINITY], &[0, 1]), Some(1.0));
    }

    #[test]
    fn nothing_can_be_said_without_both_kinds() {
        assert_eq!(roc_auc(&[], &[]), None);
        assert_eq!(roc_auc(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(roc_auc(&[1.0, f64::NAN], &[true, false]), None);
        assert_eq!(roc_auc(&[1.0], &[true, false]), None);
    }
}
