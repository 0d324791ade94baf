//! CPU time, used up by threads that do nothing else.
//!
//! Must not know where the threads are, nor who else is there.

use std::hint::black_box;

use anyhow::Result;
use ballast_api::Limit;
use ballast_kernel::machine;
use clap::Args;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::{
    Dose, Engine, Kind, Prepared, Situation, Tally, Window, Work,
    duty_cycle::{DutyCycle, Step},
};
use crate::{clocks, error::InjectorError, intensity::Intensity, unit::Unit};

/// Steps of arithmetic between two looks at the clocks: about 25 microseconds.
const CHUNK: u64 = 16_384;

/// The fewest threads by default, so that even a small dose contends with several of the target's.
const FEWEST_THREADS: usize = 4;

/// The most threads.
pub const MOST_THREADS: usize = 1024;

/// Options of the kind `cpu`.
#[derive(Debug, Clone, Args)]
pub struct Cpu {
    /// How much: 80% of the target's CPU limit (of the node when it has none), or 0.4 cores
    ///
    /// More than 0 and at most 10000 %, or at most the node's cores. A percentage is turned into cores once, at the
    /// start.
    #[arg(long, value_name = "PERCENT|CORES", allow_hyphen_values = true, value_parser = intensity)]
    pub intensity: Intensity,
    /// How many threads share the dose [default: enough to compete on every processor, at least 4]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS as i64))]
    pub threads: Option<u16>,
}

fn intensity(text: &str) -> Result<Intensity, crate::intensity::InvalidIntensity> {
    Intensity::parse(text, Unit::Cores)
}

impl Kind for Cpu {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let online = machine::online_cpus("/sys/devices/system/cpu/online".as_ref())?;
        let limit = match situation.target.map(crate::target::Target::cpu_limit).transpose()? {
            Some(Limit::At(cores)) => Some(cores.get()),
            _ => None,
        };
        let (cores, basis) = self.intensity.resolve(Unit::Cores, limit, Some(f64::from(online)))?;
        let threads = self.threads(cores, online as usize)?;
        Ok(Prepared {
            dose: Dose {
                kind: "cpu",
                intensity: self.intensity.to_string(),
                intensity_basis: basis,
                unit: Unit::Cores,
                requested: cores,
                target_limit: limit,
                details: [("threads", threads.into())].into(),
            },
            work: Work::Load(super::Load::Cpu(Load { cores, threads })),
        })
    }
}

impl Cpu {
    fn threads(&self, cores: f64, online: usize) -> Result<usize, InjectorError> {
        let (needed, most_useful) = (whole(cores), whole(2.0 * cores));
        // One on each processor at least: wherever the target's threads run, the load is there to compete.
        let default = || FEWEST_THREADS.max(most_useful).max(online).min(MOST_THREADS);
        match self.threads.map_or_else(default, usize::from) {
            threads if threads < needed => Err(InjectorError::TooFewThreads { threads, cores, needed }),
            threads => Ok(threads),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cores of a node, checked: a small positive number"
)]
fn whole(cores: f64) -> usize {
    cores.ceil() as usize
}

/// A dose for a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// All threads together.
    cores: f64,
    /// How many share it.
    threads: usize,
}

/// The load itself.
#[derive(Debug)]
pub(crate) struct Burner {
    threads: usize,
    /// Of one thread, in cores.
    share: f64,
    /// Where threads are kept, in turn.
    processors: Vec<usize>,
}

impl Burner {
    pub(crate) fn new(Load { cores, threads }: &Load) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 threads")]
        let share = cores / *threads as f64;
        Self { threads: *threads, share, processors: Vec::new() }
    }
}

impl Engine for Burner {
    /// Which processors are allowed depends on the cgroup.
    fn settle(&mut self) -> Result<()> {
        self.processors = placement(self.threads, self.share, &allowed_processors());
        Ok(())
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn work(&self, thread: usize, window: &Window, _: &Tally) -> Result<()> {
        if let Some(processor) = self.processors.iter().cycle().nth(thread) {
            stay_on(*processor);
        }
        burn(DutyCycle::new(self.share, window.duration), window);
        Ok(())
    }

    fn amount(&self, _: &Tally) -> f64 {
        clocks::process_cpu().as_secs_f64()
    }
}

/// The processors that threads are kept on, in turn; none where the kernel is to place them: when there are fewer threads
/// than processors, or when the threads of one would want more of it than there is.
///
/// Left to itself, the kernel often wakes all of them on one processor and never moves them, because the quota ends each
/// burst too soon. A target that runs on another one then keeps half of the quota, however high the load's priority.
#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 threads")]
fn placement(threads: usize, share: f64, processors: &[usize]) -> Vec<usize> {
    if processors.is_empty() || threads < processors.len() {
        return Vec::new();
    }
    let on_one = threads.div_ceil(processors.len()) as f64;
    if on_one * share > 1.0 { Vec::new() } else { processors.to_vec() }
}

/// The processors that this process may use; none where the kernel does not tell.
fn allowed_processors() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&processor| allowed.is_set(processor).unwrap_or(false)).collect()
}

/// Keeps the calling thread on one processor. Where that is refused (it went offline, or a cpuset changed since), the
/// kernel may place the thread: the dose is still paid.
fn stay_on(processor: usize) {
    let mut only = CpuSet::new();
    if only.set(processor).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &only);
    }
}

/// Keeps to `cycle` until the window closes. The thread's own beginning counts too: it is part of the load.
fn burn(mut cycle: DutyCycle, window: &Window) {
    let mut scratch = 1;
    loop {
        let elapsed = window.elapsed();
        if elapsed >= window.duration {
            return;
        }
        match cycle.step(elapsed, clocks::thread_cpu()) {
            Step::Burn => scratch = arithmetic(scratch),
            Step::RestUntil(until) => window.sleep_until(until),
        }
    }
}

/// Work that stays in the registers: it takes CPU time and nothing else, neither cache nor memory bandwidth.
fn arithmetic(seed: u64) -> u64 {
    (0..CHUNK).fold(seed, |state, _| {
        black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_gets_its_threads() {
        assert_eq!(placement(4, 0.2, &[0, 3]), [0, 3]);
        assert_eq!(placement(2, 1.0, &[0, 1]), [0, 1]);
    }

    #[test]
    fn the_kernel_places_what_would_not_fit() {
        assert_eq!(placement(3, 2.0 / 3.0, &[0, 1]), [0; 0], "two of three on one processor want 1.33 of it");
        assert_eq!(placement(1, 0.5, &[0, 1]), [0; 0], "one thread alone goes where the target is not");
        assert_eq!(placement(4, 0.2, &[]), [0; 0]);
    }
}
