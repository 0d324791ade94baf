//! Control groups of a resctrl mount: made, found, written, read, measured and removed.
//!
//! Must not know containers, nor why a group has the limits it has. Section "Resource alloc and monitor groups".

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::{
    monitor::{self, Counters, Readings},
    schemata::{PerDomain, Schemata, parse_sizes},
};
use crate::{error::KernelError, file, hierarchy::child_folders};

/// Folders of the root that are no groups.
const RESERVED: [&str; 3] = ["info", "mon_data", "mon_groups"];
/// Groups of Ballast are this and a number: how leftovers are known.
const OURS: &str = "ballast-";
/// The kernel's bound on the name of a folder, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The name of a group: one plain folder name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(String);

impl GroupName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`KernelError::InvalidGroup`] when it is no plain folder name, or one that resctrl uses itself.
    pub fn new(text: &str) -> Result<Self, KernelError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let reason = if text.is_empty() || text.len() > MAX_NAME_BYTES {
            "it must have 1 to 255 bytes"
        } else if !text.chars().all(allowed) || text.starts_with('.') {
            "only ASCII letters, digits, '-', '_' and '.' are allowed, and no '.' in front"
        } else if RESERVED.contains(&text) {
            "resctrl has a folder of this name itself"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(KernelError::InvalidGroup { text: text.chars().take(80).collect(), reason })
    }

    /// The name of Ballast's group of this number.
    #[must_use]
    pub fn ours(number: u32) -> Self {
        Self(format!("{OURS}{number}"))
    }

    /// Whether a folder of this name is a group that Ballast made.
    #[must_use]
    pub fn is_ours(name: &str) -> bool {
        let number = name.strip_prefix(OURS).and_then(|number| number.parse::<u32>().ok());
        number.is_some_and(|number| Self::ours(number).0 == name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// All control groups of a mount.
#[derive(Debug, Clone)]
pub struct Groups {
    root: PathBuf,
}

impl Groups {
    /// The groups of the resctrl file system mounted here.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The group of whoever is in no other.
    #[must_use]
    pub fn root(&self) -> Group {
        Group { root: self.root.clone(), folder: self.root.clone() }
    }

    /// Makes a group. It can do what the kernel gives it at first: everything that nobody holds exclusively.
    ///
    /// # Errors
    /// [`KernelError::OutOfClosids`] when the hardware has no room for one more; others when it exists already or the
    /// kernel refuses.
    pub fn create(&self, name: &GroupName) -> Result<Group, KernelError> {
        let group = self.group(name);
        match fs::create_dir(&group.folder) {
            Ok(()) => Ok(group),
            // EBUSY: there are monitoring ids, but the cache still holds lines of their last users.
            Err(source) if [Errno::ENOSPC, Errno::EBUSY].iter().any(|errno| is(&source, *errno)) => {
                Err(KernelError::OutOfClosids { path: group.folder.clone(), status: group.status(), source })
            }
            Err(source) => Err(group.refused(file::failed("create", &group.folder)(source))),
        }
    }

    /// The group of this name, if it exists.
    #[must_use]
    pub fn find(&self, name: &GroupName) -> Option<Group> {
        Some(self.group(name)).filter(|group| group.folder.is_dir())
    }

    /// The names of all groups but the root's, sorted, whoever made them.
    ///
    /// # Errors
    /// When the mount cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, KernelError> {
        let names = child_folders(&self.root).map_err(file::failed("list", &self.root))?;
        Ok(names.into_iter().filter(|name| !RESERVED.contains(&name.as_str())).collect())
    }

    fn group(&self, name: &GroupName) -> Group {
        self.existing(name.as_str())
    }

    /// A group that the kernel listed under this name.
    pub(super) fn existing(&self, name: &str) -> Group {
        Group { root: self.root.clone(), folder: self.root.join(name) }
    }
}

/// One control group that exists, or did when it was found. Dropping it removes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    root: PathBuf,
    folder: PathBuf,
}

impl Group {
    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads its limits.
    ///
    /// # Errors
    /// When the file cannot be read or holds what no kernel writes.
    pub fn schemata(&self) -> Result<Schemata, KernelError> {
        let path = self.folder.join("schemata");
        let text = file::read(&path)?;
        Schemata::parse(&text).ok_or_else(|| file::unexpected(&path, &text, "the limits of a resctrl group"))
    }

