//! A part of the last-level cache, kept in use: lines that others want there are driven out.
//!
//! Threads sweep over a working set, line by line, reading and changing one word of each. The dose is the bytes of the set
//! that were touched within the last tenth of a second (`IN_USE`), and its amount the integral of that over time: a line
//! that is touched after a time `t` adds `min(t, IN_USE)` times its length. So the dose is the whole set as long as every
//! sweep is shorter than that, and less where the threads get too little CPU time: what they do not touch for so long,
//! others have driven out.
//!
//! Must not know who else uses the cache.

use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::{
    Dose, Engine, Kind, Prepared, Situation, Tally, Window, Work,
    caches::LastLevel,
    node_memory::{as_f64, must_fit},
};
use crate::{error::InjectorError, intensity::Intensity, unit::Unit};

/// How long a line counts as in use after it was touched.
const IN_USE: Duration = Duration::from_millis(100);

/// How much of the set is touched between two looks at the clock: some microseconds.
const BLOCK_BYTES: u64 = 64 << 10;

/// At so many places of a block at once: one after the other, a processor waits for each line that is not in the cache, and a
/// sweep takes so long that a busy neighbour's lines come again before they are driven out. Measured with 32 MiB on an AMD
/// EPYC: a sweep took 2.2 ms, and 3.1 with one stream; a neighbour's loads from 2 to 4 MiB of its own took ten times as long as
/// without (19 and 200 ns), and with one stream no longer.
const STREAMS: usize = 8;

/// The kernel's shortest and the longest line there is; a word is shorter.
const LINE_BYTES: std::ops::RangeInclusive<usize> = 8..=4096;

const UNIT: Unit = Unit::Bytes;

const WHAT: &str = "occupy the last-level cache";

/// Options of the kind `llc`.
#[derive(Debug, Clone, Args)]
pub struct Llc {
    /// How much of the last-level cache: a working set such as 16MiB, or 50% of the cache
    ///
    /// At most the cache. What counts as achieved is the bytes of the set that were touched within the last 100 ms.
    #[arg(long, value_name = "BYTES|PERCENT", allow_hyphen_values = true, value_parser = intensity)]
    pub intensity: Intensity,
    /// How many threads share the sweep, on the processors that share the cache: at most one for each of them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
}

fn intensity(text: &str) -> Result<Intensity, crate::intensity::InvalidIntensity> {
    Intensity::parse(text, UNIT)
}

impl Kind for Llc {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let impossible = |reason| InjectorError::Impossible { what: WHAT, reason };
        let theirs = situation.target.map_or(Ok(Vec::new()), crate::target::Target::processors)?;
        // That of the processors which the target may use; on the node as a whole, the first one's.
        let cache = LastLevel::of(theirs.first().copied().unwrap_or_default()).ok_or_else(|| {
            impossible("the kernel does not describe it: this machine hides its caches".into())
        })?;
        let threads = usize::from(self.threads);
        if threads > cache.processors.len() {
            let sharing = cache.processors.len();
            return Err(impossible(format!(
                "{threads} threads are more than the {sharing} processors that share it"
            )));
        }
        let (bytes, basis) = self.intensity.resolve(UNIT, None, Some(as_f64(cache.bytes)))?;
        let set = Set::new(bytes, cache.line_bytes);
        must_fit(situation, WHAT, set.bytes())?;
        Ok(Prepared {
            dose: Dose {
                kind: "llc",
                intensity: self.intensity.to_string(),
                intensity_basis: basis,
                unit: UNIT,
                requested: as_f64(set.bytes()),
                target_limit: None,
                details: [
                    ("cache_bytes", cache.bytes.into()),
                    ("line_bytes", cache.line_bytes.into()),
                    ("processors", cache.processors.clone().into()),
                    ("threads", threads.into()),
                ]
                .into(),
            },
            work: Work::Load(super::Load::Llc(Load { set, threads, processors: cache.processors })),
        })
    }
}

/// Lines of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    lines: usize,
    line_bytes: usize,
}

impl Set {
    /// As many whole lines as there are in `bytes`; one at least.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most the size of a cache, which the kernel gave as a whole number"
    )]
    fn new(bytes: f64, line_bytes: u64) -> Self {
        let line_bytes = usize::try_from(line_bytes).unwrap_or(*LINE_BYTES.start());
        Self { lines: (bytes as usize / line_bytes).max(1), line_bytes }
    }

    fn bytes(self) -> u64 {
        (self.lines as u64).saturating_mul(self.line_bytes as u64)
    }
}

/// A dose for a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    set: Set,
    /// How many share it.
    threads: usize,
    /// Those that share the cache.
    processors: Vec<usize>,
}

/// The load itself.
pub(crate) struct Sweeper {
    line_bytes: usize,
    processors: Vec<usize>,
    /// One for each thread, which keeps it locked as long as it works.
    parts: Vec<Mutex<Vec<u64>>>,
}

impl Sweeper {
    pub(crate) fn new(load: &Load) -> Self {
        let line_bytes = load.set.line_bytes.clamp(*LINE_BYTES.start(), *LINE_BYTES.end());
        let threads = load.threads.max(1);
        let words = |thread| {
            // The first ones take what does not divide evenly.
            let lines = load.set.lines / threads + usize::from(thread < load.set.lines % threads);
            lines * line_bytes / size_of::<u64>()
        };
        let parts = (0..threads).map(|thread| Mutex::new(vec![1; words(thread)])).collect();
        Self { line_bytes, processors: load.processors.clone(), parts }
    }
}

