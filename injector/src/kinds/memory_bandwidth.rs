//! Traffic between memory and processors, at a rate.
//!
//! Each word of a buffer far larger than the caches is read, changed and written back in place. What counts is the bytes
//! read plus the bytes written: twice the buffer for each pass. This is what crosses the memory bus too: a line is fetched
//! once and, changed, written back once. (Copying would fetch the destination as well, and count too little.)
//!
//! Must not know where the threads are, nor who else is there.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;
use ballast_kernel::machine;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    Dose, Engine, Kind, Prepared, Situation, Tally, Window, Work,
    caches::LastLevel,
    node_memory::{NodeMemory, as_f64, must_fit},
    pace::{Pace, Step},
};
use crate::{
    clocks,
    error::InjectorError,
    intensity::{Intensity, InvalidIntensity},
    unit::Unit,
};

const UNIT: Unit = Unit::BytesPerSecond;

/// Less would be lost in the noise of the program's own start.
const LEAST_RATE: f64 = 1e6;

/// The most bytes in one step of a thread: some tens of microseconds.
const LARGEST_CHUNK: usize = 256 << 10;
const SMALLEST_CHUNK: usize = 4 << 10;

/// How often a stream is to move a chunk at least, so that it is even.
const CHUNKS_PER_SECOND: f64 = 1000.0;

/// A thread's buffer is so many times the cache: of what a pass leaves in the cache, the next one finds nothing.
const TIMES_THE_CACHE: u64 = 2;

/// Where the kernel does not tell the size of the cache: as much as most have.
const USUAL_CACHE_BYTES: u64 = 32 << 20;

/// All buffers together: threads that share a cache add up, so many of them need no more each. At most a part of what is
/// available too.
const MOST_BUFFER_BYTES: u64 = 4 << 30;
const AVAILABLE_PART: u64 = 4;

/// How long the node's own ceiling is measured.
const CALIBRATION: Duration = Duration::from_millis(250);

/// The most threads.
const MOST_THREADS: i64 = 1024;

/// Options of the kind `membw`.
#[derive(Debug, Clone, Args)]
pub struct MemoryBandwidth {
    /// How much: bytes per second such as 2GB/s, read plus written; or 50% of what the node can do
    ///
    /// At least 1MB/s. For a percentage the node's ceiling is measured first: all processors move as much as they can for
    /// a quarter of a second, just before the injection begins. A rate is taken as it is, and costs no such burst. What the
    /// hardware (or the target's CPU limit) does not give is missing in what is reported as achieved.
    #[arg(long, value_name = "RATE|PERCENT", allow_hyphen_values = true, value_parser = intensity)]
    pub intensity: Intensity,
    /// How many threads share the rate [default: one for each processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS))]
    pub threads: Option<u16>,
}

fn intensity(text: &str) -> Result<Intensity, InvalidIntensity> {
    Intensity::parse(text, UNIT)
}

impl Kind for MemoryBandwidth {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let online = machine::online_cpus("/sys/devices/system/cpu/online".as_ref())? as usize;
        let threads = self.threads.map_or(online, usize::from);
        let buffer_bytes = buffer_bytes(threads)?;
        must_fit(situation, "use so much memory for its buffers", (buffer_bytes * threads) as u64)?;
        let ceiling = match self.intensity {
            Intensity::Percent(_) => Some(ceiling(online)?),
            Intensity::Amount(..) => None,
        };
        let (bytes_per_second, basis) = self.intensity.resolve(UNIT, None, ceiling)?;
        if bytes_per_second < LEAST_RATE {
            let too_little =
                InvalidIntensity::TooLittle { asked: bytes_per_second, least: LEAST_RATE, unit: UNIT };
            return Err(too_little.into());
        }
        let mut details =
            BTreeMap::from([("threads", threads.into()), ("buffer_bytes_per_thread", buffer_bytes.into())]);
        details.extend(ceiling.map(|ceiling| ("ceiling", ceiling.into())));
        Ok(Prepared {
            dose: Dose {
                kind: "membw",
                intensity: self.intensity.to_string(),
                intensity_basis: basis,
                unit: UNIT,
                requested: bytes_per_second,
                target_limit: None,
                details,
            },
            work: Work::Load(super::Load::MemoryBandwidth(Load { bytes_per_second, threads, buffer_bytes })),
        })
    }
}

/// Of one thread: whole chunks.
fn buffer_bytes(threads: usize) -> Result<usize, InjectorError> {
    let cache = LastLevel::of(0).map_or(USUAL_CACHE_BYTES, |cache| cache.bytes);
    let most = MOST_BUFFER_BYTES.min(NodeMemory::now()?.available / AVAILABLE_PART) / threads as u64;
    let bytes = usize::try_from(cache.saturating_mul(TIMES_THE_CACHE).min(most)).unwrap_or(usize::MAX);
    Ok((bytes / LARGEST_CHUNK).max(1) * LARGEST_CHUNK)
}

