//! The redirection's bytes and names.

use netlink_packet_core::Emitable;
use proptest::prelude::*;

use super::*;

fn link(index: u32) -> Link {
    Link { index, ..Link::default() }
}

fn emitted(request: &Request) -> Vec<u8> {
    let (RouteNetlinkMessage::NewQueueDiscipline(message) | RouteNetlinkMessage::NewTrafficFilter(message)) =
        &request.message
    else {
        panic!("{request:?}");
    };
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn an_ingress_qdisc_is_these_bytes() {
    let golden =
        ["00000000 07000000 0000ffff f1ffffff 00000000", "0c00 0100 696e677265737300 0800 0d00 77a511ba"];
    assert_eq!(hex(&emitted(&ENTRY.add_qdisc(&link(7)))), golden.concat().replace(' ', ""));
}

#[test]
#[cfg(target_endian = "little")]
fn a_filter_is_these_bytes() {
    let golden = [
        "00000000 ffffffff 00000000 77a511ba 00030100",
        "0800 0100 75333200",
        "6000 0200",
        // The selector: terminal, one key, which compares nothing.
        "2400 0500 01000100 0000 0000 0000 0000 00000000 00000000 00000000 00000000 00000000",
        // The action: mirred, stolen, to the egress of interface 9.
        "3800 0700 3400 0100 0b00 0100 6d697272656400 00",
        "2400 0280 2000 0200 00000000 00000000 04000000 00000000 00000000 01000000 09000000",
    ];
    assert_eq!(hex(&emitted(&add_filter(&link(7), &link(9)))), golden.concat().replace(' ', ""));
}

#[test]
fn the_target_of_a_filter_is_read_back() {
    let RouteNetlinkMessage::NewTrafficFilter(filter) = add_filter(&link(7), &link(9)).message else {
        panic!("no filter");
    };
    assert_eq!(target_of(&filter), Some(9));
    assert_eq!(target_of(&TcMessage::default()), None);
}

#[test]
fn names_of_others_are_nobodys() {
    for name in ["ballast", "ballast-7", "ballast07", "ballast+7", "ballastA", "ifb0", "ballast100000000"] {
        assert_eq!(index_of_ifb(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn a_name_fits_and_says_its_index(index: u32) {
        prop_assert!(ifb_name(index).len() <= 15);
        prop_assert_eq!(index_of_ifb(&ifb_name(index)), Some(index));
    }
}
