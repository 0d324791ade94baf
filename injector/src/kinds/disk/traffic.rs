//! The load itself: requests to the disk from several threads, on a file of their own.
//!
//! Must not know where the threads are, nor whether somebody throttles them. Memory is bounded by the number of threads
//! times the size of a request.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::{
    super::{Engine, Tally, Window},
    Pattern,
    pacer::{Pacer, Step, Turn, reads},
    room,
};
use crate::clocks;

/// What O_DIRECT asks of memory and offsets: the largest logical block of disks there are.
pub(super) const ALIGNMENT: usize = 4096;

/// How much is written at once while the file is filled.
const FILL_BYTES: usize = 1 << 20;

/// How long the filling may take: less than what the supervisor waits for.
const FILL_PATIENCE: Duration = Duration::from_secs(20);

/// A dose for a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Of all threads together.
    pub(super) requests_per_second: f64,
    /// What one request counts for: its bytes, or one.
    pub(super) counts: u64,
    /// Of one request: a multiple of 4 KiB.
    pub(super) block_bytes: usize,
    /// From 0 to 1.
    pub(super) read_share: f64,
    pub(super) pattern: Pattern,
    /// How many requests are under way at once: as many threads.
    pub(super) queue: usize,
    pub(super) folder: PathBuf,
    pub(super) file_bytes: u64,
}

/// All threads' file, loop and memory.
#[derive(Debug)]
pub(crate) struct Traffic {
    load: Load,
    file: File,
    pacer: Mutex<Pacer>,
    /// One for each thread.
    buffers: Vec<Mutex<Buffer>>,
}

impl Traffic {
    /// Makes the file and fills it: the disk itself need not be asked for what was never written.
    pub(crate) fn new(load: Load) -> Result<Self> {
        let file = room::create(&load.folder)?;
        fill(&file, load.file_bytes).context("cannot fill the file for the load")?;
        let buffers = (0..load.queue).map(|_| Mutex::new(Buffer::new(load.block_bytes))).collect();
        Ok(Self { pacer: Mutex::new(Pacer::new(load.requests_per_second)), load, file, buffers })
    }

    fn pacer(&self) -> MutexGuard<'_, Pacer> {
        self.pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset(&self, turn: &Turn, random: &mut Pcg64Mcg) -> u64 {
        let block = self.load.block_bytes as u64;
        // A file is never so small; one block is where a worker's order by hand makes it so.
        let blocks = (self.load.file_bytes / block).max(1);
        block
            * match self.load.pattern {
                Pattern::Random => random.random_range(0..blocks),
                Pattern::Sequential => turn.number % blocks,
            }
    }

    fn request(&self, turn: &Turn, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if reads(turn.number, self.load.read_share) {
            return self.file.read_exact_at(buffer, offset).context("cannot read the file of the load");
        }
        // No two alike, so that no layer below saves itself the work.
        for (byte, stamp) in buffer.iter_mut().zip(turn.number.to_ne_bytes()) {
            *byte = stamp;
        }
        self.file.write_all_at(buffer, offset).context("cannot write the file of the load")
    }
}

impl Engine for Traffic {
    fn threads(&self) -> usize {
        self.load.queue
    }

    fn work(&self, thread: usize, window: &Window, tally: &Tally) -> Result<()> {
        let buffer = self.buffers.get(thread).context("there are more threads than buffers")?;
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = Pcg64Mcg::seed_from_u64(thread as u64);
        loop {
            let step = self.pacer().step(window.elapsed(), window.duration);
            match step {
                Step::Request(turn) => {
                    window.sleep_until(turn.due);
                    let began = window.elapsed();
                    self.request(&turn, self.offset(&turn, &mut random), buffer.bytes())?;
                    let over = window.elapsed();
                    self.pacer().took(over, over.saturating_sub(began));
                    tally.add(self.load.counts);
                }
                Step::RestUntil(until) => window.sleep_until(until),
                Step::Over => break,
            }
        }
        window.sleep_until(window.duration);
        Ok(())
    }
}

/// Writes the whole file, so that every block of it has a place on the disk.
fn fill(file: &File, bytes: u64) -> Result<()> {
    let mut buffer = Buffer::new(FILL_BYTES);
    let deadline = clocks::monotonic() + FILL_PATIENCE;
    for offset in (0..bytes).step_by(FILL_BYTES) {
        if clocks::monotonic() > deadline {
            bail!(
                "{offset} of {bytes} bytes were written in {FILL_PATIENCE:?}: the disk is slow, give a smaller --file-size"
            );
        }
        file.write_all_at(buffer.bytes(), offset)?;
    }
    Ok(file.sync_all()?)
}

/// Memory as O_DIRECT wants it, filled with what cannot be compressed.
#[derive(Debug)]
struct Buffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    fn new(length: usize) -> Self {
        let mut memory = vec![0; length + ALIGNMENT];
        Pcg64Mcg::seed_from_u64(length as u64).fill(&mut memory[..]);
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, length }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_of_their_length() {
        for length in [4096, 12_288, FILL_BYTES] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.bytes().len(), length);
            assert_eq!(buffer.bytes().as_ptr().align_offset(ALIGNMENT), 0);
        }
    }

    #[test]
    fn the_order_survives_the_pipe() {
        let load = Load {
            requests_per_second: 12.5,
            counts: 4096,
            block_bytes: 4096,
            read_share: 0.25,
            pattern: Pattern::Sequential,
            queue: 4,
            folder: "/var/tmp".into(),
            file_bytes: 1 << 26,
        };
        let line = serde_json::to_string(&load).unwrap();
        assert_eq!(serde_json::from_str::<Load>(&line).unwrap(), load);
    }
}
