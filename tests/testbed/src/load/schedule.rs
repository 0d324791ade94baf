//! Which request is sent when, whatever becomes of the others: an open loop.
//!
//! Pure: the same seed gives the same schedule. Must not know how requests are sent.

use std::time::Duration;

use clap::ValueEnum;
use rand::SeedableRng;
use rand_distr::{Distribution, Exp, weighted::WeightedIndex};
use rand_pcg::Pcg64;

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// Independent of each other: exponential gaps
    Poisson,
    /// At equal distances
    Uniform,
}

/// One request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, counted from the begin.
    pub at: Duration,
    /// Which request type, by its number in the topology.
    pub request: usize,
}

/// An endless schedule; its times never decrease.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    gap: Exp<f64>,
    rate: f64,
    shares: WeightedIndex<f64>,
    dice: Pcg64,
    sent: u64,
    at_seconds: f64,
}

impl Schedule {
    /// Requests at `rate` per second, of types drawn by their `shares`.
    ///
    /// # Errors
    /// A sentence, when the rate is not above 0 and at most 100000, or the shares are no shares.
    pub fn new(arrivals: Arrivals, rate: f64, shares: &[f64], seed: u64) -> Result<Self, String> {
        if !(rate > 0.0 && rate <= 100_000.0) {
            return Err(format!("the rate must be above 0 and at most 100000 requests/s, not {rate}"));
        }
        Ok(Self {
            arrivals,
            gap: Exp::new(rate).map_err(|error| error.to_string())?,
            rate,
            shares: WeightedIndex::new(shares).map_err(|error| format!("the shares: {error}"))?,
            dice: Pcg64::seed_from_u64(seed),
            sent: 0,
            at_seconds: 0.0,
        })
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.sent += 1;
        self.at_seconds = match self.arrivals {
            Arrivals::Poisson => self.at_seconds + self.gap.sample(&mut self.dice),
            // From the count, so that rounding does not add up.
            #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
            Arrivals::Uniform => self.sent as f64 / self.rate,
        };
        let request = self.shares.sample(&mut self.dice);
        Some(Arrival { at: Duration::try_from_secs_f64(self.at_seconds).unwrap_or(Duration::MAX), request })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn within_a_minute(arrivals: Arrivals, rate: f64, seed: u64) -> Vec<Arrival> {
        let minute = Duration::from_secs(60);
        let schedule = Schedule::new(arrivals, rate, &[0.6, 0.39, 0.01], seed).unwrap();
        schedule.take_while(|arrival| arrival.at <= minute).collect()
    }

    #[test]
    fn the_rate_and_the_shares_are_kept() {
        for seed in 0..5 {
            let arrivals = within_a_minute(Arrivals::Poisson, 100.0, seed);
            // 6000 expected with a deviation of 77; 3600 of the first type with one of 38.
            assert!((5700..6300).contains(&arrivals.len()), "{}", arrivals.len());
            let first = arrivals.iter().filter(|arrival| arrival.request == 0).count();
            assert!((3400..3800).contains(&first), "{first}");
        }
    }

    #[test]
    fn poisson_gaps_vary_as_much_as_their_mean() {
        let arrivals = within_a_minute(Arrivals::Poisson, 100.0, 1);
        let gaps: Vec<f64> =
            arrivals.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{}", variance.sqrt() / mean);
    }

    #[test]
    fn uniform_gaps_do_not_drift() {
        let arrivals = within_a_minute(Arrivals::Uniform, 30.0, 1);
        assert_eq!(arrivals.len(), 1800);
        assert_eq!(arrivals[1799].at, Duration::from_secs(60));
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        assert_eq!(within_a_minute(Arrivals::Poisson, 20.0, 7), within_a_minute(Arrivals::Poisson, 20.0, 7));
        assert_ne!(within_a_minute(Arrivals::Poisson, 20.0, 7), within_a_minute(Arrivals::Poisson, 20.0, 8));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Schedule::new(Arrivals::Poisson, bad, &[1.0], 1).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn time_never_goes_back(rate in 0.01..100_000.0, seed: u64) {
            let schedule = Schedule::new(Arrivals::Poisson, rate, &[1.0], seed).unwrap();
            let arrivals: Vec<Arrival> = schedule.take(200).collect();
            prop_assert!(arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at));
        }
    }
}
