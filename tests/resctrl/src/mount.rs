//! The machine as a mounted file system, for as long as [`Mounted`] lives.
//!
//! Must not know a rule of resctrl: it carries commands to the machine and answers back.

mod files;
mod inodes;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fuser::{BackgroundSession, Config, MountOption};
use nix::mount::{MntFlags, umount2};

use crate::{
    hardware::{Event, Hardware},
    machine::{Counter, Machine},
    tasks::{Place, Procs},
};
use files::Files;

/// A mounted machine. Dropping it unmounts, also when files are still open there.
///
/// Whoever uses the mount should be another process: one that is killed while it waits for itself can never end.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
    machine: Arc<Mutex<Machine>>,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mounts a machine on an empty folder. Needs root (or `fusermount3`) and `/dev/fuse`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(hardware: Hardware, point: &Path) -> io::Result<Self> {
        let machine = Arc::new(Mutex::new(Machine::new(hardware)));
        let files = Files::new(machine.clone(), Procs::new(Path::new("/proc")));
        let mut config = Config::default();
        let name = |text: &str| text.to_owned();
        config.mount_options = vec![
            MountOption::FSName(name("resctrl")),
            MountOption::Subtype(name("resctrl-emulator")),
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::NoExec,
        ];
        let session = fuser::spawn_mount(files, point, &config)?;
        Ok(Self { point: point.to_owned(), machine, session: Some(session) })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// The line that a real mount would have in `/proc/self/mountinfo`.
    #[must_use]
    pub fn mountinfo(&self) -> String {
        let point = self.point.display().to_string().replace('\\', "\\134").replace(' ', "\\040");
        let options = lock(&self.machine).hardware().options();
        format!("40 1 0:35 / {point} rw,relatime - resctrl resctrl {options}\n")
    }

    /// Sets a counter of a group. False when there is no such group, domain or event.
    #[must_use]
    pub fn set_counter(&self, place: &Place, domain: u32, event: Event, counter: Counter) -> bool {
        lock(&self.machine).set_counter(place, domain, event, counter)
    }
}

impl Mounted {
    /// Carries out so many changes, and refuses every later one: see [`Machine::freeze_after`].
    pub fn freeze_after(&self, changes: u64) {
        lock(&self.machine).freeze_after(changes);
    }

    /// Ends that, and answers how many were refused.
    #[must_use]
    pub fn thaw(&self) -> u64 {
        lock(&self.machine).thaw()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process that stands in the folder must not keep the mount.
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
