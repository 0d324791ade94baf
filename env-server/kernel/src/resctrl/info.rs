//! Where resctrl is mounted, and what this machine offers there.
//!
//! Reads a mountinfo file and the folder `info`; must not know any group. Section "Info directory".

use std::path::{Path, PathBuf};

use super::bandwidth::Unit;
use crate::{
    error::KernelError,
    file,
    mounts::{self, Mount},
};

/// A plain sentence on why something is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent(pub String);

/// Something, or why it is not there.
pub type Found<T> = Result<T, Absent>;

/// A mounted resctrl file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResctrlMount {
    /// Its root.
    pub point: PathBuf,
    /// Mounted with `mba_MBps`: the `MB` line is in MiB/s.
    pub mebibytes: bool,
}

impl ResctrlMount {
    /// Looks for resctrl among the mounts that `mountinfo` lists (normally `/proc/self/mountinfo`).
    ///
    /// # Errors
    /// [`KernelError::NoResctrl`] with the reason when it is not mounted; others when the file cannot be read.
    pub fn find(mountinfo: &Path) -> Result<Self, KernelError> {
        Self::parse(&file::read(mountinfo)?).ok_or_else(|| KernelError::NoResctrl {
            mountinfo: mountinfo.to_owned(),
            reason: "no file system of the type resctrl is mounted: the processor or the kernel may lack it, or it needs \
                     `mount -t resctrl resctrl /sys/fs/resctrl`"
                .to_owned(),
        })
    }

    /// The first whole resctrl mount in the text of a mountinfo file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_whole = |mount: &Mount| mount.kind == "resctrl" && mount.root == "/";
        let mount = mounts::parse(text).into_iter().find(is_whole)?;
        let mebibytes = mount.super_options().any(|option| option == "mba_MBps");
        Some(Self { point: mount.point, mebibytes })
    }
}

/// Which caches can be divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    /// The names of its lines in `schemata`: one, or two with CDP (section "L3 schemata file details").
    pub lines: Vec<String>,
    /// All ways (`cbm_mask`).
    pub mask: u64,
    /// The fewest ways of a group (`min_cbm_bits`).
    pub fewest: u32,
    /// Ways that devices use as well (`shareable_bits`).
    pub shareable: u64,
    /// Whether a mask may have gaps (`sparse_masks`).
    pub sparse: bool,
    /// How many groups there can be, the root's among them (`num_closids`).
    pub closids: u32,
}

/// How memory bandwidth can be limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BandwidthInfo {
    /// What a value means.
    pub unit: Unit,
    /// The smallest value (`min_bandwidth`).
    pub minimum: u32,
    /// Values come in steps of this (`bandwidth_gran`).
    pub step: u32,
    /// How many groups there can be, the root's among them (`num_closids`).
    pub closids: u32,
}

/// What can be measured for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorInfo {
    /// How many groups can be measured at once (`num_rmids`).
    pub rmids: u32,
    /// `llc_occupancy`, `mbm_total_bytes`, `mbm_local_bytes` and whatever else (`mon_features`).
    pub features: Vec<String>,
}

/// What a machine offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The last-level cache: the L3, or the L2 where only that can be divided.
    pub cache: Found<CacheInfo>,
    /// Memory bandwidth.
    pub bandwidth: Found<BandwidthInfo>,
    /// Monitoring of the L3.
    pub monitoring: Found<MonitorInfo>,
}

impl Info {
    /// Reads the folder `info` of a mount.
    ///
    /// # Errors
    /// When a file in it cannot be read or holds what no kernel writes. What the machine does not offer is no error.
    pub fn read(mount: &ResctrlMount) -> Result<Self, KernelError> {
        let info = mount.point.join("info");
        Ok(Self {
            cache: cache(&info)?,
            bandwidth: bandwidth(&info.join("MB"), mount.mebibytes)?,
            monitoring: monitoring(&info.join("L3_MON"))?,
        })
    }

    /// How many groups there can be beside the root's: the kernel goes by the smallest number of all resources.
    #[must_use]
    pub fn groups(&self) -> u32 {
        let cache = self.cache.as_ref().ok().map(|cache| cache.closids);
        let bandwidth = self.bandwidth.as_ref().ok().map(|bandwidth| bandwidth.closids);
        [cache, bandwidth].into_iter().flatten().min().unwrap_or(0).saturating_sub(1)
    }
}

