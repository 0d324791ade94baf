//! A line with a delay, on which some frames are lost.
//!
//! Pure. Must not know where frames come from nor where they go.

use std::{collections::VecDeque, time::Duration};

use ballast_kernel::network::Netem;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// So much may be on a line at once; what comes then is lost. What 500 Mbit/s come to in a second.
const MOST_BYTES: usize = 64 << 20;

/// Frames on their way. They keep their order: with jitter, one that catches up with another waits for it.
#[derive(Debug)]
pub(super) struct Line {
    netem: Netem,
    random: StdRng,
    frames: VecDeque<(Duration, Vec<u8>)>,
    bytes: usize,
    latest: Duration,
}

impl Line {
    /// Loses the same frames whenever it is used with the same number and as many of them: an experiment can be repeated.
    pub(super) fn new(netem: Netem, number: u64) -> Self {
        let random = StdRng::seed_from_u64(number);
        Self { netem, random, frames: VecDeque::new(), bytes: 0, latest: Duration::ZERO }
    }

    /// A frame begins its way, or is lost.
    pub(super) fn accept(&mut self, now: Duration, frame: &[u8]) {
        let is_lost = self.netem.loss > 0.0 && self.random.random_bool(self.netem.loss.min(1.0));
        if is_lost || self.bytes + frame.len() > MOST_BYTES {
            return;
        }
        self.latest = self.latest.max(now + self.delay());
        self.bytes += frame.len();
        self.frames.push_back((self.latest, frame.to_vec()));
    }

    fn delay(&mut self) -> Duration {
        let Netem { delay, jitter, .. } = self.netem;
        if jitter.is_zero() {
            return delay;
        }
        delay.saturating_sub(jitter) + jitter.mul_f64(self.random.random_range(0.0..2.0))
    }

    /// When the next frame arrives; absent where none is on its way.
    pub(super) fn next(&self) -> Option<Duration> {
        self.frames.front().map(|(due, _)| *due)
    }

    /// The next frame that has arrived by `now`.
    pub(super) fn arrived(&mut self, now: Duration) -> Option<Vec<u8>> {
        let (_, frame) = self.frames.pop_front_if(|(due, _)| *due <= now)?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn line(delay: Duration, jitter: Duration, loss: f64) -> Line {
        Line::new(Netem { delay, jitter, loss }, 0)
    }

    #[test]
    fn a_frame_arrives_after_the_delay() {
        let mut line = line(20 * MS, Duration::ZERO, 0.0);
        line.accept(5 * MS, b"frame");
        assert_eq!((line.next(), line.arrived(24 * MS)), (Some(25 * MS), None));
        assert_eq!((line.arrived(25 * MS), line.next()), (Some(b"frame".to_vec()), None));
    }

    #[test]
    fn the_share_that_is_lost_is_the_one_asked_for() {
        let mut line = line(Duration::ZERO, Duration::ZERO, 0.05);
        (0..100_000).for_each(|_| line.accept(Duration::ZERO, b"x"));
        // Four standard deviations are 276.
        assert!((94_724..=95_276).contains(&line.frames.len()), "{}", line.frames.len());
    }

    #[test]
    fn what_is_on_a_line_is_bounded() {
        let mut line = line(MS, Duration::ZERO, 0.0);
        let frame = vec![0; 1 << 20];
        (0..100).for_each(|_| line.accept(Duration::ZERO, &frame));
        assert_eq!(line.frames.len(), 64);
        while line.arrived(MS).is_some() {}
        assert_eq!(line.bytes, 0);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds_and_keeps_the_order(gaps in proptest::collection::vec(0u32..50, 1..100)) {
            let mut line = line(20 * MS, 5 * MS, 0.0);
            let mut now = Duration::ZERO;
            let mut before = Duration::ZERO;
            for gap in gaps {
                now += gap * MS;
                line.accept(now, b"x");
                let due = line.frames.back().unwrap().0;
                prop_assert!(due >= before && due >= now + 15 * MS && due <= now + 25 * MS);
                before = due;
            }
        }
    }
}
