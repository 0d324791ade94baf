//! The folder of one running demo: locked by its owner for as long as it lives, so that what a killed demo left can be
//! told from what a living one uses.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use tokio::process::Command;

use super::companions::Programs;

const PREFIX: &str = "demo-";
const LOCK: &str = "lock";
const PIDS: &str = "pids";

/// How long companions may take to leave after their owner was killed.
const COMPANIONS_LEAVE_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The folder of this demo. It is removed by [`RunFolder::remove`], or else by a later [`sweep`].
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RunFolder {
    /// Makes and locks a folder of its own under `base`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(base: &Path) -> Result<Self> {
        let path = base.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        let file =
            File::create(path.join(LOCK)).with_context(|| format!("making a lock in {}", path.display()))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| error)
            .with_context(|| format!("locking {}", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cgroup parent of this demo's containers.
    #[must_use]
    pub fn cgroup_parent(&self) -> String {
        cgroup_parent_of(&self.path)
    }

    /// Writes down a companion, so that a janitor can wait until it has left.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_pid(&self, pid: u32) -> Result<()> {
        let path = self.path.join(PIDS);
        let mut file = File::options().create(true).append(true).open(&path)?;
        writeln!(file, "{pid}").with_context(|| format!("writing {}", path.display()))
    }

    /// The testbed's own folder in it.
    #[must_use]
    pub fn testbed(&self) -> PathBuf {
        testbed_folder(&self.path)
    }

    /// Removes it.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove(self) -> Result<()> {
        remove_folder(&self.path)
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", path.display()));
        }
        _ => {}
    }
    // The base goes with its last folder; as long as anybody has one there, the system refuses.
    if let Some(base) = path.parent() {
        let _ = fs::remove_dir(base);
    }
    Ok(())
}

fn testbed_folder(folder: &Path) -> PathBuf {
    folder.join("testbed")
}

fn cgroup_parent_of(folder: &Path) -> String {
    format!("ballast-{}", folder.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes what demos that were killed left under `base`: processes, cgroups, folders. Answers what it removed.
///
/// # Errors
/// When something cannot be removed; the rest is removed all the same.
pub async fn sweep(base: &Path, programs: &Programs) -> Result<Vec<PathBuf>> {
    let mut swept = Vec::new();
    let mut problems = Vec::new();
    for folder in abandoned(base)? {
        match sweep_one(&folder, programs).await {
            Ok(()) => swept.push(folder),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if problems.is_empty() { Ok(swept) } else { bail!("{}", problems.join("; ")) }
}

/// Folders of demos whose owner is gone: nobody holds the lock.
fn abandoned(base: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("looking into {}", base.display()))?,
    };
    let is_demo =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_demo)
        .filter(|path| !is_locked(path))
        .collect())
}

fn is_locked(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(LOCK)) else { return false };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}

async fn sweep_one(folder: &Path, programs: &Programs) -> Result<()> {
    if let Some(injector) = programs.find("ballast-injector") {
        let state = folder.join("injector");
        if state.is_dir() {
            finish(Command::new(injector).arg("restore").arg("--state-dir").arg(state)).await?;
        }
    }
    if let Some(testbed) = programs.find("ballast-testbed") {
        let mut sweep = Command::new(testbed);
        sweep.arg("sweep").arg("--cgroup-parent").arg(cgroup_parent_of(folder));
        finish(sweep.arg("--work-dir").arg(testbed_folder(folder))).await?;
    }
    remove_folder(folder)
}

async fn finish(command: &mut Command) -> Result<()> {
    let output = command.output().await.context("starting a program to clean up")?;
    if !output.status.success() {
        bail!("cleaning up: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Waits for the end of standard input, which is the end of the demo that started it, lets the companions leave, and
/// sweeps. The demo's own process cannot do it when it is killed with SIGKILL.
///
/// # Errors
/// As [`sweep`].
pub async fn janitor(folder: &Path, programs: &Programs) -> Result<()> {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).context("waiting for the end of the demo")?;
    let Some(base) = folder.parent() else { return Ok(()) };
    let deadline = tokio::time::Instant::now() + COMPANIONS_LEAVE_WITHIN;
    while tokio::time::Instant::now() < deadline && companions_live(folder) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    sweep(base, programs).await.map(drop)
}

/// Waits until the janitor has removed this process's own folder.
///
/// # Errors
/// When it is still there after a while.
pub async fn wait_until_gone(base: &Path) -> Result<()> {
    let folder = base.join(format!("{PREFIX}{}", std::process::id()));
    let deadline = tokio::time::Instant::now() + 2 * COMPANIONS_LEAVE_WITHIN;
    while folder.exists() {
        if tokio::time::Instant::now() >= deadline {
            bail!("{} is still there: `ballast demo --sweep` removes it", folder.display());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn companions_live(folder: &Path) -> bool {
    let pids = fs::read_to_string(folder.join(PIDS)).unwrap_or_default();
    pids.lines().any(|pid| Path::new("/proc").join(pid).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_without_an_owner_are_abandoned() {
        let base = tempfile::tempdir().unwrap();
        let alive = RunFolder::create(base.path()).unwrap();
        let dead = base.path().join("demo-1");
        fs::create_dir(&dead).unwrap();
        File::create(dead.join(LOCK)).unwrap();
        fs::create_dir(base.path().join("env-server")).unwrap();
        assert_eq!(abandoned(base.path()).unwrap(), [dead]);
        alive.remove().unwrap();
        assert!(base.path().exists(), "others have folders in it");
    }

    #[test]
    fn the_base_goes_with_its_last_folder() {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().join("ballast");
        RunFolder::create(&base).unwrap().remove().unwrap();
        assert!(!base.exists());
    }

    #[test]
    fn no_base_means_nothing_to_sweep() {
        assert!(abandoned(Path::new("/nonexistent/ballast")).unwrap().is_empty());
    }

    #[test]
    fn the_cgroup_parent_names_the_folder() {
        assert_eq!(cgroup_parent_of(Path::new("/run/ballast/demo-42")), "ballast-demo-42");
    }
}
