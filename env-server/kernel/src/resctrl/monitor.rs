//! What a group's tasks use: cache occupied, and bytes moved to and from memory.
//!
//! Raw counters and rates are different types; the rate is pure. Must not know files. Section "Resource alloc and monitor
//! groups", `mon_data`.

use std::{collections::BTreeMap, time::Duration};

use ballast_api::{Bytes, BytesPerSecond};

/// One number, or the sentence why there is none: the kernel says `Unavailable`, `Error` or `Unassigned`.
pub type Reading = Result<u64, String>;

/// One reading for each cache domain, or why there is none at all.
pub type Readings = Result<BTreeMap<u32, Reading>, String>;

/// The counters of a group as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// `llc_occupancy`: bytes of last-level cache, now.
    pub occupancy: Readings,
    /// `mbm_total_bytes`: bytes moved so far.
    pub total: Readings,
    /// `mbm_local_bytes`: those of them to and from memory of the same node.
    pub local: Readings,
}

/// What was used over an interval, by all domains together.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Cache occupied at its end.
    pub occupancy: Result<Bytes, String>,
    /// Memory traffic.
    pub total: Result<BytesPerSecond, String>,
    /// Memory traffic within the same node.
    pub local: Result<BytesPerSecond, String>,
}

impl Counters {
    /// Counters that are all absent for one reason.
    #[must_use]
    pub fn absent(reason: &str) -> Self {
        let absent = || Err(reason.to_owned());
        Self { occupancy: absent(), total: absent(), local: absent() }
    }
}

/// No machine moves more: a counter that says so was set back or made anew. 2^44 bytes/s are 17 TB/s.
const MOST_BYTES_PER_SECOND: f64 = 17_592_186_044_416.0;

/// The rates between two readings of one group. A sum is absent when one of its domains is: a part would look like the
/// whole.
///
/// The kernel itself takes care that the hardware's counters wrap (after 24 to 62 bits) and shows 64 bits, so the difference
/// is taken modulo 2^64. What then is more than 2^44 bytes/s went back for another reason (the group was made anew, or AMD
/// gave its counter to another group meanwhile) and is absent.
#[must_use]
pub fn rates(before: &Counters, after: &Counters, elapsed: Duration) -> Rates {
    Rates {
        occupancy: sum(&after.occupancy).map(Bytes::saturating),
        total: rate(&before.total, &after.total, elapsed),
        local: rate(&before.local, &after.local, elapsed),
    }
}

fn rate(before: &Readings, after: &Readings, elapsed: Duration) -> Result<BytesPerSecond, String> {
    let seconds = elapsed.as_secs_f64();
    if seconds <= 0.0 {
        return Err("no time has passed between the two readings".to_owned());
    }
    let (before, after) = (before.as_ref().map_err(Clone::clone)?, after.as_ref().map_err(Clone::clone)?);
    if !before.keys().eq(after.keys()) {
        return Err("the cache domains have changed between the two readings".to_owned());
    }
    let mut sum = 0.0;
    for (domain, (before, after)) in before.keys().zip(before.values().zip(after.values())) {
        let (before, after) = (before.as_ref().map_err(Clone::clone)?, after.as_ref().map_err(Clone::clone)?);
        let rate = as_f64(after.wrapping_sub(*before)) / seconds;
        if rate > MOST_BYTES_PER_SECOND {
            return Err(format!(
                "the counter of domain {domain} went from {before} to {after}, which no traffic explains"
            ));
        }
        sum += rate;
    }
    Ok(BytesPerSecond::saturating(sum))
}

