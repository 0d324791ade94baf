//! Sets of processors as the files `cpus` (a mask) and `cpus_list` (ranges) show and take them.
//!
//! Pure. Section "Resource alloc and monitor groups".

use std::collections::BTreeSet;

/// Processors by number.
pub type Cpus = BTreeSet<u32>;

/// No machine of the emulator has more; a larger number in a write is refused.
const MOST: u32 = 4096;

/// A mask in groups of 32 bits, the highest first, as wide as `count` processors need.
#[must_use]
pub fn show_mask(cpus: &Cpus, count: u32) -> String {
    let words = count.div_ceil(32).max(1);
    let word = |index: u32| {
        (0..32).filter(|bit| cpus.contains(&(index * 32 + bit))).map(|bit| 1_u32 << bit).sum::<u32>()
    };
    let mut shown = Vec::new();
    for index in (0..words).rev() {
        let bits = if index + 1 == words { count - index * 32 } else { 32 };
        let width = usize::try_from(bits.div_ceil(4)).unwrap_or(8);
        shown.push(format!("{:0width$x}", word(index)));
    }
    shown.join(",")
}

/// Ranges such as `0-3,5`.
#[must_use]
pub fn show_list(cpus: &Cpus) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let show = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}

/// Reads a mask.
#[must_use]
pub fn parse_mask(text: &str) -> Option<Cpus> {
    let mut cpus = Cpus::new();
    for (index, word) in (0_u32..).zip(text.trim().rsplit(',')) {
        let bits = u32::from_str_radix(word, 16).ok().filter(|_| !word.starts_with('+'))?;
        let first = index.checked_mul(32).filter(|first| *first < MOST)?;
        cpus.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| first + bit));
    }
    Some(cpus)
}

/// Reads ranges; none at all is the empty set.
#[must_use]
pub fn parse_list(text: &str) -> Option<Cpus> {
    let mut cpus = Cpus::new();
    for range in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_what_the_kernel_shows() {
        let cpus = Cpus::from([0, 1, 2, 3, 5]);
        assert_eq!((show_mask(&cpus, 8).as_str(), show_list(&cpus).as_str()), ("2f", "0-3,5"));
        assert_eq!((show_mask(&Cpus::new(), 8).as_str(), show_list(&Cpus::new()).as_str()), ("00", ""));
        assert_eq!(show_mask(&Cpus::from([0, 40]), 48), "0100,00000001");
    }

    #[test]
    fn refuses_what_is_no_set() {
        assert!(["", "g", "-1", "+1", "1,,1"].iter().all(|bad| parse_mask(bad).is_none()));
        assert!(["3-1", "x", "1-", "99999", ","].iter().all(|bad| parse_list(bad).is_none()));
        assert_eq!(parse_list("\n"), Some(Cpus::new()));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(cpus in proptest::collection::btree_set(0u32..128, 0..20)) {
            prop_assert_eq!(parse_mask(&show_mask(&cpus, 128)), Some(cpus.clone()));
            prop_assert_eq!(parse_list(&show_list(&cpus)), Some(cpus));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,20}") {
            let _ = (parse_mask(&text), parse_list(&text));
        }
    }
}
