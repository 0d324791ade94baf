//! When each request is intended to be sent, whatever becomes of the others: an open loop.
//!
//! Pure: the same seed gives the same schedule. Must not know how requests are sent.

use clap::ValueEnum;
use rand::SeedableRng;
use rand_distr::{Distribution, Exp1};
use rand_pcg::Pcg64;
use serde::Serialize;

use super::shape::{Piece, Shape};

/// How requests follow each other at a steady rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gaps {
    /// Independent of each other: exponential gaps, as of many users
    Poisson,
    /// At equal distances
    Uniform,
}

/// The intended times, in nanoseconds since the begin; they never decrease.
///
/// Steps of a unit rate (each 1, or exponential with mean 1) are mapped to time by the inverse of the integrated rate:
/// for exponential ones this is the Poisson process with exactly that rate, without a draw that is thrown away.
pub struct Schedule {
    pieces: Box<dyn Iterator<Item = Piece>>,
    piece: Option<Piece>,
    /// Where the piece begins.
    begin_seconds: f64,
    /// How many requests of the piece are behind.
    used: f64,
    /// From the last request to the next one, at a unit rate.
    step: f64,
    gaps: Gaps,
    dice: Pcg64,
    last_nanos: u64,
}

impl Schedule {
    /// The schedule of so many seconds.
    #[must_use]
    pub fn new(shape: &Shape, gaps: Gaps, seconds: f64, seed: u64) -> Self {
        let mut pieces = shape.pieces(seconds, seed);
        let piece = pieces.next();
        let mut dice = Pcg64::seed_from_u64(seed);
        let step = match gaps {
            Gaps::Poisson => Exp1.sample(&mut dice),
            // Half a gap before the first and after the last: their number is the rounded integral.
            Gaps::Uniform => 0.5,
        };
        Self { pieces, piece, begin_seconds: 0.0, used: 0.0, step, gaps, dice, last_nanos: 0 }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let piece = self.piece?;
            let left = piece.requests() - self.used;
            if self.step < left {
                self.used += self.step;
                break;
            }
            self.step -= left.max(0.0);
            self.begin_seconds += piece.seconds;
            self.used = 0.0;
            self.piece = self.pieces.next();
        }
        let seconds = self.begin_seconds + self.piece?.moment(self.used);
        self.step = match self.gaps {
            Gaps::Poisson => Exp1.sample(&mut self.dice),
            Gaps::Uniform => 1.0,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most some hours")]
        let nanos = (seconds * 1e9) as u64;
        // The inverse is exact to a nanosecond only.
        self.last_nanos = self.last_nanos.max(nanos);
        Some(self.last_nanos)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::trace_file::Trace, *};

    fn any_shape() -> impl Strategy<Value = Shape> {
        let rate = || 0.0..2000.0_f64;
        prop_oneof![
            rate().prop_map(|rate| Shape::Constant { rate }),
            (rate(), rate()).prop_map(|(from, to)| Shape::Ramp { from, to }),
            (rate(), 0.01..2000.0_f64, 0.1..100.0_f64).prop_map(|(low, more, period_seconds)| {
                Shape::Diurnal { low, high: low + more, period_seconds }
            }),
            (rate(), rate(), 0.01..5.0_f64, 0.01..5.0_f64).prop_map(
                |(base, burst, length_seconds, mean_gap_seconds)| {
                    Shape::Bursty { base, burst, length_seconds, mean_gap_seconds }
                }
            ),
            prop::collection::vec(rate(), 1..30).prop_map(|rates| {
                let lines: Vec<String> = rates.iter().map(f64::to_string).collect();
                Shape::Trace(Trace::parse(&lines.join("\n")).unwrap())
            }),
        ]
    }

    fn expected(shape: &Shape, seconds: f64, seed: u64) -> f64 {
        shape.pieces(seconds, seed).map(|piece| piece.requests()).sum()
    }

    proptest! {
        #[test]
        fn times_are_sorted_within_the_duration_and_follow_the_seed(
            shape in any_shape(), poisson: bool, seconds in 0.1..10.0_f64, seed: u64,
        ) {
            let gaps = if poisson { Gaps::Poisson } else { Gaps::Uniform };
            let times: Vec<u64> = Schedule::new(&shape, gaps, seconds, seed).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(times.iter().all(|nanos| *nanos as f64 <= seconds * 1e9));
            prop_assert_eq!(&times, &Schedule::new(&shape, gaps, seconds, seed).collect::<Vec<_>>());
        }

        #[test]
        fn their_number_is_the_integral_of_the_rate(shape in any_shape(), seconds in 0.1..10.0_f64, seed: u64) {
            let expected = expected(&shape, seconds, seed);
            let even = Schedule::new(&shape, Gaps::Uniform, seconds, seed).count() as f64;
            prop_assert!((even - expected).abs() < 0.51, "{even} of {expected}");
            let poisson = Schedule::new(&shape, Gaps::Poisson, seconds, seed).count() as f64;
            // Six deviations: once in some hundred million cases by chance; a few more where hardly any are expected.
            prop_assert!((poisson - expected).abs() < 6.0 * expected.sqrt() + 6.0, "{poisson} of {expected}");
        }
    }

    #[test]
    fn another_seed_gives_another_schedule() {
        let of = |seed| Schedule::new(&Shape::Constant { rate: 50.0 }, Gaps::Poisson, 1.0, seed);
        assert_ne!(of(1).collect::<Vec<_>>(), of(2).collect::<Vec<_>>());
    }

    #[test]
    fn poisson_gaps_vary_as_much_as_their_mean_and_uniform_ones_not_at_all() {
        let of = |gaps| -> Vec<f64> {
            let times: Vec<u64> = Schedule::new(&Shape::Constant { rate: 1000.0 }, gaps, 60.0, 3).collect();
            times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect()
        };
        let variation = |gaps: &[f64]| {
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt() / mean
        };
        let (poisson, uniform) = (variation(&of(Gaps::Poisson)), variation(&of(Gaps::Uniform)));
        assert!((poisson - 1.0).abs() < 0.03, "{poisson}");
        assert!(uniform < 1e-5, "{uniform}");
    }

    #[test]
    fn a_ramp_has_a_quarter_of_its_requests_in_its_first_half() {
        let ramp = Shape::Ramp { from: 0.0, to: 1000.0 };
        let times: Vec<u64> = Schedule::new(&ramp, Gaps::Uniform, 10.0, 1).collect();
        let early = times.iter().filter(|nanos| **nanos < 5_000_000_000).count();
        assert_eq!((times.len(), early), (5000, 1250));
    }
}
