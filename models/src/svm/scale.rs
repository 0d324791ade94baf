//! Standardisation of inputs: each to mean 0 and variance 1 over the examples it was fitted to.
//!
//! Fixed once fitted: were it to move, what was learned before would mean something else.

/// The furthest that a scaled input lies from the mean. Beyond, an RBF kernel has seen nothing and would judge by
/// accident; there the nearest that it may have seen stands for it.
const FURTHEST: f64 = 4.0;

/// Mean and deviation of each input.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    pub(super) means: Vec<f64>,
    pub(super) deviations: Vec<f64>,
}

impl Scale {
    /// The scale of `rows`, each of `width` inputs; values that are not finite are passed over. An input that never
    /// varies keeps its unit.
    #[must_use]
    pub fn of_rows<R: AsRef<[f64]>>(width: usize, rows: &[R]) -> Self {
        let column = |input: usize| {
            let values = rows.iter().filter_map(move |row| row.as_ref().get(input).copied());
            values.filter(|value| value.is_finite())
        };
        let means: Vec<f64> = (0..width).map(|input| mean(column(input)).unwrap_or(0.0)).collect();
        let variance = |input: usize| mean(column(input).map(|value| (value - means[input]).powi(2)));
        let deviations = (0..width).map(|input| match variance(input).map(f64::sqrt) {
            Some(deviation) if deviation > 1e-12 && deviation.is_finite() => deviation,
            _ => 1.0,
        });
        let deviations = deviations.collect();
        Self { means, deviations }
    }

    /// The number of inputs.
    #[must_use]
    pub fn width(&self) -> usize {
        self.means.len()
    }

    /// The scaled inputs; an absent one (NaN) is the mean.
    pub(super) fn of(&self, inputs: &[f64]) -> Vec<f64> {
        let scaled = inputs.iter().zip(&self.means).zip(&self.deviations);
        scaled
            .map(|((input, mean), deviation)| ((input - mean) / deviation).clamp(-FURTHEST, FURTHEST))
            .map(|scaled| if scaled.is_nan() { 0.0 } else { scaled })
            .collect()
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_inputs_have_mean_zero_and_variance_one() {
        let scale = Scale::of_rows(2, &[[1.0, 10.0], [3.0, 10.0], [f64::NAN, 10.0]]);
        assert_eq!(scale.of(&[1.0, 10.0]), [-1.0, 0.0]);
        assert_eq!(scale.of(&[3.0, 11.0]), [1.0, 1.0]);
    }

    #[test]
    fn absent_inputs_are_the_mean_and_far_ones_are_held_back() {
        let scale = Scale::of_rows(2, &[[1.0, f64::NAN], [3.0, f64::INFINITY]]);
        assert_eq!(scale.of(&[f64::NAN, 0.5]), [0.0, 0.5]);
        assert_eq!(scale.of(&[f64::INFINITY, f64::NEG_INFINITY]), [FURTHEST, -FURTHEST]);
        assert_eq!(Scale::of_rows::<[f64; 1]>(1, &[]).of(&[2.0]), [2.0]);
    }
}
