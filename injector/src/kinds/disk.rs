//! Traffic of a disk: so many bytes or requests a second, past the page cache.
//!
//! Must not know who else uses the disk. On cgroup v1 and v2, requests past the cache are charged to the cgroup of who makes
//! them: inside a target they fight over the target's own limit, beside it and on the node over the disk.

mod pacer;
mod room;
mod traffic;

use std::{ops::RangeInclusive, path::PathBuf};

use ballast_api::{BytesPerSecond, Limit, OperationsPerSecond, ReadWrite};
use ballast_kernel::{DeviceNumber, DiskControl, disk::device};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Dose, Kind, Prepared, Situation, Work};
use crate::{
    error::InjectorError,
    intensity::{Intensity, InvalidIntensity},
    target::Target,
    unit::Unit,
};
pub use traffic::Load;
pub(crate) use traffic::Traffic;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The sizes of a request.
const BLOCKS: RangeInclusive<u64> = 4 * KIB..=MIB;
const DEFAULT_BLOCK: u64 = 64 * KIB;

/// The sizes of the file: sixteen of the largest blocks at least.
const FILES: RangeInclusive<u64> = 16 * MIB..=16 * GIB;

/// The most requests at once.
const MOST_THREADS: i64 = 64;

/// How much of the dose may be under way at once, in seconds, unless other sizes are asked for: what is under way at the end
/// cannot be called back.
const UNDER_WAY_SECONDS: f64 = 0.1;

/// Where the file is by default: on a disk on every usual machine, as /tmp is not.
const DEFAULT_FOLDER: &str = "/var/tmp";

/// Options of the kind `disk`.
#[derive(Debug, Clone, Args)]
pub struct Disk {
    /// How much: 20MB/s, 200iops, or 80% of the target's limit in bytes per second on this disk
    ///
    /// A percentage of what the target's limits let through of this mix of reads and writes; it is turned into bytes per
    /// second once, at the start.
    #[arg(long, value_name = "PERCENT|BYTES/S|IOPS", allow_hyphen_values = true, value_parser = intensity)]
    pub intensity: Intensity,
    /// Which part of the requests reads
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = share)]
    pub read_share: f64,
    /// How many bytes each request moves: 4KiB to 1MiB in steps of 4KiB [default: 4KiB for iops; else 64KiB, less for small
    /// doses]
    #[arg(long, value_name = "BYTES", value_parser = block)]
    pub block: Option<u64>,
    /// Where each request goes in the file
    #[arg(long, value_enum, default_value_t = Pattern::Random)]
    pub pattern: Pattern,
    /// How many requests may be under way at once
    #[arg(long, value_name = "REQUESTS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS))]
    pub queue: u16,
    /// How large the file is that the requests go to: 16MiB to 16GiB
    ///
    /// It is written once before the load begins, outside of all limits, and has no name: nothing stays of it.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = file_size)]
    pub file_size: u64,
    /// A folder on the disk concerned; the file is made there [default: /var/tmp]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Anywhere.
    Random,
    /// One after the other, from the beginning again at the end.
    Sequential,
}

fn intensity(text: &str) -> Result<Intensity, String> {
    match Intensity::parse(text, Unit::BytesPerSecond) {
        Err(syntax @ InvalidIntensity::Syntax { .. }) => {
            match Intensity::parse(text, Unit::OperationsPerSecond) {
                Err(InvalidIntensity::Syntax { .. }) => Err(format!("{syntax}, or 200iops")),
                other => other.map_err(|error| error.to_string()),
            }
        }
        other => other.map_err(|error| error.to_string()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    Unit::Share
        .parse(text)
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "write a share from 0% to 100%".to_owned())
}

fn block(text: &str) -> Result<u64, String> {
    bytes(text)
        .filter(|bytes| BLOCKS.contains(bytes) && bytes.is_multiple_of(traffic::ALIGNMENT as u64))
        .ok_or_else(|| "write 4KiB to 1MiB, in steps of 4KiB: disks know no smaller blocks".to_owned())
}

fn file_size(text: &str) -> Result<u64, String> {
    bytes(text).filter(|bytes| FILES.contains(bytes)).ok_or_else(|| "write 16MiB to 16GiB".to_owned())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-integer cast saturates, and what is out of range is refused"
)]
fn bytes(text: &str) -> Option<u64> {
    Unit::Bytes.parse(text).filter(|bytes| bytes.fract() == 0.0).map(|bytes| bytes as u64)
}