impl Engine for Sweeper {
    fn threads(&self) -> usize {
        self.parts.len()
    }

    fn work(&self, thread: usize, window: &Window, tally: &Tally) -> Result<()> {
        stay_among(&self.processors);
        if let Some(part) = self.parts.get(thread) {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            sweep(&mut part, self.line_bytes, window, tally);
        }
        Ok(())
    }

    fn amount(&self, tally: &Tally) -> f64 {
        tally.total() * 1e-6
    }
}

/// Keeps the calling thread on processors that share the cache, within those that it may use. Where there are none, or that
/// is refused, the kernel places the thread: the set is swept all the same.
fn stay_among(processors: &[usize]) {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return };
    let mut chosen = CpuSet::new();
    let may = |processor: &&usize| allowed.is_set(**processor).unwrap_or(false);
    let count = processors.iter().filter(may).filter(|processor| chosen.set(**processor).is_ok()).count();
    if count > 0 {
        let _ = sched_setaffinity(Pid::from_raw(0), &chosen);
    }
}

/// Touches line by line until the window closes, and counts byte-microseconds.
fn sweep(part: &mut [u64], line_bytes: usize, window: &Window, tally: &Tally) {
    let block_words = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX) / size_of::<u64>();
    let line_words = line_bytes / size_of::<u64>();
    // When each block was touched last: at the start all were, for they have just been filled.
    let mut last_touched: Vec<_> = part.chunks(block_words).map(|_| Touch::default()).collect();
    let mut is_open = !part.is_empty();
    while is_open {
        for (block, last) in part.chunks_mut(block_words).zip(&mut last_touched) {
            touch(block, line_words);
            let now = window.elapsed();
            is_open = now < window.duration;
            tally.add(last.again(now.min(window.duration), size_of_val(block) as u64));
            if !is_open {
                break;
            }
        }
    }
    // Others were touched when their turn was, and count for a while from then on.
    for (block, last) in part.chunks(block_words).zip(&mut last_touched) {
        tally.add(last.again(window.duration, size_of_val(block) as u64));
    }
}

/// Reads and changes the first word of each line.
fn touch(block: &mut [u64], line_words: usize) {
    let line_words = line_words.max(1);
    let stream_words = block.len().div_ceil(STREAMS).next_multiple_of(line_words);
    for at in (0..stream_words).step_by(line_words) {
        for stream in 0..STREAMS {
            if let Some(word) = block.get_mut(stream * stream_words + at) {
                *word = word.wrapping_add(1);
            }
        }
    }
    black_box(block);
}

/// When a block was touched last, in microseconds from the start.
#[derive(Debug, Clone, Copy, Default)]
struct Touch(u64);

impl Touch {
    /// It is touched now: byte-microseconds that it was in use since it was touched before.
    fn again(&mut self, now: Duration, bytes: u64) -> u64 {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // What a whole number of microseconds leaves over counts the next time.
        let since = micros(now).saturating_sub(self.0);
        self.0 += since;
        since.min(micros(IN_USE)) * bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clocks;

    #[test]
    fn a_line_counts_for_as_long_as_it_is_in_use() {
        let mut touch = Touch::default();
        let ms = Duration::from_millis;
        assert_eq!(touch.again(ms(20), 64), 64 * 20_000);
        assert_eq!(touch.again(ms(20), 64), 0);
        assert_eq!(touch.again(ms(500), 64), 64 * 100_000, "most of the time it was not in the cache");
        assert_eq!(touch.again(Duration::from_nanos(500_001_700), 64), 64);
        assert_eq!(touch.again(Duration::from_nanos(500_002_000), 64), 64);
    }

    #[test]
    fn a_set_is_of_whole_lines() {
        assert_eq!(Set::new(1000.0, 64), Set { lines: 15, line_bytes: 64 });
        assert_eq!(Set::new(1.0, 64).bytes(), 64);
    }

    #[test]
    fn every_line_is_touched_by_one_thread() {
        let load = Load { set: Set { lines: 1025, line_bytes: 64 }, threads: 3, processors: vec![0] };
        let sweeper = Sweeper::new(&load);
        let parts: Vec<_> = sweeper.parts.iter().map(|part| part.lock().unwrap().len()).collect();
        assert_eq!(parts, [342 * 8, 342 * 8, 341 * 8]);
        // No whole number of lines, and no whole number of lines for each stream.
        for words in [0, 1, 20, 8 * 8, 8 * 8 * 3 + 1, 8192] {
            let mut block = vec![1; words];
            touch(&mut block, 8);
            let touched: Vec<_> = (0..words).filter(|at| block[*at] == 2).collect();
            assert_eq!(touched, (0..words).step_by(8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_small_set_is_in_use_all_the_time() {
        let load = Load { set: Set { lines: 4096, line_bytes: 64 }, threads: 1, processors: Vec::new() };
        let (sweeper, tally) = (Sweeper::new(&load), Tally::default());
        let window = Window { start: clocks::monotonic(), duration: Duration::from_millis(100) };
        sweeper.work(0, &window, &tally).unwrap();
        let in_use = sweeper.amount(&tally) / window.duration.as_secs_f64();
        // Never more than the set; less only where the test's thread stood still for longer than a tenth of a second.
        assert!(in_use <= 262_144.0 * 1.000_1 && in_use > 26_000.0, "{in_use}");
    }
}
