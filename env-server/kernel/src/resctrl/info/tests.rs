//! What is made of the folder `info` of different machines.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn machine(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("info")).unwrap();
    for (path, text) in files {
        let path = folder.path().join("info").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn read(folder: &TempDir, mebibytes: bool) -> Result<Info, KernelError> {
    Info::read(&ResctrlMount { point: folder.path().to_owned(), mebibytes })
}

const CACHE: [(&str, &str); 5] = [
    ("cbm_mask", "fffff\n"),
    ("min_cbm_bits", "2\n"),
    ("num_closids", "16\n"),
    ("shareable_bits", "c0000\n"),
    ("sparse_masks", "0\n"),
];

fn with_cache<'a>(names: &[&str], others: &[(&'a str, &'a str)]) -> TempDir {
    let cache = names.iter().flat_map(|name| CACHE.map(|(file, text)| (format!("{name}/{file}"), text)));
    let cache: Vec<_> = cache.collect();
    let files: Vec<_> =
        cache.iter().map(|(path, text)| (path.as_str(), *text)).chain(others.to_vec()).collect();
    machine(&files)
}

const MB: [(&str, &str); 4] = [
    ("MB/bandwidth_gran", "10\n"),
    ("MB/delay_linear", "1\n"),
    ("MB/min_bandwidth", "10\n"),
    ("MB/num_closids", "8\n"),
];

#[test]
fn finds_the_mount_and_its_unit() {
    let line = |options: &str| {
        format!("40 23 0:35 / /sys/fs/res\\040ctrl rw,nosuid shared:9 - resctrl resctrl {options}\n")
    };
    let mount = |mebibytes| ResctrlMount { point: "/sys/fs/res ctrl".into(), mebibytes };
    let before = "23 1 0:20 / / rw - ext4 /dev/vda rw\n";
    assert_eq!(ResctrlMount::parse(&(before.to_owned() + &line("rw,cdp"))), Some(mount(false)));
    assert_eq!(ResctrlMount::parse(&line("rw,cdp,mba_MBps")), Some(mount(true)));
    assert_eq!(ResctrlMount::parse(before), None);
    assert_eq!(
        ResctrlMount::parse("40 23 0:35 /group /bound rw - resctrl resctrl rw\n"),
        None,
        "a part of one"
    );
}

#[test]
fn a_machine_without_it_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mountinfo");
    fs::write(&file, "23 1 0:20 / / rw - ext4 /dev/vda rw\n").unwrap();
    let error = ResctrlMount::find(&file).unwrap_err();
    assert!(
        matches!(&error, KernelError::NoResctrl { .. }) && error.to_string().contains("mount -t resctrl"),
        "{error}"
    );
}

#[test]
fn reads_an_intel_machine() {
    let mon = [("L3_MON/num_rmids", "128\n"), ("L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n")];
    let folder = with_cache(&["L3"], &[&MB[..], &mon].concat());
    let info = read(&folder, false).unwrap();
    let cache = info.cache.clone().unwrap();
    assert_eq!((cache.lines, cache.mask, cache.fewest), (vec!["L3".to_owned()], 0xf_ffff, 2));
    assert_eq!((cache.shareable, cache.sparse, cache.closids), (0xc_0000, false, 16));
    assert_eq!(info.bandwidth, Ok(BandwidthInfo { unit: Unit::Percent, minimum: 10, step: 10, closids: 8 }));
    assert_eq!(info.monitoring.as_ref().unwrap().features, ["llc_occupancy", "mbm_total_bytes"]);
    assert_eq!(info.groups(), 7, "the smallest number counts, and the root has one");
    assert_eq!(read(&folder, true).unwrap().bandwidth.unwrap().unit, Unit::Mebibytes);
}

#[test]
fn a_nonlinear_scale_is_amds() {
    let files = [
        ("MB/bandwidth_gran", "1"),
        ("MB/delay_linear", "0"),
        ("MB/min_bandwidth", "0"),
        ("MB/num_closids", "16"),
    ];
    let info = read(&machine(&files), false).unwrap();
    assert_eq!(info.bandwidth.unwrap().unit, Unit::EighthsOfGigabyte);
    assert!(info.cache.unwrap_err().0.contains("info/L3"));
    assert!(info.monitoring.unwrap_err().0.contains("L3_MON"));
}

#[test]
fn code_and_data_are_two_lines_of_one_cache_and_the_l3_goes_before_the_l2() {
    let cdp = read(&with_cache(&["L2", "L3CODE", "L3DATA"], &[]), false).unwrap();
    let cache = cdp.cache.unwrap();
    assert_eq!((cache.lines.join(" ").as_str(), cache.left_whole), ("L3CODE L3DATA", Some("L2")));
    let l2 =
        read(&with_cache(&["L2"], &[("L3_MON/mon_features", ""), ("L3_MON/num_rmids", "1")]), false).unwrap();
    assert_eq!(l2.cache.unwrap().lines, ["L2"]);
    assert!(l2.bandwidth.unwrap_err().0.contains("info/MB"));
}

#[test]
fn classes_are_as_few_as_those_of_any_resource() {
    let folder = with_cache(&["L3"], &[("SMBA/num_closids", "3")]);
    assert_eq!(read(&folder, false).unwrap().groups(), 2);
}

#[test]
fn a_machine_that_offers_nothing_has_no_groups() {
    assert_eq!(read(&machine(&[]), false).unwrap().groups(), 0);
}

proptest! {
    #[test]
    fn odd_files_are_named_and_never_panic(text in "\\PC{0,12}", mounts in "(/| |-|resctrl|rw|\\PC){0,30}") {
        let _ = ResctrlMount::parse(&mounts);
        for which in ["L3/cbm_mask", "L3/min_cbm_bits", "MB/delay_linear", "MB/bandwidth_gran"] {
            let folder = with_cache(&["L3"], &MB);
            fs::write(folder.path().join("info").join(which), &text).unwrap();
            if let Err(error) = read(&folder, false) {
                prop_assert!(error.to_string().contains(which), "{}", error);
            }
        }
    }
}
