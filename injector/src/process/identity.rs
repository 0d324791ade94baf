//! One process, told from a later one of the same id, and certainly ended.
//!
//! Must not know what the process does.

use std::{fs, io, time::Duration};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{clocks, error::InjectorError};

/// How long a killed process may take to be gone. In the kernel it may have to finish what it is at: requests to a disk.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A process id and when that process was started, in the kernel's ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {
    pid: u32,
    started_ticks: u64,
}

impl ProcessIdentity {
    /// The process that has this id now; `None` when there is none, or a dead one.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn of(pid: u32) -> Result<Option<Self>, InjectorError> {
        let path = format!("/proc/{pid}/stat");
        let failed = |source| InjectorError::File { operation: "read", path: path.clone().into(), source };
        let stat = match fs::read_to_string(&path) {
            // A process that ends while it is read is no such process, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(None),
            other => other.map_err(failed)?,
        };
        let odd = || failed(io::Error::new(io::ErrorKind::InvalidData, "not as in proc_pid_stat(5)"));
        let Stat { state, threads, started_ticks } = parse_stat(&stat).ok_or_else(odd)?;
        // Zombie or dead: only its parent has not looked yet. But where other threads are still there, it is the first
        // thread alone that is dead, and the kernel holds the others.
        let is_dead = matches!(state, 'Z' | 'X') && threads <= 1;
        Ok((!is_dead).then_some(Self { pid, started_ticks }))
    }

    fn is_alive(self) -> Result<bool, InjectorError> {
        Ok(Self::of(self.pid)? == Some(self))
    }

    /// Kills the process and waits until it is gone; one that is gone already is left in peace.
    ///
    /// # Errors
    /// When the kernel refuses, or the process outlives five seconds.
    pub fn end(self) -> Result<(), InjectorError> {
        let failed = |source| InjectorError::Process { operation: "kill the worker", source };
        if !self.is_alive()? {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).map_err(|error| failed(io::Error::other(error)))?;
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let deadline = clocks::monotonic() + PATIENCE;
        while self.is_alive()? {
            if clocks::monotonic() > deadline {
                return Err(failed(io::Error::other(format!(
                    "process {pid} outlived SIGKILL by {PATIENCE:?}: the kernel holds it until its requests are done"
                ))));
            }
            clocks::sleep_until(clocks::monotonic() + LOOK_AGAIN);
        }
        Ok(())
    }
}

/// What is needed of proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    threads: u32,
    started_ticks: u64,
}

/// Fields 3, 20 and 22. The name, field 2, may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        threads: fields.nth(16)?.parse().ok()?,
        started_ticks: fields.nth(1)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn reads_a_name_that_tries_to_confuse() {
        let stat = "12 (a) Z 9 (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n";
        assert_eq!(parse_stat(stat), Some(Stat { state: 'S', threads: 17, started_ticks: 4711 }));
        assert_eq!(parse_stat("12 (a) S 1"), None);
    }

    #[test]
    fn ends_the_process_and_only_that_one() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap().unwrap();
        ProcessIdentity { started_ticks: identity.started_ticks + 1, ..identity }.end().unwrap();
        assert_eq!(
            ProcessIdentity::of(child.id()).unwrap(),
            Some(identity),
            "another of the same id was killed"
        );
        identity.end().unwrap();
        identity.end().unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