/// The sum over all domains of readings that are no counters.
fn sum(readings: &Readings) -> Result<f64, String> {
    readings.as_ref().map_err(Clone::clone)?.values().map(|reading| reading.clone().map(as_f64)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "past 2^53 bytes a rate may be off by one part in 10^15")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

/// Reads one file of `mon_data`. The outer `None` is for a text that no kernel writes.
pub(crate) fn parse(text: &str) -> Option<Reading> {
    let text = text.trim();
    match text {
        "Unavailable" => Some(Err("the hardware has no value at the moment (Unavailable)".to_owned())),
        "Error" => Some(Err("the hardware refused to be read (Error)".to_owned())),
        "Unassigned" => Some(Err("no hardware counter is assigned to the group (Unassigned)".to_owned())),
        _ => text.parse().ok().map(Ok),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counting(values: &[Reading]) -> Counters {
        let readings: BTreeMap<u32, Reading> = (0..).zip(values.iter().cloned()).collect();
        Counters { occupancy: Ok(readings.clone()), total: Ok(readings.clone()), local: Ok(readings) }
    }

    fn per_second(rate: f64) -> Result<BytesPerSecond, String> {
        Ok(BytesPerSecond::new(rate).unwrap())
    }

    const TWO_SECONDS: Duration = Duration::from_secs(2);

    #[test]
    fn domains_are_summed() {
        let rates = rates(&counting(&[Ok(100), Ok(7)]), &counting(&[Ok(300), Ok(17)]), TWO_SECONDS);
        assert_eq!(rates.total, per_second(105.0));
        assert_eq!(rates.local, per_second(105.0));
        assert_eq!(rates.occupancy, Ok(Bytes::new(317.0).unwrap()));
    }

    #[test]
    fn a_wrap_at_64_bits_is_followed_and_a_counter_that_went_back_is_absent() {
        let before = counting(&[Ok(u64::MAX - 99)]);
        assert_eq!(rates(&before, &counting(&[Ok(100)]), TWO_SECONDS).total, per_second(100.0));
        let reset = rates(&counting(&[Ok(1 << 40)]), &counting(&[Ok(5)]), TWO_SECONDS);
        assert!(reset.total.unwrap_err().contains("domain 0"));
    }

    #[test]
    fn what_one_domain_lacks_the_sum_lacks() {
        let absent = parse("Unavailable\n").unwrap();
        let holed = counting(&[Ok(1), absent]);
        let rates = rates(&counting(&[Ok(1), Ok(2)]), &holed, TWO_SECONDS);
        assert!(rates.total.unwrap_err().contains("Unavailable"));
        assert!(rates.occupancy.unwrap_err().contains("Unavailable"));
        let other = super::rates(&counting(&[Ok(1)]), &counting(&[Ok(1), Ok(2)]), TWO_SECONDS);
        assert!(other.total.unwrap_err().contains("domains have changed"));
    }

    #[test]
    fn no_time_and_no_monitoring_give_reasons() {
        let one = counting(&[Ok(1)]);
        assert!(rates(&one, &one, Duration::ZERO).total.is_err());
        assert_eq!(
            rates(&one, &Counters::absent("no L3_MON"), TWO_SECONDS).local,
            Err("no L3_MON".to_owned())
        );
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(parse("12345\n"), Some(Ok(12345)));
        assert_eq!(parse("18446744073709551615"), Some(Ok(u64::MAX)));
        for absent in ["Unavailable\n", "Error\n", "Unassigned\n"] {
            assert!(parse(absent).unwrap().is_err(), "{absent}");
        }
        for odd in ["", "-1", "unavailable", "1 2", "18446744073709551616"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_rate_is_what_was_added_whatever_the_start(
            start: u64, added in 0u64..1 << 40, millis in 1000u64..10_000,
        ) {
            let (before, after) = (counting(&[Ok(start)]), counting(&[Ok(start.wrapping_add(added))]));
            let rate = rates(&before, &after, Duration::from_millis(millis)).total.unwrap().get();
            let expected = as_f64(added) * 1000.0 / as_f64(millis);
            prop_assert!((rate - expected).abs() <= expected * 1e-9 + 1e-9);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,30}") {
            parse(&text);
        }
    }
}
