//! What a victim does again and again, and how often.
//!
//! Must not know how long it takes.

use std::{
    fs::File,
    hint::black_box,
    io::{self, Write},
    os::unix::fs::FileExt,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ballast_injector::clocks;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::network::Asker;

const COMPUTE: Duration = Duration::from_micros(500);

/// How often a chase visits all of its set in a task: some milliseconds, of which an interruption is a small part.
const ROUNDS: usize = 4;
const LINE_BYTES: usize = 64;

/// A set that no cache holds.
const STREAMED_WORDS: usize = (64 << 20) / size_of::<u64>();
/// How much of it a task reads.
const STREAMED_EACH: usize = (4 << 20) / size_of::<u64>();

/// What the page cache holds, where it may: all of it is read within a third of a second.
const RECORDS: usize = 256;
const RECORD_BYTES: usize = 64 << 10;
const RECORDS_EACH: usize = 8;

const BLOCK: usize = 4096;

/// One kind of work.
pub(crate) enum Work {
    /// `compute`: half a millisecond of arithmetic.
    Compute,
    /// `chase BYTES`: loads from a set of that size, each of which tells the next one's place.
    Chase { next: Vec<Line>, at: usize },
    /// `stream`: reading of memory that is in no cache.
    Stream { words: Vec<u64>, at: usize },
    /// `cached FOLDER`: reading of a file that is in the page cache while there is room for it.
    Cached { file: File, next: Vec<usize>, at: usize, record: Vec<u8> },
    /// `sync FOLDER`: a block written to a disk, until it is there.
    Sync { file: File },
    /// `ask ADDRESS BYTES`: an answer of that size asked for, until it is there.
    Ask(Asker),
}

/// A line of a cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line(usize);

impl Work {
    pub(crate) fn new(name: &str, arguments: &[&str]) -> Result<Self> {
        Ok(match (name, arguments) {
            ("compute", []) => Self::Compute,
            ("chase", [bytes]) => {
                let lines = bytes.parse::<usize>()? / LINE_BYTES;
                Self::Chase { next: cycle(lines).into_iter().map(Line).collect(), at: 0 }
            }
            ("stream", []) => Self::Stream { words: (0..STREAMED_WORDS as u64).collect(), at: 0 },
            ("cached", [folder]) => {
                let (mut file, record) = (file_in(folder)?, vec![7; RECORD_BYTES]);
                (0..RECORDS).try_for_each(|_| file.write_all(&record))?;
                file.sync_all()?;
                Self::Cached { file, next: cycle(RECORDS), at: 0, record }
            }
            ("sync", [folder]) => Self::Sync { file: file_in(folder)? },
            ("ask", [address, bytes]) => Self::Ask(Asker::connect(address, bytes.parse()?)?),
            other => bail!("{other:?} is no work"),
        })
    }

    /// From one task's beginning to the next one's: at least ten times what it takes alone. `None` when one follows the other
    /// without a rest: after a few milliseconds a cache that is shared with strangers holds nothing of the set any more,
    /// whether or not anybody injects anything.
    pub(crate) fn each(&self) -> Option<Duration> {
        let millis = match self {
            Self::Chase { .. } => return None,
            Self::Stream { .. } => 5,
            Self::Compute | Self::Cached { .. } => 10,
            Self::Sync { .. } => 40,
            Self::Ask(_) => 50,
        };
        Some(Duration::from_millis(millis))
    }

    pub(crate) fn once(&mut self) -> io::Result<()> {
        match self {
            Self::Compute => compute(),
            Self::Chase { next, at } => {
                for _ in 0..ROUNDS * next.len() {
                    *at = next[*at].0;
                }
            }
            Self::Stream { words, at } => {
                let read = &words[*at..*at + STREAMED_EACH];
                black_box(read.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)));
                *at = (*at + STREAMED_EACH) % STREAMED_WORDS;
            }
            Self::Cached { file, next, at, record } => {
                for _ in 0..RECORDS_EACH {
                    file.read_exact_at(record, (*at * RECORD_BYTES) as u64)?;
                    *at = next[*at];
                }
            }
            Self::Sync { file } => {
                file.write_all_at(&[7; BLOCK], 0)?;
                file.sync_data()?;
            }
            Self::Ask(asker) => asker.ask()?,
        }
        Ok(())
    }
}

fn compute() {
    let end = clocks::thread_cpu() + COMPUTE;
    while clocks::thread_cpu() < end {
        black_box((0..2000_u64).fold(1, |state, step| state ^ step.wrapping_mul(state | 1)));
    }
}

fn file_in(folder: &str) -> Result<File> {
    tempfile::tempfile_in(folder).with_context(|| format!("cannot make a file in {folder}"))
}

/// Each place tells another one, at random, and all are visited before the first comes again (Sattolo's algorithm): neither a
/// processor nor a kernel can tell what comes next.
fn cycle(places: usize) -> Vec<usize> {
    let mut chance = Pcg64Mcg::seed_from_u64(1);
    let mut next: Vec<_> = (0..places).collect();
    for at in (1..places).rev() {
        next.swap(at, chance.random_range(0..at));
    }
    next
}