/// What all processors together can move, in bytes per second.
fn ceiling(threads: usize) -> Result<f64, InjectorError> {
    let load = Load { bytes_per_second: f64::INFINITY, threads, buffer_bytes: buffer_bytes(threads)? };
    let (streamer, tally) = (Streamer::new(&load), Tally::default());
    let window = Window { start: clocks::monotonic(), duration: CALIBRATION };
    let without_rest = || (window.elapsed() < window.duration).then_some(Step::Move);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (streamer, tally, window) = (&streamer, &tally, &window);
            scope.spawn(move || streamer.stream(thread, tally, without_rest, window));
        }
    });
    Ok(tally.total() / window.elapsed().as_secs_f64())
}

/// A dose for a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// All threads together, read plus written.
    bytes_per_second: f64,
    /// How many share it.
    threads: usize,
    /// Of each thread: at least a chunk.
    buffer_bytes: usize,
}

/// The load itself.
pub(crate) struct Streamer {
    bytes_per_second: f64,
    chunk_bytes: usize,
    /// One for each thread, which keeps it locked as long as it works.
    buffers: Vec<Mutex<Vec<u64>>>,
    /// Set up by the first thread, for only then the time is known.
    pace: Mutex<Option<Pace>>,
}

impl Streamer {
    pub(crate) fn new(load: &Load) -> Self {
        let words = load.buffer_bytes.max(SMALLEST_CHUNK) / size_of::<u64>();
        // Not zero: pages of zeros need not exist.
        let buffers = (0..load.threads).map(|_| Mutex::new(vec![1; words])).collect();
        Self {
            bytes_per_second: load.bytes_per_second,
            chunk_bytes: chunk_bytes(load.bytes_per_second),
            buffers,
            pace: Mutex::new(None),
        }
    }

    fn pace_step(&self, window: &Window, elapsed: Duration) -> Step {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        // Each byte of a chunk is read and written.
        let moved_bytes = 2.0 * as_f64(self.chunk_bytes as u64);
        pace.get_or_insert_with(|| Pace::new(self.bytes_per_second, moved_bytes, window.duration))
            .step(elapsed)
    }

    /// Moves chunks of the thread's buffer in turn, as long as `next` answers what to do.
    fn stream(&self, thread: usize, tally: &Tally, next: impl Fn() -> Option<Step>, window: &Window) {
        let Some(buffer) = self.buffers.get(thread) else { return };
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let words = self.chunk_bytes / size_of::<u64>();
        let mut at = 0;
        while let Some(step) = next() {
            match step {
                Step::Move => {
                    let end = (at + words).min(buffer.len());
                    change(&mut buffer[at..end]);
                    tally.add(2 * ((end - at) * size_of::<u64>()) as u64);
                    at = if end < buffer.len() { end } else { 0 };
                }
                Step::RestUntil(until) => window.sleep_until(until),
            }
        }
    }
}

impl Engine for Streamer {
    fn threads(&self) -> usize {
        self.buffers.len()
    }

    fn work(&self, thread: usize, window: &Window, tally: &Tally) -> Result<()> {
        let next = || {
            let elapsed = window.elapsed();
            (elapsed < window.duration).then(|| self.pace_step(window, elapsed))
        };
        self.stream(thread, tally, next, window);
        Ok(())
    }
}

/// Reads each word and writes it back changed.
fn change(words: &mut [u64]) {
    for word in words.iter_mut() {
        *word = word.wrapping_add(1);
    }
    black_box(words);
}

/// The smaller the rate, the smaller the chunks; a power of two, so that a buffer holds a whole number of them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a small positive range before"
)]
fn chunk_bytes(bytes_per_second: f64) -> usize {
    let wanted = bytes_per_second / CHUNKS_PER_SECOND / 2.0;
    let (smallest, largest) = (as_f64(SMALLEST_CHUNK as u64), as_f64(LARGEST_CHUNK as u64));
    let bounded = wanted.clamp(smallest, largest) as usize;
    1 << bounded.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_the_rate_and_fit_the_buffer() {
        for (rate, bytes) in [(1e6, 4096), (20e6, 8192), (1e9, 262_144), (f64::INFINITY, 262_144)] {
            assert_eq!(chunk_bytes(rate), bytes, "{rate}");
            assert_eq!(LARGEST_CHUNK % bytes, 0);
        }
    }

    #[test]
    fn every_byte_that_counts_is_read_and_written() {
        let load = Load { bytes_per_second: 1e6, threads: 2, buffer_bytes: 16_384 };
        let (streamer, tally) = (Streamer::new(&load), Tally::default());
        let steps = std::cell::Cell::new(0);
        let five = || {
            steps.set(steps.get() + 1);
            (steps.get() <= 5).then_some(Step::Move)
        };
        let window = Window { start: clocks::monotonic(), duration: Duration::from_secs(1) };
        streamer.stream(1, &tally, five, &window);
        assert_eq!(tally.total(), 2.0 * 5.0 * 4096.0);
        let buffer = streamer.buffers[1].lock().unwrap();
        // Four chunks, and the first once more.
        assert_eq!((buffer[0], buffer[511], buffer[512], buffer[2047]), (3, 3, 2, 2));
        assert!(streamer.buffers[0].lock().unwrap().iter().all(|word| *word == 1));
    }

    #[test]
    fn the_ceiling_of_a_machine_is_a_rate() {
        let ceiling = ceiling(1).unwrap();
        eprintln!("one thread moves {}", UNIT.show(ceiling));
        assert!(ceiling > 50e6, "{ceiling}");
    }
}
