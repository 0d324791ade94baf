//! Kinds of contention: what each asks of a worker, or does to the kernel.
//!
//! A kind knows neither who supervises nor who cleans up; it says what has to be undone, before it is done.

mod caches;
mod claim;
pub mod cpu;
pub mod disk;
mod duty_cycle;
pub mod llc;
pub mod memory;
pub mod memory_bandwidth;
pub mod network;
mod node_memory;
mod pace;
pub mod pause;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ballast_kernel::Hierarchy;
use serde::{Deserialize, Serialize};

use crate::{clocks, error::InjectorError, intensity::Basis, target::Target, undo::Undo, unit::Unit};

/// A kind of contention with its options, before anything is done.
pub trait Kind {
    /// What it comes to, here and now. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be done here, or not so much of it.
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError>;
}

/// Where an injection is to be.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The control groups.
    pub hierarchy: &'a Hierarchy,
    /// The container concerned; absent for the whole node.
    pub target: Option<&'a Target>,
    /// Whether the load is to be in it, and counts as its.
    pub is_inside: bool,
    /// How long the dose lasts.
    pub duration: Duration,
}

/// A dose, known before it is given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dose {
    /// `cpu`, `pause` and so on.
    pub kind: &'static str,
    /// As the user wrote it.
    pub intensity: String,
    /// What a percentage was of.
    pub intensity_basis: Basis,
    /// Of the amounts.
    pub unit: Unit,
    /// The amount asked for.
    pub requested: f64,
    /// The target's limit at the start; absent where it has none.
    pub target_limit: Option<f64>,
    /// What else is worth knowing of a kind.
    pub details: BTreeMap<&'static str, serde_json::Value>,
}

/// All that is needed to begin.
pub struct Prepared {
    /// What is asked for.
    pub dose: Dose,
    /// Who does it.
    pub work: Work,
}

/// Who does it.
pub enum Work {
    /// A process of its own, where the load is to be.
    Load(Load),
    /// The supervisor, by way of the kernel.
    Act(Box<dyn Act>),
}

/// A change of the kernel's state that is an injection while it lasts.
pub trait Act {
    /// What takes it back when nobody else does: noted down before [`Self::begin`].
    fn undo(&self) -> Vec<Undo>;

    /// Makes the change.
    ///
    /// # Errors
    /// When the kernel refuses; then it is to be [ended](Self::end) too.
    fn begin(&mut self) -> Result<(), InjectorError>;

    /// How much of the dose is in force at this moment, in the dose's unit.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn in_force(&mut self) -> Result<f64, InjectorError>;

    /// What was given so far, where that is counted: the integral of the dose over time, in the dose's unit times seconds.
    /// Elsewhere it is what was in force, whenever that was looked at.
    fn given(&self) -> Option<f64> {
        None
    }

    /// Takes the change back, also one that was made in part, and answers when it was in force no more
    /// ([`crate::clocks::monotonic`]). What is cleaned up after that is no part of the dose.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn end(&mut self) -> Result<Duration, InjectorError>;
}

/// What a worker is told to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Load {
    /// Use CPU time.
    Cpu(cpu::Load),
    /// Read and write a disk.
    Disk(disk::Load),
    /// Move bytes between memory and processors.
    MemoryBandwidth(memory_bandwidth::Load),
    /// Keep a part of a cache in use.
    Llc(llc::Load),
    /// Hold memory.
    Memory(memory::Load),
}

impl Load {
    /// Gets everything ready that takes time, before the worker is moved to where the load is to be: it counts neither
    /// against the dose nor against anybody's limits.
    pub(crate) fn engine(self) -> anyhow::Result<Box<dyn Engine>> {
        Ok(match self {
            Self::Cpu(load) => Box::new(cpu::Burner::new(&load)),
            Self::Disk(load) => Box::new(disk::Traffic::new(load)?),
            Self::MemoryBandwidth(load) => Box::new(memory_bandwidth::Streamer::new(&load)),
            Self::Llc(load) => Box::new(llc::Sweeper::new(&load)),
            Self::Memory(load) => Box::new(memory::Holder::new(load)),
        })
    }

    /// Whether the amount is the worker's CPU time, which anybody can read: a worker that is throttled cannot tell it.
    pub(crate) fn is_cpu_time(&self) -> bool {
        matches!(self, Self::Cpu(_))
    }
}

/// A load that is ready to begin.
pub(crate) trait Engine: Send + Sync {
    /// Called once the worker is where the load is to be: what depends on that, or is to be charged there.
    fn settle(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// How many threads make it.
    fn threads(&self) -> usize;

    /// Works as the thread of this number until the window closes, and counts what it does.
    fn work(&self, thread: usize, window: &Window, tally: &Tally) -> anyhow::Result<()>;

    /// What was done so far: the integral of the dose over time, in the dose's unit times seconds.
    fn amount(&self, tally: &Tally) -> f64 {
        tally.total()
    }
}

/// The time of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// By [`clocks::monotonic`].
    pub(crate) start: Duration,
    /// From there.
    pub(crate) duration: Duration,
}

impl Window {
    pub(crate) fn elapsed(&self) -> Duration {
        clocks::monotonic().saturating_sub(self.start)
    }

    pub(crate) fn sleep_until(&self, elapsed: Duration) {
        clocks::sleep_until(self.start + elapsed.min(self.duration));
    }
}

/// What all threads of a load have done together.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    /// So much more was done, in whole units that the engine chooses.
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53: nine petabytes")]
    fn total(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}
