//! How often one peer may ask.
//!
//! Must not know what is asked.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};

/// So many buckets there are at most, whoever asks: this bounds the memory. Peers that share a bucket share its rate;
/// which ones do cannot be foretold.
const BUCKETS: u64 = 4096;

/// A bucket for each peer: an IPv4 address, the /64 network of an IPv6 address, of which anyone has as many addresses as
/// they like, or this machine, which has millions of loopback addresses.
pub struct Pace {
    buckets: RateLimiter<u64, HashMapStateStore<u64>, DefaultClock>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Pace {
    /// So many a second, and twice as many at once after a rest.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let clock = DefaultClock::default();
        let buckets = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Self { buckets, hasher: RandomState::new(), clock }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// The time until the next one is admitted.
    pub fn admit(&self, peer: IpAddr) -> Result<(), Duration> {
        let bucket = self.hasher.hash_one(network(peer)) % BUCKETS;
        self.buckets.check_key(&bucket).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// What counts as one peer.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        loopback if loopback.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_burst_and_then_waits() {
        let pace = Pace::new(NonZeroU32::new(1).unwrap());
        let hasty = IpAddr::from([10, 0, 0, 1]);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!([pace.admit(hasty), pace.admit(mapped)], [Ok(()), Ok(())]);
        let wait = pace.admit(hasty).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(ip("2001:db8::1")), network(ip("2001:db8::ffff:1")));
        assert_ne!(network(ip("2001:db8::1")), network(ip("2001:db8:0:1::1")));
        assert_ne!(network(ip("10.0.0.1")), network(ip("10.0.0.2")));
        for loopback in ["127.0.0.2", "127.255.255.254", "::1", "::ffff:127.8.0.1"] {
            assert_eq!(network(ip(loopback)), network(ip("127.0.0.1")), "{loopback}");
        }
    }

    #[test]
    fn whoever_asks_memory_is_bounded() {
        let pace = Pace::new(NonZeroU32::new(100).unwrap());
        for i in 0..50_000_u32 {
            let _ = pace.admit(IpAddr::from(i.to_be_bytes()));
        }
        assert!(pace.buckets.len() <= 4096, "{}", pace.buckets.len());
    }
}
