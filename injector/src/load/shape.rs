//! How the rate of requests goes over time, as pieces whose integrated rate can be inverted.
//!
//! Pure. Must not know how requests are spaced nor that they are sent.

use std::f64::consts::TAU;

use rand::SeedableRng;
use rand_distr::{Distribution, Exp};
use rand_pcg::Pcg64;
use serde::Serialize;

use super::trace_file::Trace;

/// So often, at most, is a root looked for with a step of Newton's or of halving: either is exact to a nanosecond then.
const MOST_STEPS: usize = 64;

/// The rate over time, in requests per second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
pub enum Shape {
    /// Always the same.
    Constant {
        /// Per second.
        rate: f64,
    },
    /// From one rate to another, evenly, over the whole duration.
    Ramp {
        /// Per second, at the begin.
        from: f64,
        /// Per second, at the end.
        to: f64,
    },
    /// A sinusoid that begins at its low and is at its high half a period later.
    Diurnal {
        /// The least, per second.
        low: f64,
        /// The most, per second.
        high: f64,
        /// From one low to the next.
        period_seconds: f64,
    },
    /// A base rate, and bursts of one length that come at random.
    Bursty {
        /// Between bursts, per second.
        base: f64,
        /// Within them, per second.
        burst: f64,
        /// How long each is.
        length_seconds: f64,
        /// From the end of one to the begin of the next: exponential, with this mean.
        mean_gap_seconds: f64,
    },
    /// As a file says.
    Trace(Trace),
}

/// A piece of a shape: a rate as a function of the time since the piece's begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// How long it is.
    pub seconds: f64,
    curve: Curve,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Curve {
    /// A straight line between two rates; a step where they are the same.
    Line { from: f64, to: f64 },
    /// `low` at the begin, `high` half a period later.
    Wave { low: f64, high: f64, period: f64 },
}

impl Shape {
    /// The pieces that fill so many seconds. The same seed gives the same bursts.
    #[must_use]
    pub fn pieces(&self, seconds: f64, seed: u64) -> Box<dyn Iterator<Item = Piece>> {
        let whole = |curve| Box::new(std::iter::once(Piece { seconds, curve }));
        match self.clone() {
            Self::Constant { rate } => whole(Curve::Line { from: rate, to: rate }),
            Self::Ramp { from, to } => whole(Curve::Line { from, to }),
            Self::Diurnal { low, high, period_seconds } => {
                whole(Curve::Wave { low, high, period: period_seconds })
            }
            Self::Bursty { base, burst, length_seconds, mean_gap_seconds } => {
                cut(bursts(base, burst, length_seconds, mean_gap_seconds, seed), seconds)
            }
            Self::Trace(trace) => cut(trace.steps().map(|(rate, lasts)| step(rate, lasts)), seconds),
        }
    }

    /// The highest rate that it can reach, per second.
    #[must_use]
    pub fn most(&self) -> f64 {
        match self {
            Self::Constant { rate } => *rate,
            Self::Ramp { from, to } => from.max(*to),
            Self::Diurnal { high, .. } => *high,
            Self::Bursty { base, burst, .. } => base.max(*burst),
            Self::Trace(trace) => trace.steps().map(|(rate, _)| rate).fold(0.0, f64::max),
        }
    }
}

fn step(rate: f64, seconds: f64) -> Piece {
    Piece { seconds, curve: Curve::Line { from: rate, to: rate } }
}

/// Base and burst in turns, without end.
fn bursts(base: f64, burst: f64, length: f64, mean_gap: f64, seed: u64) -> impl Iterator<Item = Piece> {
    // Not the arrivals' stream: their number would move the bursts.
    let mut dice = Pcg64::seed_from_u64(seed ^ 0x6275_7273_7473);
    let gaps = Exp::new(1.0 / mean_gap).ok();
    let mut in_burst = true;
    std::iter::from_fn(move || {
        in_burst = !in_burst;
        let gap = |dice: &mut Pcg64| gaps.map_or(mean_gap, |gaps| gaps.sample(dice));
        Some(if in_burst { step(burst, length) } else { step(base, gap(&mut dice)) })
    })
}

/// The pieces until so many seconds are full; the last one is shortened. Only for steps, which may be cut anywhere.
fn cut(pieces: impl Iterator<Item = Piece> + 'static, seconds: f64) -> Box<dyn Iterator<Item = Piece>> {
    let mut left = seconds;
    Box::new(pieces.map_while(move |piece| {
        let taken = piece.seconds.min(left);
        left -= taken;
        (taken > 0.0 || left > 0.0).then_some(Piece { seconds: taken, ..piece })
    }))
}

impl Piece {
    /// How many requests are expected in all of it.
    #[must_use]
    pub fn requests(&self) -> f64 {
        self.integral(self.seconds)
    }

    /// How many requests are expected in its first `seconds`.
    #[must_use]
    pub fn integral(&self, seconds: f64) -> f64 {
        match self.curve {
            Curve::Line { from, to } => {
                let slope = (to - from) / self.seconds;
                if slope.is_finite() { seconds * (from + slope * seconds / 2.0) } else { 0.0 }
            }
            Curve::Wave { low, high, period } => {
                let (middle, half) = (f64::midpoint(low, high), (high - low) / 2.0);
                middle * seconds - half * period / TAU * (TAU * seconds / period).sin()
            }
        }
    }

