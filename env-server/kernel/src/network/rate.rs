//! A rate as the kernel counts it, and how much may be sent at once at that rate.
//!
//! Pure; must not know how it is written into a message.

use std::fmt;

use ballast_api::{BitsPerSecond, Limit};

/// No limit may be lower: a full-size frame (1514 bytes) would take more than an eighth of a second, and the largest
/// segmented send (64 KiB) more than five seconds, in which TCP takes the path for dead. The kernel itself would take
/// less.
pub const SMALLEST_RATE_BITS_PER_SECOND: f64 = 100_000.0;

/// So much time's worth of the rate may be sent at once. HTB's credit is capped at this: by whatever the timer that wakes
/// the queue is later, the rate falls short. Measured with ten milliseconds, from 1 to 400 Mbit/s: within 0.03 % on a quiet
/// machine, and within 2 % where others kept both processors busy. A larger send than this is no problem, the class goes
/// into debt.
const BURST_MILLISECONDS: u64 = 10;
/// And so many full-size frames at least.
const BURST_FRAMES: u64 = 2;
/// Of an Ethernet frame, without its check sum, which Linux does not count.
const FRAME_HEADER_BYTES: u64 = 14;

/// HTB is told times in ticks of 64 ns (`PSCHED_SHIFT`, since Linux 2.6.31; `/proc/net/psched` says so).
const NANOSECONDS_PER_TICK: u128 = 64;

/// Bytes per second: of frames with their link header, each segment of a segmented send with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(u64);

impl Rate {
    pub(super) fn from_bytes_per_second(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// The rate nearest to a limit; absent for none, the smallest limit when it is less.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bits are not negative, and a float-to-integer cast saturates"
    )]
    pub(super) fn of(limit: Limit<BitsPerSecond>) -> Result<Option<Self>, BitsPerSecond> {
        match limit {
            Limit::Max => Ok(None),
            Limit::At(bits) if bits.get() < SMALLEST_RATE_BITS_PER_SECOND => {
                Err(BitsPerSecond::saturating(SMALLEST_RATE_BITS_PER_SECOND))
            }
            Limit::At(bits) => Ok(Some(Self((bits.get() / 8.0).round() as u64))),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate above 2^53 bytes/s may be shown rounded")]
    pub(super) fn limit(rate: Option<Self>) -> Limit<BitsPerSecond> {
        rate.map_or(Limit::Max, |rate| Limit::At(BitsPerSecond::saturating(rate.0 as f64 * 8.0)))
    }

    /// What may be sent at once, in bytes, on a link of this MTU.
    pub(super) fn burst_bytes(self, mtu: u32) -> u64 {
        let frame = u64::from(mtu) + FRAME_HEADER_BYTES;
        (self.0 / 1000 * BURST_MILLISECONDS).max(BURST_FRAMES * frame)
    }

    /// How long sending `bytes` takes, in ticks, at least one. Eternal at a rate of zero, which only others write.
    pub(super) fn ticks(self, bytes: u64) -> u32 {
        let nanoseconds = (u128::from(bytes) * 1_000_000_000).checked_div(u128::from(self.0));
        let ticks = nanoseconds.unwrap_or(u128::MAX) / NANOSECONDS_PER_TICK;
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes/s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(bits: f64) -> Rate {
        Rate::of(Limit::At(BitsPerSecond::new(bits).unwrap())).unwrap().unwrap()
    }

    #[test]
    fn a_rate_is_whole_bytes() {
        assert_eq!(rate(20e6), Rate(2_500_000));
        assert_eq!(rate(100_004.0), Rate(12_501));
        assert_eq!(rate(f64::MAX), Rate(u64::MAX));
        assert_eq!(Rate::of(Limit::Max), Ok(None));
        assert_eq!(Rate::limit(Some(Rate(12_501))), Limit::At(BitsPerSecond::new(100_008.0).unwrap()));
    }

    #[test]
    fn too_little_is_answered_with_the_smallest() {
        let smallest = BitsPerSecond::new(SMALLEST_RATE_BITS_PER_SECOND).unwrap();
        assert_eq!(Rate::of(Limit::At(BitsPerSecond::new(99_999.9).unwrap())), Err(smallest));
        assert!(Rate::of(Limit::At(smallest)).is_ok());
    }

    #[test]
    fn a_burst_is_ten_milliseconds_and_two_frames_at_least() {
        assert_eq!(rate(400e6).burst_bytes(1500), 500_000);
        assert_eq!(rate(1e6).burst_bytes(1500), 3028);
        assert_eq!(rate(1e6).burst_bytes(9000), 18_028);
        // 3028 bytes at 125000 bytes/s take 24.224 ms.
        assert_eq!(rate(1e6).ticks(3028), 24_224_000 / 64);
        assert_eq!(Rate(0).ticks(1), u32::MAX);
    }

    proptest! {
        #[test]
        fn what_is_in_force_is_within_half_a_byte(bits in SMALLEST_RATE_BITS_PER_SECOND..1e15) {
            let Limit::At(got) = Rate::limit(Some(rate(bits))) else { unreachable!() };
            prop_assert!((got.get() - bits).abs() <= 4.0 + 1e-6);
        }

        #[test]
        fn no_rate_overflows(bytes: u64, burst: u64, mtu: u32) {
            prop_assert!(Rate(bytes).ticks(burst) > 0);
            prop_assert!(Rate(bytes).burst_bytes(mtu) >= u64::from(mtu));
        }
    }
}
