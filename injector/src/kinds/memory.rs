//! Memory that is held, page by page, so that others have less of it.
//!
//! Its pages hold numbers that do not repeat, so that neither the kernel nor a hypervisor finds equal ones to merge, and are
//! touched again now and then, so that they stay. The dose is what is in memory of it, as the kernel counts it.
//!
//! Never takes the node below a floor of available memory: it refuses before the start, grows no further, and gives back
//! while it runs. Must not know what others need memory for.

use std::{
    fs, io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    Dose, Engine, Kind, Prepared, Situation, Tally, Window, Work,
    node_memory::{NodeMemory, as_f64, inside, must_fit, resident},
};
use crate::{clocks, error::InjectorError, intensity::Intensity, unit::Unit};

const UNIT: Unit = Unit::Bytes;

const WHAT: &str = "hold so much memory";

/// The least that is left to others by default, and as a part of the node's memory: one twentieth.
const LEAST_FLOOR_BYTES: u64 = 256 << 20;
const FLOOR_PART: u64 = 20;

/// Memory is taken and given back in such pieces. The allocator asks the kernel for each of them alone, for it is larger
/// than what it keeps for later; so what is dropped is free at once.
const PIECE_BYTES: u64 = 16 << 20;

/// The kernel's smallest page: larger ones are touched more than once.
const PAGE_BYTES: usize = 4096;

/// How often it is looked whether memory runs short.
const LOOK: Duration = Duration::from_millis(20);

/// In how many looks every page is touched again: ten seconds.
const LOOKS_PER_ROUND: usize = 500;

/// Options of the kind `memory`.
#[derive(Debug, Clone, Args)]
pub struct Memory {
    /// How much: bytes such as 512MiB; or 50% of the target's memory limit (inside of one that has a limit), else of the
    /// node's memory
    #[arg(long, value_name = "BYTES|PERCENT", allow_hyphen_values = true, value_parser = intensity)]
    pub intensity: Intensity,
    /// Leave so much of the node's memory available to others, whatever happens: give back what is missing of it
    /// [default: 5 % of the node's memory, at least 256MiB]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub floor: Option<u64>,
    /// Accept that the kernel kills for want of memory within the target's limit, whomever it chooses
    ///
    /// Without this, what would not fit into the limit is refused, and if memory runs short later all the same (because
    /// the target grows), the load is the first to be killed. The floor holds in any case.
    #[arg(long)]
    pub allow_oom: bool,
}

fn intensity(text: &str) -> Result<Intensity, crate::intensity::InvalidIntensity> {
    Intensity::parse(text, UNIT)
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = UNIT.parse(text).filter(|bytes| *bytes >= 0.0);
    bytes.map(as_u64).ok_or_else(|| format!("write {}", UNIT.example()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; a part of a byte is dropped, and what is too large for a machine becomes the largest number"
)]
fn as_u64(bytes: f64) -> u64 {
    bytes as u64
}

impl Kind for Memory {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let node = NodeMemory::now()?;
        let floor_bytes = self.floor.unwrap_or_else(|| (node.total / FLOOR_PART).max(LEAST_FLOOR_BYTES));
        let control = inside(situation);
        let limit = control.map_or(Ok(None), |control| control.limit_bytes())?;
        let limit = limit.filter(|limit| *limit < node.total).map(as_f64);
        let (requested, basis) = self.intensity.resolve(UNIT, limit, Some(as_f64(node.total)))?;
        let bytes = as_u64(requested);
        must_leave(node, floor_bytes, bytes)?;
        if !self.allow_oom {
            must_fit(situation, WHAT, bytes)?;
        }
        Ok(Prepared {
            dose: Dose {
                kind: "memory",
                intensity: self.intensity.to_string(),
                intensity_basis: basis,
                unit: UNIT,
                requested,
                target_limit: limit,
                details: [
                    ("floor_bytes", floor_bytes.into()),
                    ("available_bytes_before", node.available.into()),
                ]
                .into(),
            },
            work: Work::Load(super::Load::Memory(Load { bytes, floor_bytes, killed_first: !self.allow_oom })),
        })
    }
}

/// Refuses what would leave less than the floor.
fn must_leave(node: NodeMemory, floor_bytes: u64, bytes: u64) -> Result<(), InjectorError> {
    let most = node.available.saturating_sub(floor_bytes);
    if bytes <= most {
        return Ok(());
    }
    let shown = |bytes| UNIT.show(as_f64(bytes));
    Err(InjectorError::Impossible {
        what: WHAT,
        reason: format!(
            "{} of the node's memory are available and the floor is {}: ask for at most {}",
            shown(node.available),
            shown(floor_bytes),
            shown(most)
        ),
    })
}