impl Kind for Disk {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let folder = self.dir.clone().unwrap_or_else(|| DEFAULT_FOLDER.into());
        let disk = room::disk_of(&folder)?;
        if self.dir.is_none() {
            refuse_other_disk(situation.target, disk)?;
        }
        // In whole pieces of what it is filled with.
        let file_bytes = self.file_size / MIB * MIB;
        room::check_room(&folder, file_bytes)?;
        drop(room::create(&folder)?);
        let unit = match self.intensity {
            Intensity::Amount(_, unit) => unit,
            Intensity::Percent(_) => Unit::BytesPerSecond,
        };
        let limit = situation.target.map_or(Ok(None), |target| self.limit(situation, target, disk, unit))?;
        let (requested, basis) = self.intensity.resolve(unit, limit, None)?;
        let load = self.load(unit, requested, folder, file_bytes);
        refuse_less_than_one(&load, situation.duration.as_secs_f64())?;
        Ok(Prepared {
            dose: Dose {
                kind: "disk",
                intensity: self.intensity.to_string(),
                intensity_basis: basis,
                unit,
                requested,
                target_limit: limit,
                details: [
                    ("block_bytes", load.block_bytes.into()),
                    ("read_share", self.read_share.into()),
                    ("pattern", serde_json::json!(self.pattern)),
                    ("queue", self.queue.into()),
                    ("file_bytes", file_bytes.into()),
                    ("folder", serde_json::json!(load.folder)),
                    ("disk", disk.to_string().into()),
                ]
                .into(),
            },
            work: Work::Load(super::Load::Disk(load)),
        })
    }
}

impl Disk {
    /// What the target's limits let through of this mix of reads and writes.
    fn limit(
        &self,
        situation: &Situation<'_>,
        target: &Target,
        disk: DeviceNumber,
        unit: Unit,
    ) -> Result<Option<f64>, InjectorError> {
        let Some(control) = DiskControl::new(situation.hierarchy, target.path(), disk) else {
            return Ok(None);
        };
        let limits = match control.limits() {
            Ok(limits) => limits,
            // It has a limit of CPU time, perhaps, and none of disks.
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(match unit {
            Unit::OperationsPerSecond => {
                self.affordable(limits.operations.map(|limit| number(limit, OperationsPerSecond::get)))
            }
            _ => self.affordable(limits.bytes.map(|limit| number(limit, BytesPerSecond::get))),
        })
    }

    fn affordable(&self, limits: ReadWrite<Option<f64>>) -> Option<f64> {
        let parts = [(limits.read, self.read_share), (limits.write, 1.0 - self.read_share)];
        let each = parts.into_iter().filter(|(_, share)| *share > 0.0);
        each.filter_map(|(limit, share)| Some(limit? / share)).reduce(f64::min)
    }

    fn load(&self, unit: Unit, requested: f64, folder: PathBuf, file_bytes: u64) -> Load {
        let operations = unit == Unit::OperationsPerSecond;
        let default = || if operations { *BLOCKS.start() } else { self.default_block(requested) };
        let block = self.block.unwrap_or_else(default);
        let counts = if operations { 1 } else { block };
        #[expect(clippy::cast_precision_loss, reason = "a mebibyte at most")]
        let requests_per_second = requested / counts as f64;
        Load {
            requests_per_second,
            counts,
            block_bytes: usize::try_from(block).unwrap_or(usize::MAX),
            read_share: self.read_share,
            pattern: self.pattern,
            queue: self.queue.into(),
            folder,
            file_bytes,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "64 mebibytes at most")]
    fn default_block(&self, bytes_per_second: f64) -> u64 {
        let fits =
            |block: &u64| (block * u64::from(self.queue)) as f64 <= UNDER_WAY_SECONDS * bytes_per_second;
        let halves = std::iter::successors(Some(DEFAULT_BLOCK), |block| Some(block / 2));
        halves.take_while(|block| BLOCKS.contains(block)).find(fits).unwrap_or(*BLOCKS.start())
    }
}

fn number<U>(limit: Limit<U>, get: fn(U) -> f64) -> Option<f64> {
    match limit {
        Limit::Max => None,
        Limit::At(limit) => Some(get(limit)),
    }
}

/// Load on a disk that the target does not use would be none for it.
fn refuse_other_disk(target: Option<&Target>, disk: DeviceNumber) -> Result<(), InjectorError> {
    let roots = device::Roots { proc: "/proc".as_ref(), sys_dev_block: "/sys/dev/block".as_ref() };
    let first = target.map(Target::pids).transpose()?.and_then(|pids| pids.first().copied());
    // Where nobody can tell, the folder is as good as any.
    match first.map(|pid| device::disk_of_root(&roots, pid)) {
        Some(Ok(its)) if its != disk => Err(InjectorError::Impossible {
            what: "make the file for the load",
            reason: format!(
                "{DEFAULT_FOLDER} is on the disk {disk}, the target's files are on {its}: give --dir a folder there, or \
                 --dir {DEFAULT_FOLDER}"
            ),
        }),
        _ => Ok(()),
    }
}

fn refuse_less_than_one(load: &Load, seconds: f64) -> Result<(), InjectorError> {
    if load.requests_per_second * seconds >= 1.0 {
        return Ok(());
    }
    Err(InjectorError::Impossible {
        what: "give so small a dose",
        reason: format!(
            "it comes to less than one request of {} KiB in {seconds} s: ask for more, for longer, or for a smaller --block",
            load.block_bytes >> 10
        ),
    })
}

#[cfg(test)]
mod tests;
