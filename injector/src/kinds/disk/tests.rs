//! What a request for disk traffic comes to.

use super::*;

fn asked(intensity_text: &str) -> Disk {
    Disk {
        intensity: intensity(intensity_text).unwrap(),
        read_share: 0.0,
        block: None,
        pattern: Pattern::Random,
        queue: 4,
        file_size: 64 * MIB,
        dir: None,
    }
}

#[test]
fn reads_bytes_operations_and_percentages() {
    assert_eq!(intensity("20MB/s"), Ok(Intensity::Amount(20e6, Unit::BytesPerSecond)));
    assert_eq!(intensity("200iops"), Ok(Intensity::Amount(200.0, Unit::OperationsPerSecond)));
    assert_eq!(intensity("80%"), Ok(Intensity::Percent(80.0)));
    for bad in ["", "20", "20MB", "fast", "20 cores"] {
        let told = intensity(bad).unwrap_err();
        assert!(told.contains("200MB/s") && told.contains("200iops"), "{bad}: {told}");
    }
    for bad in ["0iops", "0B/s", "-5iops", "0%"] {
        assert!(intensity(bad).unwrap_err().contains("out of range"), "{bad}");
    }
}

#[test]
fn sizes_and_shares_have_bounds() {
    assert_eq!((block("4KiB"), block("1MiB"), block("12KiB")), (Ok(4096), Ok(MIB), Ok(12_288)));
    for bad in ["0B", "512B", "5000B", "2MiB", "64", "4.5KiB", "-4KiB", "1e30B"] {
        assert!(block(bad).is_err(), "{bad}");
    }
    assert_eq!(file_size("16GiB"), Ok(16 * GIB));
    for bad in ["15MiB", "17GiB", "big"] {
        assert!(file_size(bad).is_err(), "{bad}");
    }
    assert_eq!(share("30%"), Ok(0.3));
    for bad in ["101%", "-1%", "0.3"] {
        assert!(share(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_percentage_is_of_what_the_limits_let_through_of_the_mix() {
    let both = ReadWrite { read: Some(30e6), write: Some(10e6) };
    let of = |read_share, limits| Disk { read_share, ..asked("80%") }.affordable(limits);
    assert_eq!(of(0.0, both), Some(10e6));
    assert_eq!(of(1.0, both), Some(30e6));
    // Half of 20 MB/s is written: more than 10 MB/s of that the limit does not let through.
    assert_eq!(of(0.5, both), Some(20e6));
    assert_eq!(of(0.5, ReadWrite { read: None, write: Some(10e6) }), Some(20e6));
    assert_eq!(of(0.0, ReadWrite { read: Some(30e6), write: None }), None, "reads alone are limited");
}

#[test]
fn requests_are_small_where_the_dose_is() {
    let block = |disk: &Disk, unit, requested| disk.load(unit, requested, "/".into(), 64 * MIB).block_bytes;
    let disk = asked("20MB/s");
    for (rate, bytes) in [(20e6, 65_536), (2e6, 32_768), (1e6, 16_384), (1e3, 4096)] {
        assert_eq!(block(&disk, Unit::BytesPerSecond, rate), bytes, "{rate}");
    }
    assert_eq!(block(&disk, Unit::OperationsPerSecond, 200.0), 4096);
    let chosen = Disk { block: Some(MIB), ..disk };
    assert_eq!(block(&chosen, Unit::BytesPerSecond, 1e3), 1 << 20);
    let load = chosen.load(Unit::BytesPerSecond, 1e3, "/".into(), 64 * MIB);
    assert!(refuse_less_than_one(&load, 60.0).unwrap_err().to_string().contains("less than one request"));
    assert!(refuse_less_than_one(&load, 1100.0).is_ok());
}
