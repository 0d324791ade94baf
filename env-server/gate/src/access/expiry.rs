//! When a certificate ends, from its DER (RFC 5280, 4.1): webpki checks that, and does not tell it.
//!
//! For this node's own certificate, to be shown; must not decide anything.

use std::time::UNIX_EPOCH;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The end of its validity in seconds of Unix time; absent where that cannot be read.
pub(super) fn ends_at(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (fields, _) = element(certificate, SEQUENCE)?;
    let fields = element(fields, VERSION).map_or(fields, |(_, rest)| rest);
    // Its number, how it was signed, and by whom.
    let fields = [INTEGER, SEQUENCE, SEQUENCE]
        .into_iter()
        .try_fold(fields, |fields, tag| element(fields, tag).map(|(_, rest)| rest))?;
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, end) = time(validity)?;
    time(end)?.0
}

/// The seconds of Unix time that come first, where they can be read, and what follows.
fn time(der: &[u8]) -> Option<(Option<u64>, &[u8])> {
    if let Some((text, rest)) = element(der, GENERALIZED_TIME) {
        return Some((seconds("", text), rest));
    }
    let (text, rest) = element(der, UTC_TIME)?;
    // Two digits of a year are of 1950 to 2049.
    let century = if text.first().is_some_and(|digit| *digit >= b'5') { "19" } else { "20" };
    Some((seconds(century, text), rest))
}

fn seconds(century: &str, text: &[u8]) -> Option<u64> {
    let digits = format!("{century}{}", str::from_utf8(text).ok()?.strip_suffix('Z')?);
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (date, time) = digits.split_at(8);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    Some(humantime::parse_rfc3339(&text).ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The content of the first element, if that has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(length.into());
    }
    let (length, rest) =
        rest.split_at_checked((length & 0x7f).into()).filter(|(length, _)| length.len() <= 4)?;
    rest.split_at_checked(length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 2, 3);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_told_in_both_ways_of_writing_it() {
        for (year, seconds) in [(1999, 918_000_000), (2026, 1_770_076_800), (2060, 2_842_992_000)] {
            assert_eq!(ends_at(&certificate(year)), Some(seconds), "{year}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_part_of_a_certificate_end(
            bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200, flip in any::<u8>()
        ) {
            let _ = ends_at(&bytes);
            let mut damaged = certificate(2026);
            damaged[cut] = flip;
            let _ = ends_at(&damaged);
            prop_assert_eq!(ends_at(&damaged[..cut]), None);
        }
    }
}
