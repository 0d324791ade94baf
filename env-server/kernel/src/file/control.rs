//! A control file of one cgroup that stays open between readings.
//!
//! A node reads a dozen of them for each container, each second. Opening one walks its whole path: on an AMD EPYC under
//! Linux 6.18 that takes ten times as long as reading it where it is open (10.6 µs with opening and closing, 0.9 µs
//! without). Must not know what the files say.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit},
        statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs},
    },
};

use super::{failed, not_written, number, record, write};
use crate::error::KernelError;

/// Descriptors that are in use for control files, in the whole process.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// One control file. The cgroup it is of need not exist yet, and may go away: that is told as by its path.
#[derive(Debug)]
pub(crate) struct ControlFile {
    path: PathBuf,
    is_written: bool,
    kept: Mutex<Option<Kept>>,
}

/// An open file, and its share of the process's descriptors.
#[derive(Debug)]
struct Kept {
    file: File,
    is_writable: bool,
    _share: Share,
}

impl ControlFile {
    /// One that is read and written.
    pub(crate) fn of_limit(path: PathBuf) -> Self {
        Self { path, is_written: true, kept: Mutex::default() }
    }

    /// One that is only read.
    pub(crate) fn of_counter(path: PathBuf) -> Self {
        Self { path, is_written: false, kept: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All that it says, as [`read_record`](super::read_record).
    pub(crate) fn read(&self) -> Result<String, KernelError> {
        self.attempt_read().map_err(failed("read", &self.path))
    }

    fn attempt_read(&self) -> io::Result<String> {
        let mut kept = self.kept();
        if let Some(read) = use_kept(&mut kept, record) {
            return read;
        }
        let (file, is_writable) = self.open()?;
        let text = record(&file)?;
        *kept = Kept::new(file, is_writable);
        Ok(text)
    }

    /// The number that it holds.
    pub(crate) fn read_number<T: std::str::FromStr>(&self) -> Result<T, KernelError> {
        number(&self.path, &self.read()?)
    }

    /// Writes the whole value in one call, as kernel files want it.
    pub(crate) fn write(&self, value: &str) -> Result<(), KernelError> {
        let mut kept = self.kept();
        // By its path a file that may not be written is opened anew, which tells why.
        if kept.as_ref().is_some_and(|kept| kept.is_writable)
            && let Some(written) = use_kept(&mut kept, |file| file.write_all_at(value.as_bytes(), 0))
        {
            return written.map_err(not_written(&self.path, value));
        }
        write(&self.path, value)
    }

    /// After a panic a file is as good as before.
    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For reading, and for writing too where that is wanted and allowed. Whether it is.
    fn open(&self) -> io::Result<(File, bool)> {
        if self.is_written
            && let Ok(file) = OpenOptions::new().read(true).write(true).open(&self.path)
        {
            return Ok((file, true));
        }
        Ok((File::open(&self.path)?, false))
    }
}

/// What `work` answers of the file that is open, if one is. The kernel says ENODEV of a file that it has removed: at its
/// path there may be another by now, as where a controller was taken back and handed down again (cgroup v2).
fn use_kept<T>(kept: &mut Option<Kept>, work: impl FnOnce(&File) -> io::Result<T>) -> Option<io::Result<T>> {
    let outcome = work(&kept.as_ref()?.file);
    if outcome.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::ENODEV as i32)) {
        *kept = None;
        return None;
    }
    Some(outcome)
}

impl Kept {
    /// Only a file that the kernel made is kept: it is the one at its path until it is removed, and then it says so. Any
    /// other may be replaced behind one's back.
    fn new(file: File, is_writable: bool) -> Option<Self> {
        let kind = fstatfs(&file).ok()?.filesystem_type();
        let is_kernels = kind == CGROUP_SUPER_MAGIC || kind == CGROUP2_SUPER_MAGIC;
        is_kernels.then(|| Share::take(&KEPT, most_kept())).flatten().map(|share| Self {
            file,
            is_writable,
            _share: share,
        })
    }
}

/// Half of what the process may have open. Beyond that files are opened for each reading, as ever: slower, and no failure.
fn most_kept() -> usize {
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(allowed, _)| allowed);
    usize::try_from(allowed / 2).unwrap_or(usize::MAX)
}

/// One of a bounded number, counted in `used` until it is dropped.
#[derive(Debug)]
struct Share {
    used: &'static AtomicUsize,
}

impl Share {
    fn take(used: &'static AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |used: usize| (used < most).then_some(used + 1);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self { used })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn shares_are_bounded_and_come_back() {
        static USED: AtomicUsize = AtomicUsize::new(0);
        let take = || Share::take(&USED, 2);
        let (first, second) = (take(), take());
        assert!(first.is_some() && second.is_some() && take().is_none());
        drop(first);
        assert!(take().is_some(), "what was given back can be taken");
        drop(second);
        assert_eq!(USED.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_file_that_is_not_the_kernels_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cpu.max");
        let file = ControlFile::of_limit(path.clone());
        assert!(file.read().unwrap_err().is_gone());
        for text in ["max 100000\n", "5000 100000\n"] {
            let other = folder.path().join("other");
            fs::write(&other, text).unwrap();
            fs::rename(&other, &path).unwrap();
            assert_eq!(file.read().unwrap(), text);
        }
        file.write("6000").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "6000");
        fs::remove_file(&path).unwrap();
        assert!(file.read().unwrap_err().is_gone());
        assert!(file.write("7000").unwrap_err().is_gone(), "a file is never made");
    }
}