/// A dose for a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    bytes: u64,
    /// Of the node's available memory.
    floor_bytes: u64,
    /// Whether the kernel is asked to kill the load before anybody else.
    killed_first: bool,
}

/// The load itself.
pub(crate) struct Holder {
    load: Load,
    /// What the process had in memory before.
    base_bytes: u64,
    pieces: Mutex<Vec<Vec<u64>>>,
    held: Mutex<Held>,
}

/// How much is in memory, and for how long.
#[derive(Debug, Clone, Copy)]
struct Held {
    bytes: f64,
    since: Duration,
    /// Until then.
    byte_seconds: f64,
}

impl Held {
    fn at(self, now: Duration) -> f64 {
        self.byte_seconds + self.bytes * now.saturating_sub(self.since).as_secs_f64()
    }

    /// From now on it is so much.
    fn change(&mut self, bytes: f64, now: Duration) {
        *self = Self { bytes, since: now, byte_seconds: self.at(now) };
    }
}

impl Holder {
    /// Holds nothing yet.
    pub(crate) fn new(load: Load) -> Self {
        let held = Mutex::new(Held { bytes: 0.0, since: Duration::ZERO, byte_seconds: 0.0 });
        Self { load, base_bytes: 0, pieces: Mutex::default(), held }
    }

    /// Takes the memory, as far as the floor allows.
    fn grow(&self) -> Result<Vec<Vec<u64>>> {
        let (mut pieces, mut missing, mut seed) = (Vec::new(), self.load.bytes, 1);
        while missing > 0 {
            let piece_bytes = missing.min(PIECE_BYTES);
            if NodeMemory::now()?.available < self.load.floor_bytes.saturating_add(piece_bytes) {
                break;
            }
            pieces.push(piece(piece_bytes, &mut seed));
            missing -= piece_bytes;
        }
        Ok(pieces)
    }

    /// Gives back what is missing of the floor, touches a part of the rest, and notes down what is in memory.
    fn look(&self, look: usize) -> Result<()> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = self.load.floor_bytes.saturating_sub(NodeMemory::now()?.available);
        let too_many = usize::try_from(missing.div_ceil(PIECE_BYTES)).unwrap_or(usize::MAX);
        let kept = pieces.len().saturating_sub(too_many);
        pieces.truncate(kept);
        touch_some(&mut pieces, look);
        let bytes = as_f64(resident()?.saturating_sub(self.base_bytes));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.change(bytes, clocks::monotonic());
        Ok(())
    }
}

impl Engine for Holder {
    /// Memory counts where it is taken.
    fn settle(&mut self) -> Result<()> {
        if self.load.killed_first {
            be_killed_first().context("cannot ask the kernel to kill the load before others")?;
        }
        self.base_bytes = resident()?;
        self.pieces = Mutex::new(self.grow()?);
        let bytes = as_f64(resident()?.saturating_sub(self.base_bytes));
        self.held = Mutex::new(Held { bytes, since: clocks::monotonic(), byte_seconds: 0.0 });
        Ok(())
    }

    fn threads(&self) -> usize {
        1
    }

    fn work(&self, _: usize, window: &Window, _: &Tally) -> Result<()> {
        // A window that begins later than the memory was held counts from its own beginning: see `amount`.
        for look in 0.. {
            let elapsed = window.elapsed();
            if elapsed >= window.duration {
                break;
            }
            self.look(look)?;
            window.sleep_until(elapsed + LOOK);
        }
        Ok(())
    }

    fn amount(&self, _: &Tally) -> f64 {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).at(clocks::monotonic())
    }
}

/// The kernel's victim when memory runs short, in the target or on the node, is this process.
fn be_killed_first() -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", "1000")
}

/// Memory of so many bytes in whole words, each with a number of its own: a linear congruential sequence does not repeat
/// within any machine's memory.
fn piece(bytes: u64, seed: &mut u64) -> Vec<u64> {
    let words = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(size_of::<u64>());
    let next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed
    };
    std::iter::repeat_with(next).take(words).collect()
}

/// Touches one page in [`LOOKS_PER_ROUND`]: those whose turn it is.
fn touch_some(pieces: &mut [Vec<u64>], look: usize) {
    let page_words = PAGE_BYTES / size_of::<u64>();
    for piece in pieces {
        let pages = piece.chunks_mut(page_words).skip(look % LOOKS_PER_ROUND).step_by(LOOKS_PER_ROUND);
        for word in pages.filter_map(<[u64]>::first_mut) {
            *word = word.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
