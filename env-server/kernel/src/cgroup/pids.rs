//! Who is in a group: the kernel's lists of processes.
//!
//! Must not know what is done with them. A group is given by its folders in all hierarchies.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::nested;
use crate::{error::KernelError, file};

/// Stands for a process of a pid namespace that is not in sight: it cannot be named here.
const HIDDEN: u32 = 0;

/// Processes that show what a group uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Representatives {
    /// Those, perhaps none.
    Pids(Vec<u32>),
    /// There are some, all of them in a pid namespace that is not in sight.
    Hidden,
}

/// The processes in a group and the groups nested in it, sorted.
pub(crate) fn all(folders: &[PathBuf]) -> Result<Vec<u32>, KernelError> {
    let mut pids = BTreeSet::new();
    folders.iter().try_for_each(|folder| collect(folder, &mut pids))?;
    pids.remove(&HIDDEN);
    Ok(pids.into_iter().collect())
}

/// Those in a group, else those in the groups nested in it.
pub(super) fn representatives(folders: &[PathBuf]) -> Result<Representatives, KernelError> {
    let mut pids = BTreeSet::new();
    folders.iter().try_for_each(|folder| read(folder, &mut pids))?;
    if pids.is_empty() {
        folders.iter().try_for_each(|folder| collect(folder, &mut pids))?;
    }
    let hides_some = pids.remove(&HIDDEN);
    let is_hidden = pids.is_empty() && hides_some;
    Ok(if is_hidden { Representatives::Hidden } else { Representatives::Pids(pids.into_iter().collect()) })
}

/// Takes those of a folder and of all nested in it.
fn collect(folder: &Path, pids: &mut BTreeSet<u32>) -> Result<(), KernelError> {
    read(folder, pids)?;
    for child in nested(folder)? {
        collect(&child, pids)?;
    }
    Ok(())
}

/// The processes directly in the cgroup of this folder; none when it is gone.
fn read(folder: &Path, pids: &mut BTreeSet<u32>) -> Result<(), KernelError> {
    let list = folder.join("cgroup.procs");
    let text = match file::read(&list) {
        Err(error) if error.is_gone() || is_threaded(&error) => return Ok(()),
        other => other?,
    };
    for line in text.lines() {
        pids.insert(line.trim().parse().map_err(|_| file::unexpected(&list, line, "a process id"))?);
    }
    Ok(())
}

/// Whether a list of processes is that of a threaded cgroup (v2): it has single threads, and their processes are in the
/// list of the domain above it.
fn is_threaded(error: &KernelError) -> bool {
    matches!(error, KernelError::Io { source, .. } if source.raw_os_error() == Some(Errno::EOPNOTSUPP as i32))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// A group of these lists of processes, by folder.
    fn group(lists: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, list) in lists {
            let nested = folder.path().join(name);
            fs::create_dir_all(&nested).unwrap();
            fs::write(nested.join("cgroup.procs"), list).unwrap();
        }
        let group = vec![folder.path().to_owned()];
        (folder, group)
    }

    fn representatives(lists: &[(&str, &str)]) -> Representatives {
        super::representatives(&group(lists).1).unwrap()
    }

    #[test]
    fn a_groups_own_processes_stand_for_it_before_nested_ones() {
        assert_eq!(representatives(&[("", "9\n7\n"), ("nested", "3\n")]), Representatives::Pids(vec![7, 9]));
        assert_eq!(representatives(&[("", ""), ("a/b", "3\n")]), Representatives::Pids(vec![3]));
        assert_eq!(representatives(&[("", "")]), Representatives::Pids(Vec::new()));
    }

    #[test]
    fn processes_of_another_pid_namespace_are_not_named() {
        assert_eq!(representatives(&[("", "0\n0\n"), ("nested", "3\n")]), Representatives::Hidden);
        assert_eq!(representatives(&[("", "0\n5\n")]), Representatives::Pids(vec![5]));
        assert_eq!(all(&group(&[("", "0\n5\n")]).1).unwrap(), [5]);
    }
}
