//! Something that is read from files, and read again when they change.
//!
//! Must not know what it is, nor when to look.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

type Load<T> = Box<dyn Fn() -> Result<T, Vec<String>> + Send + Sync>;

/// What changes when a file does: device, inode, size, and the time of its last change to the nanosecond. Absent when
/// the file is.
type Fingerprint = Option<(u64, u64, u64, i64, i64)>;

/// The last good state of what the files say.
pub struct Watched<T> {
    files: Vec<PathBuf>,
    load: Load<T>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

/// What the last look saw, and the problems that it told; none when the files were good.
struct Seen {
    files: Vec<Fingerprint>,
    problems: Vec<String>,
}

impl<T> Watched<T> {
    /// Reads it for the first time with `load`, and whenever one of the files changes.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn open(files: Vec<PathBuf>, load: Load<T>) -> Result<Self, Vec<String>> {
        // Before they are read: a change in between is seen at the next look.
        let seen = Mutex::new(Seen { files: fingerprints(&files), problems: Vec::new() });
        let current = RwLock::new(Arc::new(load()?));
        Ok(Self { files, load, current, seen })
    }

    /// The last good state.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads it again where a file has changed since the last look, and at every look while it cannot be used: the cause
    /// may lie beside the files. Absent when there is nothing new to tell; problems leave the state as it is.
    pub fn look(&self) -> Option<Result<(), Vec<String>>> {
        let now = fingerprints(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = seen.files != now;
        if !changed && seen.problems.is_empty() {
            return None;
        }
        seen.files = now;
        match (self.load)() {
            Ok(state) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                seen.problems.clear();
                Some(Ok(()))
            }
            Err(problems) if !changed && problems == seen.problems => None,
            Err(problems) => {
                seen.problems.clone_from(&problems);
                Some(Err(problems))
            }
        }
    }
}

fn fingerprints(files: &[PathBuf]) -> Vec<Fingerprint> {
    files.iter().map(|file| fingerprint(file)).collect()
}

fn fingerprint(file: &Path) -> Fingerprint {
    let found = fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_over_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        let put = |text: &str| {
            // As careful programs do: a new file under the old name.
            fs::write(folder.path().join("new"), text).unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
        };
        put("1");
        let read = path.clone();
        let load =
            move || fs::read_to_string(&read).unwrap_or_default().parse().map_err(|_| vec!["bad".to_owned()]);
        let watched = Watched::<u8>::open(vec![path.clone()], Box::new(load)).unwrap();
        assert_eq!((watched.look(), *watched.get()), (None, 1));
        put("2");
        assert_eq!((watched.look(), *watched.get()), (Some(Ok(())), 2));
        put("x");
        assert!(matches!(watched.look(), Some(Err(_))));
        assert_eq!((watched.look(), *watched.get()), (None, 2));
        fs::remove_file(&path).unwrap();
        assert!(matches!(watched.look(), Some(Err(_))));
        put("3");
        assert_eq!((watched.look(), *watched.get()), (Some(Ok(())), 3));
    }

    #[test]
    fn what_could_not_be_used_is_tried_again_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        fs::write(&path, "1").unwrap();
        let beside = Arc::new(Mutex::new(Ok(1)));
        let load = {
            let beside = Arc::clone(&beside);
            move || (*beside.lock().unwrap()).map_err(|problem: &str| vec![problem.to_owned()])
        };
        let watched = Watched::<u8>::open(vec![path.clone()], Box::new(load)).unwrap();
        *beside.lock().unwrap() = Err("too many open files");
        fs::write(&path, "22").unwrap();
        assert!(matches!(watched.look(), Some(Err(_))));
        assert_eq!(watched.look(), None, "told once");
        *beside.lock().unwrap() = Ok(2);
        assert_eq!((watched.look(), *watched.get()), (Some(Ok(())), 2));
        assert_eq!(watched.look(), None);
    }
}
