//! A process that is sensitive to one kind of contention, and tells how long each of its small tasks takes.
//!
//! For `scripts/victims`: a task is due each 5 ms, whether or not the last one is done, and its time counts from when it was
//! due. Must not know what is done to it.
//!
//! Usage: `victim WORK [FOLDER]`. Prints a line for each task: when it was due (`CLOCK_MONOTONIC`, ns) and how long it took
//! (ns). Ends when its standard input does.

use std::{
    fs::File,
    hint::black_box,
    io::{self, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ballast_injector::clocks;

/// From one task's beginning to the next one's.
const EACH: Duration = Duration::from_millis(5);

/// A set that a processor's own caches hold in part.
const CHASED_WORDS: usize = (2 << 20) / size_of::<usize>();
const CHASES: usize = 8192;
/// A set that no cache holds.
const STREAMED_WORDS: usize = (64 << 20) / size_of::<u64>();
/// How much of it a task reads.
const STREAMED_EACH: usize = (4 << 20) / size_of::<u64>();
/// What the page cache holds, where it may.
const FILE_BYTES: usize = 64 << 20;
const BLOCK: usize = 4096;
const BLOCKS_EACH: u64 = 16;

static ENDED: AtomicBool = AtomicBool::new(false);

/// What is done again and again.
enum Work {
    /// Half a millisecond of arithmetic.
    Compute,
    /// Loads that each tell the next one's place.
    Chase { next: Vec<usize>, at: usize },
    /// Reading of memory that is in no cache.
    Stream { words: Vec<u64>, at: usize },
    /// Reading of a file that is in the page cache while there is room for it.
    Cached { file: File, chance: u64 },
    /// A block written to a disk, until it is there.
    Sync { file: File },
}

impl Work {
    fn new(name: &str, folder: &str) -> Result<Self> {
        let file = || tempfile::tempfile_in(folder).context("cannot make a file");
        Ok(match name {
            "compute" => Self::Compute,
            "chase" => Self::Chase { next: ring(CHASED_WORDS), at: 0 },
            "stream" => Self::Stream { words: (0..STREAMED_WORDS as u64).collect(), at: 0 },
            "cached" => {
                let file = file()?;
                for block in 0..FILE_BYTES / BLOCK {
                    file.write_all_at(&[7; BLOCK], (block * BLOCK) as u64)?;
                }
                file.sync_all()?;
                Self::Cached { file, chance: 1 }
            }
            "sync" => Self::Sync { file: file()? },
            other => bail!("{other:?} is no work: compute, chase, stream, cached or sync"),
        })
    }

    fn once(&mut self) -> io::Result<()> {
        match self {
            Self::Compute => {
                let end = clocks::thread_cpu() + EACH / 10;
                while clocks::thread_cpu() < end {
                    black_box((0..2000_u64).fold(1, |state, step| state ^ step.wrapping_mul(state | 1)));
                }
            }
            Self::Chase { next, at } => {
                for _ in 0..CHASES {
                    *at = next[*at];
                }
            }
            Self::Stream { words, at } => {
                black_box(
                    words[*at..*at + STREAMED_EACH].iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)),
                );
                *at = (*at + STREAMED_EACH) % STREAMED_WORDS;
            }
            Self::Cached { file, chance } => {
                let mut block = [0; BLOCK];
                for _ in 0..BLOCKS_EACH {
                    *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let number = (*chance >> 33) % (FILE_BYTES / BLOCK) as u64;
                    file.read_exact_at(&mut block, number * BLOCK as u64)?;
                }
            }
            Self::Sync { file } => {
                file.write_all_at(&[7; BLOCK], 0)?;
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

/// Each place tells another one, far away, and all are visited before the first comes again: the step is odd, and the length
/// a power of two.
fn ring(words: usize) -> Vec<usize> {
    let step = words / 2 + 4099;
    (0..words).map(|at| (at + step) % words).collect()
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [name, folder @ ..] = &arguments[..] else { bail!("usage: victim WORK [FOLDER]") };
    let mut work = Work::new(name, folder.first().map_or("/var/tmp", String::as_str))?;
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
    let mut output = BufWriter::new(io::stdout());
    let mut due = clocks::monotonic();
    while !ENDED.load(Ordering::Relaxed) {
        clocks::sleep_until(due);
        work.once()?;
        let took = clocks::monotonic().saturating_sub(due);
        writeln!(output, "{} {}", due.as_nanos(), took.as_nanos())?;
        due += EACH;
    }
    output.flush()?;
    Ok(())
}
