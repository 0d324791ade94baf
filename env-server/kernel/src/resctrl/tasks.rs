//! Tasks of a group: which there are, and moving in all threads of processes that may fork meanwhile.
//!
//! Must not know what a group limits. Section "Resource alloc and monitor groups", `tasks`: a task is a thread, a write
//! moves one, and a child begins in the group of the thread that made it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::group::Group;
use crate::{error::KernelError, file};

/// How often tasks are looked for that are not in the group yet. A child is outside only when it was made before its
/// parent was moved, so each round finds only what was made during the last.
const ROUNDS: u32 = 100;
/// How many tasks an error names.
const NAMED: usize = 8;

/// Where the kernel lists processes: normally `/proc`.
#[derive(Debug, Clone)]
pub struct Procs {
    root: PathBuf,
}

impl Procs {
    /// The processes listed in this folder.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// All threads of these processes; those that are gone have none.
    ///
    /// # Errors
    /// When a process's threads cannot be listed.
    pub fn threads(&self, pids: &[u32]) -> Result<BTreeSet<u32>, KernelError> {
        let mut threads = BTreeSet::new();
        for pid in pids {
            let folder = self.root.join(pid.to_string()).join("task");
            list(&folder, &mut threads).or_else(|error| match error.raw_os_error() {
                _ if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Some(code) if code == Errno::ESRCH as i32 => Ok(()),
                _ => Err(file::failed("list", &folder)(error)),
            })?;
        }
        Ok(threads)
    }
}

fn list(folder: &Path, threads: &mut BTreeSet<u32>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        threads.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(())
}

impl Group {
    /// The tasks in this group, those of its monitoring groups included.
    ///
    /// # Errors
    /// When the list cannot be read, or the group is gone.
    pub fn tasks(&self) -> Result<BTreeSet<u32>, KernelError> {
        let path = self.folder().join("tasks");
        let text = file::read(&path)?;
        let number = |line: &str| line.trim().parse().map_err(|_| file::unexpected(&path, line, "a task id"));
        text.lines().map(number).collect()
    }

    /// Moves all threads of the processes that `pids` lists into this group, looking again until a look finds none
    /// outside. Answers how many were moved.
    ///
    /// # Errors
    /// [`KernelError::TasksOutside`] when every one of a hundred looks finds some; others when `pids` fails, or the kernel
    /// refuses. Those moved so far stay moved.
    pub fn take(
        &self,
        procs: &Procs,
        pids: &dyn Fn() -> Result<Vec<u32>, KernelError>,
    ) -> Result<usize, KernelError> {
        let outside = || {
            let wanted = procs.threads(&pids()?)?;
            Ok(wanted.difference(&self.tasks()?).copied().collect())
        };
        self.take_all(&outside)
    }

    /// Moves those threads of the processes that `pids` lists from this group into another that are here; whoever is in a
    /// third group stays there. Looks again as [`Self::take`] does.
    ///
    /// # Errors
    /// Those of [`Self::take`].
    pub fn hand_over(
        &self,
        to: &Self,
        procs: &Procs,
        pids: &dyn Fn() -> Result<Vec<u32>, KernelError>,
    ) -> Result<usize, KernelError> {
        let here = || {
            let wanted = procs.threads(&pids()?)?;
            Ok(wanted.intersection(&self.tasks()?).copied().collect())
        };
        to.take_all(&here)
    }

    /// Takes what is `left`, until nothing is.
    fn take_all(&self, left: &dyn Fn() -> Result<Vec<u32>, KernelError>) -> Result<usize, KernelError> {
        let mut moved = 0;
        for _ in 0..ROUNDS {
            let tasks = left()?;
            if tasks.is_empty() {
                return Ok(moved);
            }
            for task in tasks {
                moved += usize::from(self.take_task(task)?);
            }
        }
        let tasks = left()?;
        if tasks.is_empty() {
            return Ok(moved);
        }
        let tasks = tasks.into_iter().take(NAMED).collect();
        Err(KernelError::TasksOutside { path: self.folder().to_owned(), attempts: ROUNDS, tasks })
    }

    /// Moves one task. False when it has ended.
    fn take_task(&self, task: u32) -> Result<bool, KernelError> {
        // One task for each write: of several, the kernel stops at the first that fails.
        match self.command(&self.folder().join("tasks"), &format!("{task}\n")) {
            Err(error) if error.says(Errno::ESRCH) => Ok(false),
            other => other.map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tempfile::TempDir;

    use super::*;
    use crate::resctrl::group::Groups;

    /// A root group whose `tasks` is a plain file: it holds what was written last.
    fn machine(tasks: &str, processes: &[(u32, &[u32])]) -> (TempDir, Group, Procs) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tasks"), tasks).unwrap();
        for (pid, threads) in processes {
            for thread in *threads {
                fs::create_dir_all(folder.path().join(format!("proc/{pid}/task/{thread}"))).unwrap();
            }
        }
        let group = Groups::new(folder.path()).root();
        let procs = Procs::new(folder.path().join("proc"));
        (folder, group, procs)
    }

    #[test]
    fn lists_all_threads_and_passes_over_who_is_gone() {
        let (_folder, _, procs) = machine("", &[(7, &[7, 8]), (9, &[9])]);
        assert_eq!(procs.threads(&[7, 9, 1234]).unwrap(), BTreeSet::from([7, 8, 9]));
        assert_eq!(procs.threads(&[]).unwrap(), BTreeSet::new());
    }

    #[test]
    fn moves_who_is_outside_and_nobody_else() {
        let (folder, group, procs) = machine("1\n2\n", &[(2, &[2]), (7, &[7])]);
        assert_eq!(group.take(&procs, &|| Ok(vec![2])).unwrap(), 0);
        assert_eq!(fs::read_to_string(folder.path().join("tasks")).unwrap(), "1\n2\n", "nothing was written");
        assert_eq!(group.take(&procs, &|| Ok(vec![7])).unwrap(), 1);
        assert_eq!(group.tasks().unwrap(), BTreeSet::from([7]));
    }

    #[test]
    fn looks_again_until_nobody_is_outside() {
        let (_folder, group, procs) = machine("", &[(1, &[1]), (2, &[2])]);
        // A second process appears while the first is moved, then the first ends.
        let looks = Cell::new(0);
        let pids = || {
            looks.set(looks.get() + 1);
            Ok(if looks.get() == 1 { vec![1] } else { vec![2] })
        };
        assert_eq!(group.take(&procs, &pids).unwrap(), 2);
        assert_eq!(looks.get(), 3);
    }

    #[test]
    fn gives_up_on_tasks_that_never_stay() {
        let (_folder, group, procs) = machine("", &[(1, &[1, 2])]);
        let error = group.take(&procs, &|| Ok(vec![1])).unwrap_err();
        assert!(
            matches!(&error, KernelError::TasksOutside { attempts: 100, tasks, .. } if tasks.len() == 1),
            "{error}"
        );
    }

    #[test]
    fn odd_lists_and_groups_that_are_gone_are_errors() {
        let (folder, group, procs) = machine("1\nx\n", &[]);
        assert!(matches!(group.tasks(), Err(KernelError::Unexpected { .. })));
        fs::remove_file(folder.path().join("tasks")).unwrap();
        assert!(group.take(&procs, &|| Ok(vec![])).unwrap_err().is_gone());
    }
}
