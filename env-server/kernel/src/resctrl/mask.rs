//! Which ways of a cache a group gets: so many, in one run, where the fewest others are.
//!
//! Pure; must not know where masks are written. Section "Cache Bit Masks (CBM)": Intel wants the ones of a mask in one run,
//! and a run is right where sparse masks are allowed too.

/// How many ways hold `bytes` of a cache whose ways hold `bytes_per_way` each: rounded up to whole ways, so that nobody
/// gets less than it asked; at least `fewest` (`min_cbm_bits`, and one even where the kernel would accept none), and at
/// most `all`.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-integer cast saturates, and the answer is held between two counts"
)]
pub fn ways_for(bytes: f64, bytes_per_way: f64, fewest: u32, all: u32) -> u32 {
    let ways = if bytes_per_way > 0.0 { (bytes / bytes_per_way).ceil() as u32 } else { all };
    ways.max(fewest).max(1).min(all)
}

/// Who else uses the ways of one cache domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbours<'a> {
    /// The masks of other groups, one each.
    pub masks: &'a [u64],
    /// Ways that devices use as well (`shareable_bits`).
    pub shareable: u64,
    /// Ways of exclusive and pseudo-locked groups: the kernel refuses a mask that touches one.
    pub forbidden: u64,
}

/// A mask of `ways` ones in a row within `all`: of the places that touch nothing forbidden the one that shares the fewest
/// ways with other groups (a way shared with two counts twice), then the fewest with devices, then the lowest. `None` when
/// there is no such place.
#[must_use]
pub fn place(all: u64, ways: u32, neighbours: Neighbours<'_>) -> Option<u64> {
    let run = run_of(ways)?;
    (0..u64::BITS)
        .filter_map(|shift| {
            let mask = run.checked_shl(shift).filter(|mask| mask >> shift == run)?;
            (mask & !all == 0 && mask & neighbours.forbidden == 0).then_some((shift, mask))
        })
        .min_by_key(|(shift, mask)| {
            let shared: u32 = neighbours.masks.iter().map(|other| (other & mask).count_ones()).sum();
            (shared, (mask & neighbours.shareable).count_ones(), *shift)
        })
        .map(|(_, mask)| mask)
}

/// The longest run of ways that nobody holds exclusively: what "no limit" means on this cache. The lowest of several.
#[must_use]
pub fn widest(all: u64, forbidden: u64) -> u64 {
    let none = Neighbours { masks: &[], shareable: 0, forbidden };
    (1..=all.count_ones()).rev().find_map(|ways| place(all, ways, none)).unwrap_or(0)
}

fn run_of(ways: u32) -> Option<u64> {
    (1..=u64::BITS).contains(&ways).then(|| u64::MAX >> (u64::BITS - ways))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn among(masks: &[u64]) -> Neighbours<'_> {
        Neighbours { masks, shareable: 0, forbidden: 0 }
    }

    #[test]
    fn bytes_become_whole_ways() {
        assert_eq!(ways_for(1.0, 1024.0, 1, 20), 1);
        assert_eq!(ways_for(1024.0, 1024.0, 1, 20), 1);
        assert_eq!(ways_for(1025.0, 1024.0, 1, 20), 2);
        assert_eq!(ways_for(0.0, 1024.0, 2, 20), 2, "never fewer than min_cbm_bits");
        assert_eq!(ways_for(0.0, 1024.0, 0, 20), 1, "never none");
        assert_eq!(ways_for(1e300, 1024.0, 1, 20), 20);
        assert_eq!(ways_for(5.0, 0.0, 1, 20), 20, "a cache of unknown size is given whole");
    }

    #[test]
    fn a_mask_lies_where_the_fewest_others_are() {
        assert_eq!(place(0xff, 2, among(&[])), Some(0x03));
        assert_eq!(place(0xff, 2, among(&[0x03])), Some(0x0c));
        assert_eq!(place(0xff, 2, among(&[0x0f, 0xf0, 0xc0])), Some(0x03), "lowest of equals");
        assert_eq!(place(0xff, 4, among(&[0x3c])), Some(0x0f));
        assert_eq!(place(0xff, 8, among(&[0xff])), Some(0xff));
        assert_eq!(place(0xff, 9, among(&[])), None);
        assert_eq!(place(u64::MAX, 64, among(&[])), Some(u64::MAX));
        assert_eq!(place(0xff, 0, among(&[])), None);
    }

    #[test]
    fn ways_of_devices_are_avoided_and_exclusive_ones_never_touched() {
        let shareable = Neighbours { masks: &[], shareable: 0x03, forbidden: 0 };
        assert_eq!(place(0xff, 2, shareable), Some(0x0c));
        assert_eq!(place(0xff, 8, shareable), Some(0xff), "only where possible");
        let exclusive = Neighbours { masks: &[], shareable: 0, forbidden: 0x18 };
        assert_eq!(place(0xff, 3, exclusive), Some(0x07));
        assert_eq!(place(0xff, 4, exclusive), None);
        assert_eq!((widest(0xff, 0x18), widest(0xff, 0), widest(0xff, 0xff)), (0x07, 0xff, 0));
    }

    proptest! {
        /// Against every place there is, tried one by one.
        #[test]
        fn a_place_is_a_run_within_the_cache_and_none_is_better(
            length in 1u32..=20,
            ways in 0u32..=22,
            masks in proptest::collection::vec(0u64..1 << 20, 0..5),
            shareable in 0u64..1 << 20,
            forbidden in 0u64..1 << 20,
        ) {
            let all = (1u64 << length) - 1;
            let neighbours = Neighbours { masks: &masks, shareable, forbidden };
            let shared = |mask: u64| masks.iter().map(|m| (m & mask).count_ones()).sum::<u32>();
            let allowed: Vec<u64> = (0..length)
                .map(|shift| ((1u64 << ways) - 1) << shift)
                .filter(|mask| *mask != 0 && mask & !all == 0 && mask & forbidden == 0)
                .collect();
            match place(all, ways, neighbours) {
                None => prop_assert!(allowed.is_empty()),
                Some(mask) => {
                    prop_assert!(allowed.contains(&mask));
                    prop_assert_eq!(mask.count_ones(), ways);
                    prop_assert!(allowed.iter().all(|other| shared(mask) <= shared(*other)));
                }
            }
        }

        #[test]
        fn nobody_gets_less_than_it_asked(bytes in 0.0f64..1e9, per_way in 1.0f64..1e8, fewest in 0u32..4) {
            let ways = ways_for(bytes, per_way, fewest, 20);
            prop_assert!(ways >= fewest.max(1) && ways <= 20);
            prop_assert!(ways == 20 || f64::from(ways) * per_way >= bytes * (1.0 - 1e-12));
            prop_assert!(ways == fewest.max(1) || f64::from(ways - 1) * per_way < bytes);
        }
    }
}
