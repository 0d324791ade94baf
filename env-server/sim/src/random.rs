//! Chance: arrivals, and a stream of its own for each call.
//!
//! Every call draws from a stream that its caller has seeded, in the order of the caller's steps. So what a request asks
//! for does not depend on limits, injections or other requests: two runs with one seed face the same users, whatever the
//! controller does (common random numbers). Must not know what is drawn for.

use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};
use rand_pcg::Pcg64Mcg;

use ballast_api::trace::{SpanId, TraceId};

use crate::{
    config::HOP_DELAY_SIGMA,
    time::{NEVER, Nanos, ceil_u64, float},
};

/// A stream of random draws.
#[derive(Debug, Clone)]
pub(crate) struct Stream(Pcg64Mcg);

impl Stream {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A stream that does not depend on what is drawn from this one later.
    pub(crate) fn child(&mut self) -> Self {
        Self(Pcg64Mcg::new(self.0.random()))
    }

    pub(crate) fn trace_id(&mut self) -> TraceId {
        TraceId(self.0.random::<u128>().max(1))
    }

    pub(crate) fn span_id(&mut self) -> SpanId {
        SpanId(self.0.next_u64().max(1))
    }

    /// In [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// A time below `end`.
    pub(crate) fn below(&mut self, end: Nanos) -> Nanos {
        self.0.random_range(0..end.max(1))
    }

    /// Erlang of 4 stages with this mean: the sum of four exponentials (coefficient of variation one half).
    pub(crate) fn erlang4(&mut self, mean: f64) -> f64 {
        let stages: f64 = (0..4).map(|_| self.unit_exponential()).sum();
        mean / 4.0 * stages
    }

    /// Lognormal with this median, in nanoseconds.
    pub(crate) fn hop_delay(&mut self, median_ns: f64) -> Nanos {
        let normal: f64 = StandardNormal.sample(&mut self.0);
        ceil_u64(median_ns * (HOP_DELAY_SIGMA * normal).exp())
    }

    fn unit_exponential(&mut self) -> f64 {
        Exp1.sample(&mut self.0)
    }
}

/// Open-loop Poisson arrivals whose rate can change at any time.
#[derive(Debug)]
pub(crate) struct Arrivals {
    stream: Stream,
    per_second: f64,
    /// Until the next arrival, in mean gaps, counted from `since`. Kept when the rate changes: what has been waited for
    /// is not lost, and the stream of draws stays the same.
    gaps_left: f64,
    since: Nanos,
}

impl Arrivals {
    pub(crate) fn new(mut stream: Stream, per_second: f64) -> Self {
        let gaps_left = stream.unit_exponential();
        Self { stream, per_second, gaps_left, since: 0 }
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Nanos {
        if self.per_second > 0.0 {
            self.since.saturating_add(ceil_u64(self.gaps_left / self.per_second * 1e9))
        } else {
            NEVER
        }
    }

    /// Takes the one that is due now and answers the stream of its request.
    pub(crate) fn take(&mut self, now: Nanos) -> Stream {
        let request = self.stream.child();
        self.since = now;
        self.gaps_left = self.stream.unit_exponential();
        request
    }

    pub(crate) fn set_rate(&mut self, now: Nanos, per_second: f64) {
        let waited = float(now.saturating_sub(self.since)) / 1e9 * self.per_second;
        self.gaps_left = (self.gaps_left - waited).max(0.0);
        self.since = now;
        self.per_second = per_second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erlang_has_its_mean_and_half_the_spread() {
        let mut stream = Stream::from_seed(7);
        let draws: Vec<f64> = (0..100_000).map(|_| stream.erlang4(3.0)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 3.0).abs() < 0.03, "{mean}");
        assert!((variance.sqrt() / mean - 0.5).abs() < 0.01, "{variance}");
    }

    #[test]
    fn without_delay_a_hop_takes_no_time() {
        assert_eq!(Stream::from_seed(1).hop_delay(0.0), 0);
    }

    fn count(arrivals: &mut Arrivals, until: Nanos) -> u32 {
        let mut count = 0;
        while arrivals.due() <= until {
            let due = arrivals.due();
            arrivals.take(due);
            count += 1;
        }
        count
    }

    #[test]
    fn arrivals_follow_a_rate_that_changes() {
        let mut arrivals = Arrivals::new(Stream::from_seed(3), 100.0);
        let second = 1_000_000_000;
        let before = count(&mut arrivals, 100 * second);
        arrivals.set_rate(100 * second, 0.0);
        assert_eq!(arrivals.due(), NEVER);
        arrivals.set_rate(200 * second, 400.0);
        let after = count(&mut arrivals, 300 * second);
        // Poisson: four standard deviations are 400 and 800.
        assert!(before.abs_diff(10_000) < 400 && after.abs_diff(40_000) < 800, "{before} {after}");
    }
}
