//! What is to be undone, on disk: one file for each injection, written before it touches its target.
//!
//! Must not know how an injection is undone.
//!
//! The supervisor holds a lock on its entry as long as it lives, so an entry without a lock is one left behind. Process
//! ids would not tell: they come again.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ballast_api::ContainerName;
use serde::{Deserialize, Serialize};

use crate::{error::InjectorError, undo::Undo};

const ENTRY_EXTENSION: &str = "json";
const DRAFT_EXTENSION: &str = "draft";

/// One injection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Names the file.
    pub id: ContainerName,
    /// What it is, for people, who want to know what was going on.
    pub kind: String,
    /// The cgroup concerned, for the same; absent for the whole node.
    pub target: Option<String>,
    /// What takes it back, in this order.
    pub undo: Vec<Undo>,
}

/// Keeps an entry from being taken for one left behind, until it is dropped.
#[derive(Debug)]
pub struct EntryLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

/// What an entry on disk is.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Its supervisor lives.
    Running(ContainerName),
    /// Nobody looks after it.
    LeftBehind(Entry),
}

/// A folder of entries.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// The journal in `folder`, which need not exist yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes an entry, whole or not at all, and locks it.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn add(&self, entry: &Entry) -> Result<EntryLock, InjectorError> {
        fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        let draft = self.folder.join(entry.id.as_str()).with_added_extension(DRAFT_EXTENSION);
        let path = self.path(&entry.id);
        let write = || {
            let mut file = locked_draft(&draft)?;
            file.write_all(&serde_json::to_vec(entry)?)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            Ok(EntryLock(file))
        };
        write().map_err(failed("write", &path))
    }

    /// The entry of that id; `None` when it has been removed.
    ///
    /// # Errors
    /// When it cannot be read or is no entry.
    pub fn read(&self, id: &ContainerName) -> Result<Option<Entry>, InjectorError> {
        match fs::read(self.path(id)) {
            Ok(text) => parse(&self.path(id), &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &self.path(id))(error)),
        }
    }

    /// Removes an entry; one that is not there is removed already.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn remove(&self, id: &ContainerName) -> Result<(), InjectorError> {
        let path = self.path(id);
        ignore_missing(fs::remove_file(&path)).map_err(failed("remove", &path))
    }

    /// All entries. Drafts that nobody is writing are removed: what they announce was never done.
    ///
    /// # Errors
    /// When the folder cannot be listed. What is wrong with a single entry is told in its place.
    pub fn entries(&self) -> Result<Vec<Result<Found, InjectorError>>, InjectorError> {
        let mut paths = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
                .map_err(failed("list", &self.folder))?,
        };
        paths.sort();
        Ok(paths.iter().filter_map(|path| self.look_at(path).transpose()).collect())
    }

    fn look_at(&self, path: &Path) -> Result<Option<Found>, InjectorError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some(ENTRY_EXTENSION | DRAFT_EXTENSION)) {
            return Ok(None);
        }
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed("open", path))?,
        };
        let locked = match file.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
        };
        match (extension, locked) {
            (Some(DRAFT_EXTENSION), true) => Ok(None),
            (Some(DRAFT_EXTENSION), false) => {
                // Another may be there by now, which somebody writes.
                if is_at(path, &file).map_err(failed("look at", path))? {
                    ignore_missing(fs::remove_file(path)).map_err(failed("remove", path))?;
                }
                Ok(None)
            }
            (_, locked) => {
                let text = match fs::read(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    read => read.map_err(failed("read", path))?,
                };
                let entry = parse(path, &text)?;
                Ok(Some(if locked { Found::Running(entry.id) } else { Found::LeftBehind(entry) }))
            }
        }
    }

    fn path(&self, id: &ContainerName) -> PathBuf {
        self.folder.join(id.as_str()).with_added_extension(ENTRY_EXTENSION)
    }
}

/// A new file, locked. One that was not locked yet is taken for one that nobody writes, and swept away: then another is made.
fn locked_draft(path: &Path) -> io::Result<File> {
    loop {
        let file = File::create_new(path)?;
        file.lock()?;
        if is_at(path, &file)? {
            return Ok(file);
        }
    }
}