fn cache(info: &Path) -> Result<Found<CacheInfo>, KernelError> {
    for level in ["L3", "L2"] {
        let plain = vec![level.to_owned()];
        let divided = vec![format!("{level}CODE"), format!("{level}DATA")];
        for lines in [divided, plain] {
            // CODE and DATA say the same: they are two views of one cache.
            let folder = info.join(&lines[0]);
            if folder.join("cbm_mask").is_file() {
                return cache_in(&folder, lines).map(Ok);
            }
        }
    }
    Ok(Err(Absent(
        "this machine cannot divide its last-level cache: resctrl has neither info/L3 nor info/L2".to_owned(),
    )))
}

fn cache_in(folder: &Path, lines: Vec<String>) -> Result<CacheInfo, KernelError> {
    let mask_file = folder.join("cbm_mask");
    let mask = read_mask(&mask_file)?;
    if mask == 0 {
        return Err(file::unexpected(&mask_file, "0", "a mask of ways"));
    }
    // Older kernels lack these two: then devices use no ways that are known of, and masks must be runs.
    let shareable = folder.join("shareable_bits");
    let sparse = folder.join("sparse_masks");
    Ok(CacheInfo {
        lines,
        mask,
        fewest: file::read_number(&folder.join("min_cbm_bits"))?,
        shareable: if shareable.exists() { read_mask(&shareable)? } else { 0 },
        sparse: sparse.exists() && file::read_number::<u32>(&sparse)? != 0,
        closids: file::read_number(&folder.join("num_closids"))?,
    })
}

fn bandwidth(folder: &Path, mebibytes: bool) -> Result<Found<BandwidthInfo>, KernelError> {
    if !folder.join("bandwidth_gran").is_file() {
        return Ok(Err(Absent(
            "this machine cannot limit memory bandwidth: resctrl has no info/MB".to_owned(),
        )));
    }
    let closids = file::read_number(&folder.join("num_closids"))?;
    if mebibytes {
        // The files speak of percent, which the kernel's own feedback loop sets then.
        return Ok(Ok(BandwidthInfo { unit: Unit::Mebibytes, minimum: 1, step: 1, closids }));
    }
    // A percentage delays memory requests linearly; the kernel takes no other kind of percentage. AMD counts bytes.
    let linear: u32 = file::read_number(&folder.join("delay_linear"))?;
    Ok(Ok(BandwidthInfo {
        unit: if linear == 0 { Unit::EighthsOfGigabyte } else { Unit::Percent },
        minimum: file::read_number(&folder.join("min_bandwidth"))?,
        step: file::read_number::<u32>(&folder.join("bandwidth_gran"))?.max(1),
        closids,
    }))
}

fn monitoring(folder: &Path) -> Result<Found<MonitorInfo>, KernelError> {
    if !folder.join("mon_features").is_file() {
        return Ok(Err(Absent(
            "this machine cannot measure caches and memory bandwidth for each group: resctrl has no info/L3_MON".to_owned(),
        )));
    }
    let features = file::read(&folder.join("mon_features"))?;
    Ok(Ok(MonitorInfo {
        rmids: file::read_number(&folder.join("num_rmids"))?,
        features: features.split_whitespace().map(str::to_owned).collect(),
    }))
}

fn read_mask(path: &Path) -> Result<u64, KernelError> {
    let text = file::read(path)?;
    let digits = text.trim();
    // `from_str_radix` would take a sign.
    let mask = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    mask.ok_or_else(|| file::unexpected(path, &text, "a hexadecimal mask"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn machine(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
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
        let mon =
            [("L3_MON/num_rmids", "128\n"), ("L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n")];
        let folder = with_cache(&["L3"], &[&MB[..], &mon].concat());
        let info = read(&folder, false).unwrap();
        let cache = info.cache.clone().unwrap();
        assert_eq!((cache.lines, cache.mask, cache.fewest), (vec!["L3".to_owned()], 0xf_ffff, 2));
        assert_eq!((cache.shareable, cache.sparse, cache.closids), (0xc_0000, false, 16));
        assert_eq!(
            info.bandwidth,
            Ok(BandwidthInfo { unit: Unit::Percent, minimum: 10, step: 10, closids: 8 })
        );
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
        assert_eq!(cdp.cache.unwrap().lines, ["L3CODE", "L3DATA"]);
        let l2 = read(&with_cache(&["L2"], &[("L3_MON/mon_features", ""), ("L3_MON/num_rmids", "1")]), false)
            .unwrap();
        assert_eq!(l2.cache.unwrap().lines, ["L2"]);
        assert!(l2.bandwidth.unwrap_err().0.contains("info/MB"));
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
}
