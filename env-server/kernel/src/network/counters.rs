//! What a container sent and received, as raw counters and as rates.
//!
//! Must not know who samples, nor how often.

use std::time::Duration;

use ballast_api::{BitsPerSecond, EgressIngress};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::Stats64,
    stats::{StatsAttribute, StatsFilterMask, StatsMessage},
};

use super::{
    links::Link,
    netlink::{Netlink, Request},
};
use crate::error::KernelError;

/// Raw counters of one direction: they only grow, as long as the interface lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes of frames, with their link header.
    pub bytes: u64,
    /// Frames, a segmented send counting as one.
    pub packets: u64,
}

/// Both directions, seen from the container.
///
/// Egress is counted before the limit, as the container sends it, ingress after it. A send that the kernel segments
/// later is counted with one set of headers, a limit counts those of each segment: a container at its limit shows up to
/// 4.4 % less here than the limit (frames of 1514 bytes, 66 of them headers).
pub type NetworkCounters = EgressIngress<Traffic>;

/// The counters of the host side are the container's the other way round.
pub(super) fn of_host_side(netlink: &Netlink, link: &Link) -> Result<NetworkCounters, KernelError> {
    let mut message = StatsMessage::default();
    message.header.ifindex = link.index;
    message.header.filter_mask = StatsFilterMask::Link64;
    let request = Request::new("read the counters of", link, RouteNetlinkMessage::GetStats(message));
    let host = match netlink.get(&request)? {
        RouteNetlinkMessage::NewStats(answer) => statistics(answer),
        _ => None,
    };
    let host = host.ok_or_else(|| request.odd("it has no 64-bit counters"))?;
    Ok(EgressIngress {
        egress: Traffic { bytes: host.rx_bytes, packets: host.rx_packets },
        ingress: Traffic { bytes: host.tx_bytes, packets: host.tx_packets },
    })
}

fn statistics(answer: StatsMessage) -> Option<Stats64> {
    answer.attributes.into_iter().find_map(|attribute| match attribute {
        StatsAttribute::Link64(statistics) => Some(statistics),
        _ => None,
    })
}

/// The rates between two samples. Absent when no time passed, or when a counter fell: it began anew, and nothing is known
/// about the time before.
#[must_use]
pub fn rates(
    before: &NetworkCounters,
    after: &NetworkCounters,
    elapsed: Duration,
) -> Option<EgressIngress<BitsPerSecond>> {
    Some(EgressIngress {
        egress: rate(before.egress, after.egress, elapsed)?,
        ingress: rate(before.ingress, after.ingress, elapsed)?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "bytes between two samples are far below 2^53")]
fn rate(before: Traffic, after: Traffic, elapsed: Duration) -> Option<BitsPerSecond> {
    let bytes = after.bytes.checked_sub(before.bytes)?;
    (elapsed > Duration::ZERO).then(|| BitsPerSecond::saturating(bytes as f64 * 8.0 / elapsed.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(egress: u64, ingress: u64) -> NetworkCounters {
        let traffic = |bytes| Traffic { bytes, packets: bytes / 1000 };
        EgressIngress { egress: traffic(egress), ingress: traffic(ingress) }
    }

    #[test]
    fn a_rate_is_the_growth_over_the_time() {
        let rates = rates(&counters(1000, 0), &counters(3000, 500), Duration::from_secs(2)).unwrap();
        assert_eq!((rates.egress.get(), rates.ingress.get()), (8000.0, 2000.0));
    }

    #[test]
    fn a_counter_that_fell_or_a_clock_that_stood_still_gives_nothing() {
        let before = counters(1000, 1000);
        assert_eq!(rates(&before, &counters(999, 2000), Duration::from_secs(1)), None);
        assert_eq!(rates(&before, &counters(2000, 999), Duration::from_secs(1)), None);
        assert_eq!(rates(&before, &before, Duration::ZERO), None);
    }
}
