//! What has been lent, on disk: written before a container is first touched, so that whatever happens to this process,
//! the next one knows the baselines.
//!
//! Reads and writes one file; must not know when a loan ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ballast_api::Limits;
use ballast_kernel::CgroupPath;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::controls::Devices;

const FILE: &str = "journal.json";
const VERSION: u32 = 1;

/// A container that does not have its own limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its cgroup.
    pub cgroup: CgroupPath,
    /// Tells the cgroup from a later one of the same path.
    pub identity: u64,
    /// Where the limits go back to.
    pub devices: Devices,
    /// The limits to give back.
    pub baseline: Limits,
    /// The burst to give back with the CPU's, in microseconds.
    pub cpu_burst_us: Option<u64>,
}

/// Why the journal could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot {operation} the journal {}", path.display())]
    Io {
        /// As a verb.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "the journal {} is damaged: {detail}. It names containers and the limits to give back to them: read it, restore \
         those limits by hand where they differ, delete the file and start again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    boot_id: String,
    loans: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    cgroup: String,
    identity: u64,
    #[serde(default)]
    devices: Devices,
    baseline: Limits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_burst_us: Option<u64>,
}

/// The journal in one state directory, which the caller holds.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    boot_id: String,
}

impl Journal {
    /// The journal in `folder`. `boot_id` names the time since the machine booted: cgroups do not outlive it, but their
    /// identities come again.
    #[must_use]
    pub fn new(folder: &Path, boot_id: &str) -> Self {
        Self { folder: folder.to_owned(), boot_id: boot_id.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Whether what the last env-server left can be read.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn check(&self) -> Result<(), JournalError> {
        match self.document()? {
            Some(document) if document.boot_id == self.boot_id => self.entries(&document).map(drop),
            _ => Ok(()),
        }
    }

    /// What the last env-server left; nothing when there was none, or when the machine rebooted since.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when the file is not one that [`Self::write`] made.
    pub fn load(&self) -> Result<Vec<Entry>, JournalError> {
        let Some(document) = self.document()? else { return Ok(Vec::new()) };
        if document.boot_id != self.boot_id {
            info!(loans = document.loans.len(), "journal is from before a reboot, which undid its limits");
            return Ok(Vec::new());
        }
        self.entries(&document)
    }

    /// Of whatever boot; absent where there is no file.
    fn document(&self) -> Result<Option<Document>, JournalError> {
        let path = self.path();
        // A link is not followed: the state directory holds the file itself.
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
        let mut text = Vec::new();
        match file.and_then(|mut file| file.read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::Io { operation: "read", path, source }),
        }
        let document: Document =
            serde_json::from_slice(&text).map_err(|error| self.damaged(error.to_string()))?;
        if document.version != VERSION {
            return Err(self.damaged(format!("version {} instead of {VERSION}", document.version)));
        }
        Ok(Some(document))
    }

    fn entries(&self, document: &Document) -> Result<Vec<Entry>, JournalError> {
        document.loans.iter().map(|record| self.entry(record)).collect()
    }

    fn entry(&self, record: &Record) -> Result<Entry, JournalError> {
        let cgroup = CgroupPath::new(&record.cgroup).map_err(|error| self.damaged(error.to_string()))?;
        let Record { identity, devices, baseline, cpu_burst_us, .. } = *record;
        Ok(Entry { cgroup, identity, devices, baseline, cpu_burst_us })
    }

    fn damaged(&self, detail: String) -> JournalError {
        JournalError::Damaged { path: self.path(), detail }
    }

    /// Replaces the journal: after a crash at any moment it is either the old one or this one.
    ///
    /// # Errors
    /// When the file system refuses; then the old one is still there.
    pub fn write(&self, entries: impl IntoIterator<Item = Entry>) -> Result<(), JournalError> {
        let loans = entries.into_iter().map(|entry| Record {
            cgroup: entry.cgroup.to_string(),
            identity: entry.identity,
            devices: entry.devices,
            baseline: entry.baseline,
            cpu_burst_us: entry.cpu_burst_us,
        });
        let document = Document { version: VERSION, boot_id: self.boot_id.clone(), loans: loans.collect() };
        let replace = || -> io::Result<()> {
            let text = serde_json::to_vec_pretty(&document)?;
            let draft = self.folder.join("journal.json.new");
            // What lies there under this name is not written into, whatever it is: a crash's, or a link.
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, self.path())?;
            // Without this the new name could be lost with the power, and with it the baselines.
            File::open(&self.folder)?.sync_all()
        };
        replace().map_err(|source| JournalError::Io { operation: "write", path: self.path(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use ballast_api::{Cores, Limit};
    use ballast_kernel::DeviceNumber;
    use proptest::prelude::*;

    use super::*;

    fn entry(cgroup: &str, identity: u64, baseline: Limit<Cores>) -> Entry {
        let disk = Some(DeviceNumber { major: 254, minor: u32::try_from(identity % 16).unwrap() });
        let cgroup = CgroupPath::new(cgroup).unwrap();
        Entry {
            cgroup,
            identity,
            devices: Devices { disk, ..Devices::default() },
            baseline: Limits::of_cpu(baseline),
            cpu_burst_us: identity.is_multiple_of(2).then_some(identity % 50_000),
        }
    }

    #[test]
    fn nothing_is_lent_before_the_first_write() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Journal::new(folder.path(), "b").load().unwrap(), []);
    }

    #[test]
    fn a_draft_is_a_new_file_and_a_link_is_no_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, victim) = (Journal::new(folder.path(), "b"), folder.path().join("victim"));
        fs::write(&victim, "as it was").unwrap();
        symlink(&victim, folder.path().join("journal.json.new")).unwrap();
        journal.write([entry("p/a", 1, Limit::Max)]).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
        assert_eq!(journal.load().unwrap().len(), 1);
        fs::rename(journal.path(), &victim).unwrap();
        symlink(&victim, journal.path()).unwrap();
        assert!(matches!(journal.load(), Err(JournalError::Io { operation: "read", .. })));
    }

