//! Where resctrl is mounted, and what this machine offers there.
//!
//! Reads a mountinfo file and the folder `info`; must not know any group. Section "Info directory".

use std::path::{Path, PathBuf};

use super::bandwidth::Unit;
use crate::{
    error::KernelError,
    file,
    hierarchy::child_folders,
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
    /// Another cache that could be divided as well, and is not.
    pub left_whole: Option<&'static str>,
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
    /// How many groups there can be, the root's among them: the smallest `num_closids` of all resources, whether Ballast
    /// limits them or not.
    pub closids: u32,
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
            closids: closids(&info)?,
        })
    }

    /// How many groups there can be beside the root's.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.closids.saturating_sub(1)
    }
}

fn closids(info: &Path) -> Result<u32, KernelError> {
    let mut fewest = None;
    for resource in child_folders(info).map_err(file::failed("list", info))? {
        let path = info.join(resource).join("num_closids");
        if path.is_file() {
            let closids = file::read_number(&path)?;
            fewest = Some(fewest.map_or(closids, |fewest: u32| fewest.min(closids)));
        }
    }
    Ok(fewest.unwrap_or(0))
}

fn cache(info: &Path) -> Result<Found<CacheInfo>, KernelError> {
    let [l3, l2] = [cache_of("L3", info), cache_of("L2", info)];
    match (l3, l2) {
        (Some(lines), beside) => cache_in(info, lines, beside.map(|_| "L2")).map(Ok),
        (None, Some(lines)) => cache_in(info, lines, None).map(Ok),
        (None, None) => Ok(Err(Absent(
            "this machine cannot divide its last-level cache: resctrl has neither info/L3 nor info/L2"
                .to_owned(),
        ))),
    }
}

/// The lines of a cache that can be divided: code and data apart, or one.
fn cache_of(level: &str, info: &Path) -> Option<Vec<String>> {
    let divided = vec![format!("{level}CODE"), format!("{level}DATA")];
    let there = |lines: &Vec<String>| info.join(&lines[0]).join("cbm_mask").is_file();
    [divided, vec![level.to_owned()]].into_iter().find(there)
}

fn cache_in(
    info: &Path,
    lines: Vec<String>,
    left_whole: Option<&'static str>,
) -> Result<CacheInfo, KernelError> {
    // CODE and DATA say the same: they are two views of one cache.
    let folder = info.join(&lines[0]);
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
        left_whole,
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
mod tests;