/// Whether what is at this path is that file.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        there => Ok(there?.ino() == file.metadata()?.ino()),
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Entry, InjectorError> {
    let strange = |reason| InjectorError::StrangeEntry { path: path.to_owned(), reason };
    let entry: Entry = serde_json::from_slice(text).map_err(|error| strange(error.to_string()))?;
    if path.file_stem().and_then(|stem| stem.to_str()) == Some(entry.id.as_str()) {
        Ok(entry)
    } else {
        Err(strange(format!("it is named after another injection than {}", entry.id)))
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InjectorError {
    move |source| InjectorError::File { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::process::identity::ProcessIdentity;

    fn entry(id: &str) -> Entry {
        let process = ProcessIdentity::of(std::process::id()).unwrap().unwrap();
        let undo = vec![Undo::EndProcess { process }, Undo::RemoveCgroup { cgroup: "camp".to_owned() }];
        Entry { id: id.parse().unwrap(), kind: "cpu".to_owned(), target: Some("demo/geo".to_owned()), undo }
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("made/when/needed"));
        (folder, journal)
    }

    fn found(journal: &Journal) -> Vec<Found> {
        journal.entries().unwrap().into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn an_entry_is_running_as_long_as_its_lock_lives() {
        let (_folder, journal) = journal();
        assert_eq!(found(&journal), []);
        let lock = journal.add(&entry("a-1")).unwrap();
        assert_eq!(found(&journal), [Found::Running("a-1".parse().unwrap())]);
        drop(lock);
        assert_eq!(found(&journal), [Found::LeftBehind(entry("a-1"))]);
        assert_eq!(journal.read(&"a-1".parse().unwrap()).unwrap(), Some(entry("a-1")));
        journal.remove(&"a-1".parse().unwrap()).unwrap();
        journal.remove(&"a-1".parse().unwrap()).unwrap();
        assert_eq!(found(&journal), []);
    }

    #[test]
    fn an_id_is_never_used_twice() {
        let (_folder, journal) = journal();
        let _lock = journal.add(&entry("a")).unwrap();
        fs::write(journal.folder().join("b.draft"), "").unwrap();
        assert!(journal.add(&entry("b")).is_err());
    }

    #[test]
    fn a_draft_that_nobody_writes_is_swept_away() {
        let (_folder, journal) = journal();
        drop(journal.add(&entry("a")).unwrap());
        fs::write(journal.folder().join("b.draft"), "{\"id\":").unwrap();
        assert_eq!(found(&journal), [Found::LeftBehind(entry("a"))]);
        assert!(!journal.folder().join("b.draft").exists());
    }

    #[test]
    fn who_looks_meanwhile_sweeps_nothing_away_that_is_written() {
        let (_folder, journal) = journal();
        fs::create_dir_all(journal.folder()).unwrap();
        let draft = journal.folder().join("a.draft");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(journal.look_at(&draft).unwrap(), None);
                }
            });
            let kept = (0..3000).all(|_| {
                let locked = locked_draft(&draft);
                fs::remove_file(&draft).is_ok() && locked.is_ok()
            });
            is_over.store(true, Ordering::Relaxed);
            assert!(kept);
        });
    }

    #[test]
    fn what_is_no_entry_is_told_and_kept() {
        let (_folder, journal) = journal();
        drop(journal.add(&entry("a")).unwrap());
        fs::rename(journal.folder().join("a.json"), journal.folder().join("b.json")).unwrap();
        fs::write(journal.folder().join("c.json"), "nonsense").unwrap();
        fs::write(journal.folder().join("notes.txt"), "not ours").unwrap();
        let told: Vec<_> =
            journal.entries().unwrap().into_iter().map(|found| found.unwrap_err().to_string()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("another injection") && told[1].contains("c.json"), "{told:?}");
        assert!(journal.folder().join("c.json").exists());
    }

    #[test]
    fn an_id_is_no_way_out_of_the_folder() {
        let written = serde_json::to_string(&entry("a")).unwrap();
        assert!(serde_json::from_str::<Entry>(&written.replace("\"a\"", "\"../../x\"")).is_err());
    }
}