    #[test]
    fn a_reboot_ends_every_loan() {
        let folder = tempfile::tempdir().unwrap();
        Journal::new(folder.path(), "boot 1").write([entry("p/a", 1, Limit::Max)]).unwrap();
        let later = Journal::new(folder.path(), "boot 2");
        later.check().unwrap();
        assert_eq!(later.load().unwrap(), []);
    }

    #[test]
    fn a_damaged_journal_says_what_to_do_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path(), "b");
        let outside = r#"{"version":1,"boot_id":"b","loans":[{"cgroup":"../x","identity":1,"baseline":{}}]}"#;
        let device = r#"{"version":1,"boot_id":"b","loans":[
            {"cgroup":"p/x","identity":1,"devices":{"disk":"sda"},"baseline":{}}]}"#;
        for bad in ["", "{", "[]", r#"{"version":2,"boot_id":"b","loans":[]}"#, outside, device] {
            fs::write(journal.path(), bad).unwrap();
            for error in [journal.load().unwrap_err(), journal.check().unwrap_err()] {
                assert!(error.to_string().contains("delete the file"), "{error}");
            }
            assert_eq!(fs::read_to_string(journal.path()).unwrap(), bad);
        }
    }

    #[test]
    fn a_crash_while_writing_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path(), "b");
        let entries = [entry("p/a", 1, Limit::Max)];
        journal.write(entries.clone()).unwrap();
        fs::write(folder.path().join("journal.json.new"), "{\"vers").unwrap();
        assert_eq!(journal.load().unwrap(), entries);
        journal.write([]).unwrap();
        assert_eq!(journal.load().unwrap(), []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            loans in proptest::collection::vec((1..1000u32, any::<u64>(), proptest::option::of(0.01f64..64.0)), 0..8),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let journal = Journal::new(folder.path(), "b");
            let entries: Vec<_> = loans
                .into_iter()
                .map(|(name, identity, cores)| {
                    let baseline = cores.map_or(Limit::Max, |cores| Limit::At(Cores::new(cores).unwrap()));
                    entry(&format!("p/c{name}"), identity, baseline)
                })
                .collect();
            journal.write(entries.clone()).unwrap();
            journal.check().unwrap();
            prop_assert_eq!(journal.load().unwrap(), entries);
        }
    }
}