    /// When `requests` of its requests are expected to have come: the inverse of [`Self::integral`], in seconds.
    #[must_use]
    pub fn moment(&self, requests: f64) -> f64 {
        let seconds = match self.curve {
            Curve::Line { from, to } => {
                let slope = (to - from) / self.seconds;
                // This form of the quadratic's root loses no digits where the slope is small.
                let root = (from * from + 2.0 * slope * requests).max(0.0).sqrt();
                2.0 * requests / (from + root)
            }
            Curve::Wave { low, high, period } => self.on_wave(requests, low, high, period),
        };
        // Nothing is expected of a rate of zero: 0 / 0.
        if seconds.is_finite() { seconds.clamp(0.0, self.seconds) } else { 0.0 }
    }

    /// Newton's steps, and halving where they would leave the bracket: at a low of zero the rate vanishes.
    fn on_wave(&self, requests: f64, low: f64, high: f64, period: f64) -> f64 {
        let (middle, half) = (f64::midpoint(low, high), (high - low) / 2.0);
        let mut guess = requests / middle;
        let off = half * period / TAU / middle;
        let (mut before, mut after) = ((guess - off).max(0.0), (guess + off).min(self.seconds));
        guess = guess.clamp(before, after.max(before));
        for _ in 0..MOST_STEPS {
            let beyond = self.integral(guess) - requests;
            if beyond > 0.0 {
                after = guess;
            } else {
                before = guess;
            }
            let newton = guess - beyond / (middle - half * (TAU * guess / period).cos());
            let next =
                if newton >= before && newton <= after { newton } else { f64::midpoint(before, after) };
            if (next - guess).abs() < 1e-10 {
                return next;
            }
            guess = next;
        }
        guess
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(shape: &Shape, seconds: f64) -> f64 {
        shape.pieces(seconds, 1).map(|piece| piece.requests()).sum()
    }

    #[test]
    fn the_expected_number_is_the_area_below_the_rate() {
        let trace = || Shape::Trace(Trace::parse("10\n0\n30\n").unwrap());
        for (shape, seconds, expected) in [
            (Shape::Constant { rate: 50.0 }, 3.0, 150.0),
            (Shape::Ramp { from: 0.0, to: 100.0 }, 4.0, 200.0),
            (Shape::Ramp { from: 100.0, to: 50.0 }, 2.0, 150.0),
            (Shape::Diurnal { low: 10.0, high: 90.0, period_seconds: 5.0 }, 10.0, 500.0),
            // A quarter of a period: 50/s less the sine's area.
            (Shape::Diurnal { low: 0.0, high: 100.0, period_seconds: 4.0 }, 1.0, 50.0 - 200.0 / TAU),
            (trace(), 3.0, 40.0),
            (trace(), 2.5, 25.0),
        ] {
            assert!(
                (total(&shape, seconds) - expected).abs() < 1e-9,
                "{shape:?}: {}",
                total(&shape, seconds)
            );
        }
    }

    #[test]
    fn bursts_have_their_length_and_their_mean_gap_and_follow_the_seed() {
        let bursty = Shape::Bursty { base: 10.0, burst: 100.0, length_seconds: 0.5, mean_gap_seconds: 2.0 };
        let pieces = |seed| bursty.pieces(3600.0, seed).collect::<Vec<_>>();
        assert_eq!(pieces(7), pieces(7));
        assert_ne!(pieces(7), pieces(8));
        let pieces = pieces(7);
        let (calm, burst): (Vec<Piece>, Vec<Piece>) =
            pieces.iter().copied().partition(|piece| piece.curve == Curve::Line { from: 10.0, to: 10.0 });
        assert!(burst[..burst.len() - 1].iter().all(|piece| piece.seconds == 0.5));
        // 1440 of each, with a deviation of 2 / sqrt(1440) = 0.053 of the mean.
        let mean = calm.iter().map(|piece| piece.seconds).sum::<f64>() / calm.len() as f64;
        assert!((mean - 2.0).abs() < 0.27, "{mean}");
        assert!((pieces.iter().map(|piece| piece.seconds).sum::<f64>() - 3600.0).abs() < 1e-6);
    }

    fn any_curve() -> impl Strategy<Value = Curve> {
        let rate = || prop_oneof![Just(0.0), 0.01..100_000.0_f64];
        prop_oneof![
            (rate(), rate()).prop_map(|(from, to)| Curve::Line { from, to }),
            (rate(), 0.0..100_000.0_f64, 0.1..4000.0_f64).prop_map(|(low, more, period)| Curve::Wave {
                low,
                high: low + more + 0.01,
                period
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_moment_is_when_its_requests_have_come(
            curve in any_curve(), seconds in 0.01..3600.0_f64, share in 0.0..1.0_f64,
        ) {
            let piece = Piece { seconds, curve };
            let requests = share * piece.requests();
            let moment = piece.moment(requests);
            prop_assert!((0.0..=seconds).contains(&moment));
            let off = (piece.integral(moment) - requests).abs();
            prop_assert!(off <= 1e-6 * (1.0 + requests), "{piece:?}: {off} off at {moment}");
        }

        #[test]
        fn moments_of_more_requests_are_later(
            curve in any_curve(), seconds in 0.01..3600.0_f64, shares in prop::array::uniform2(0.0..1.0_f64),
        ) {
            let piece = Piece { seconds, curve };
            let [less, more] = if shares[0] <= shares[1] { shares } else { [shares[1], shares[0]] };
            let at = |share: f64| piece.moment(share * piece.requests());
            prop_assert!(at(less) <= at(more) + 1e-9);
        }
    }
}
