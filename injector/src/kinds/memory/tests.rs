//! Memory held: what is in it, what is given back, and what it amounts to.

use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn the_floor_is_left_or_it_is_refused() {
    let node = NodeMemory { total: 4096 * MIB, available: 1000 * MIB };
    assert!(must_leave(node, 400 * MIB, 600 * MIB).is_ok());
    let error = must_leave(node, 400 * MIB, 600 * MIB + 1).unwrap_err().to_string();
    assert!(error.contains("ask for at most 600.000 MiB"), "{error}");
    assert!(must_leave(node, u64::MAX, 1).is_err());
}

#[test]
fn a_floor_is_bytes() {
    assert_eq!(bytes("512MiB"), Ok(512 * MIB));
    assert_eq!(bytes("0B"), Ok(0));
    for bad in ["-1B", "512", "5%", "inf B"] {
        assert!(bytes(bad).is_err(), "{bad}");
    }
}

#[test]
fn no_page_is_like_another() {
    let mut seed = 1;
    let pieces = [piece(MIB, &mut seed), piece(MIB, &mut seed)];
    let pages: std::collections::BTreeSet<_> = pieces.iter().flat_map(|piece| piece.chunks(512)).collect();
    assert_eq!(pages.len(), 512);
}

#[test]
fn one_round_touches_every_page_once() {
    let mut pieces = [vec![0_u64; 512 * 1201], vec![0; 512]];
    (0..LOOKS_PER_ROUND).for_each(|look| touch_some(&mut pieces, look));
    for piece in pieces {
        assert!(piece.chunks(512).all(|page| page[0] == 1 && page[1..].iter().all(|word| *word == 0)));
    }
}

fn settled(load: Load) -> Holder {
    let mut holder = Holder::new(load);
    holder.settle().unwrap();
    holder
}

#[test]
fn what_is_held_is_in_memory_and_given_back_under_the_floor() {
    let load = Load { bytes: 40 * MIB, floor_bytes: 0, killed_first: false };
    let mut holder = settled(load);
    assert_eq!(holder.pieces.lock().unwrap().len(), 3);
    let now = || *holder.held.lock().unwrap();
    // Other tests of this process take memory, too.
    assert!(now().bytes > as_f64(39 * MIB), "{:?}", now());
    // The node falls under the floor: all of it goes.
    holder.load.floor_bytes = u64::MAX;
    holder.look(0).unwrap();
    assert!(holder.pieces.lock().unwrap().is_empty());
}

#[test]
fn under_the_floor_nothing_is_taken() {
    let load = Load { bytes: 40 * MIB, floor_bytes: u64::MAX, killed_first: false };
    assert!(settled(load).pieces.lock().unwrap().is_empty());
}

#[test]
fn the_amount_is_an_integral() {
    let seconds = Duration::from_secs;
    let mut held = Held { bytes: 10.0, since: seconds(1), byte_seconds: 0.0 };
    held.change(4.0, seconds(3));
    assert_eq!((held.at(seconds(3)), held.at(seconds(5))), (20.0, 28.0));
}