    /// Writes these lines in one write and answers all limits as read back, after the kernel's rounding.
    ///
    /// # Errors
    /// [`KernelError::ResctrlRefused`] with the kernel's own words; the kernel changes nothing then.
    pub fn write_schemata(&self, lines: &Schemata) -> Result<Schemata, KernelError> {
        if !lines.is_empty() {
            self.command(&self.folder.join("schemata"), &lines.to_string())?;
        }
        self.schemata()
    }

    /// Reads how many bytes its ways hold, by resource and domain.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sizes(&self) -> Result<BTreeMap<String, PerDomain<u64>>, KernelError> {
        Ok(parse_sizes(&file::read(&self.folder.join("size"))?))
    }

    /// Reads how it shares its ways: `shareable`, `exclusive`, `pseudo-locksetup` or `pseudo-locked`. Kernels before 4.19
    /// know only the first and have no such file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn mode(&self) -> Result<String, KernelError> {
        let path = self.folder.join("mode");
        if !path.exists() && self.folder.exists() {
            return Ok("shareable".to_owned());
        }
        Ok(file::read(&path)?.trim().to_owned())
    }

    /// The monitoring groups in it.
    pub(super) fn monitoring_groups(&self) -> Result<Vec<Self>, KernelError> {
        let folder = self.folder.join("mon_groups");
        match child_folders(&folder) {
            Ok(names) => {
                let group = |name| Self { root: self.root.clone(), folder: folder.join(name) };
                Ok(names.into_iter().map(group).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(file::failed("list", &folder)(error)),
        }
    }

    /// Reads its counters.
    ///
    /// # Errors
    /// When a file cannot be read or holds what no kernel writes. What cannot be measured is no error.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        Ok(Counters {
            occupancy: self.readings("llc_occupancy")?,
            total: self.readings("mbm_total_bytes")?,
            local: self.readings("mbm_local_bytes")?,
        })
    }

    fn readings(&self, event: &str) -> Result<Readings, KernelError> {
        let data = self.folder.join("mon_data");
        let domains = match child_folders(&data) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() => Vec::new(),
            other => other.map_err(file::failed("list", &data))?,
        };
        let mut readings = BTreeMap::new();
        for name in domains {
            let id = name.strip_prefix("mon_L3_").and_then(|id| id.parse().ok());
            let path = data.join(&name).join(event);
            if let Some(id) = id
                && path.is_file()
            {
                let text = file::read(&path)?;
                let reading = monitor::parse(&text);
                let reading =
                    reading.ok_or_else(|| file::unexpected(&path, &text, "a counter of a group"))?;
                readings.insert(id, reading.map_err(|reason| format!("{event} of domain {id}: {reason}")));
            }
        }
        if readings.is_empty() {
            return Ok(Err(format!("this machine does not measure {event} for resctrl groups")));
        }
        Ok(Ok(readings))
    }

    /// Removes the group; the kernel gives its tasks to the root group. What is gone already is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self) -> Result<(), KernelError> {
        match fs::remove_dir(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.refused(file::failed("remove", &self.folder)(error)))
            }
            _ => Ok(()),
        }
    }

    /// Writes a file of the group in one write; a refusal carries the kernel's words.
    pub(super) fn command(&self, path: &Path, value: &str) -> Result<(), KernelError> {
        file::write(path, value).map_err(|error| self.refused(error))
    }

    /// What the kernel says of the last command (section "Info directory").
    fn status(&self) -> String {
        let status = file::read(&self.root.join("info/last_cmd_status"));
        status.map(|status| status.trim().to_owned()).unwrap_or_default()
    }

    fn refused(&self, error: KernelError) -> KernelError {
        let status = self.status();
        match error {
            KernelError::Io { operation, path, value, source } if !status.is_empty() && status != "ok" => {
                KernelError::ResctrlRefused { operation, path, value, status, source }
            }
            other => other,
        }
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

impl KernelError {
    /// Whether the kernel's refusal was this one.
    pub(super) fn says(&self, errno: Errno) -> bool {
        matches!(self, Self::Io { source, .. } | Self::ResctrlRefused { source, .. } if is(source, errno))
    }
}

#[cfg(test)]
mod tests;
