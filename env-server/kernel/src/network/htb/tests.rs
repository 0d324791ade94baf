//! HTB's bytes: as the kernel and other programs write them, and any others.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn lent(rate: u64) -> Hold {
    Hold { rate: Rate::from_bytes_per_second(rate), by: Holder::Lender }
}

fn class(rate: u64) -> Class {
    Class::of(lent(rate), 1500)
}

#[test]
#[cfg(target_endian = "little")]
fn a_qdisc_is_these_bytes() {
    let golden = "1800 0200  03000000 0a000000 01000000 00000000 00000000";
    assert_eq!(Qdisc { no_queue_before: false }.encode(), hex(golden));
    let golden = "1800 0200  03000000 0b000000 01000000 00000000 00000000";
    assert_eq!(Qdisc { no_queue_before: true }.encode(), hex(golden));
}

#[test]
#[cfg(target_endian = "little")]
fn a_class_is_these_bytes() {
    // 2500000 bytes/s and 25000 bytes at once: 10 ms, which are 156250 ticks.
    let golden = "3000 0100  00 01 0000 0000 0000 a0252600  00 01 0000 0000 0000 a0252600
                  5a620200 5a620200 00000100 00000000 00000000";
    assert_eq!(class(2_500_000).encode(), hex(golden));
    // And its priority, the last number, when it is an injection's.
    let injected = Hold { by: Holder::Injection, ..lent(2_500_000) };
    let golden = golden.strip_suffix("00000000").unwrap().to_owned() + "01000000";
    assert_eq!(Class::of(injected, 1500).encode(), hex(&golden));
}

#[test]
#[cfg(target_endian = "little")]
fn a_rate_of_2_to_the_32_bytes_has_its_own_attributes() {
    let golden = "3000 0100  00 01 0000 0000 0000 ffffffff  00 01 0000 0000 0000 ffffffff
                  59620200 59620200 00000100 00000000 00000000
                  0c00 0600 00000000 01000000  0c00 0700 00000000 01000000";
    assert_eq!(class(1 << 32).encode(), hex(golden));
    // One byte less has not.
    assert_eq!(class((1 << 32) - 1).encode().len(), 48);
}

#[test]
#[cfg(target_endian = "little")]
fn what_the_kernel_shows_is_read() {
    // Linux 6.18, of `htb rate 20mbit burst 25k quantum 60000` and `htb default 1 r2q 11`.
    let shown = "3000 0100  00 01 0000 0000 0000 a0252600  00 01 0000 0000 0000 a0252600
                 00710200 10270000 60ea0000 00000000 00000000";
    let read = Class::decode(&hex(shown)).unwrap();
    assert_eq!(read.rate, Rate::from_bytes_per_second(2_500_000));
    assert_eq!((read.burst_ticks, read.quantum), (160_000, 60_000));
    let shown = "1800 0200  11000300 0b000000 01000000 00000000 00000000  0800 0500 e8030000";
    assert_eq!(Qdisc::decode(&hex(shown)), Some(Qdisc { no_queue_before: true }));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        rate in 1u64..,
        mtu in 68u32..65_536,
        no_queue_before: bool,
        is_injected: bool,
    ) {
        let by = if is_injected { Holder::Injection } else { Holder::Lender };
        let hold = Hold { by, ..lent(rate) };
        let class = Class::of(hold, mtu);
        let read = Class::decode(&class.encode());
        prop_assert_eq!((read, read.map(Class::hold)), (Some(class), Some(hold)));
        let qdisc = Qdisc { no_queue_before };
        prop_assert_eq!(Qdisc::decode(&qdisc.encode()), Some(qdisc));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = (Class::decode(&bytes), Qdisc::decode(&bytes));
    }

    /// A right attribute, cut anywhere.
    #[test]
    fn cut_bytes_are_refused(rate: u64, keep in 0usize..48) {
        let bytes = class(rate.max(1)).encode();
        prop_assert_eq!(Class::decode(&bytes[..keep]), None);
    }
}
