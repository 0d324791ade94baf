//! A kernel file that can be read and not written, on any version of cgroups: what a plan asks of it passes every check,
//! and fails when it is written.

use std::path::{Path, PathBuf};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

const NOTHING: Option<&str> = None;

/// Gives this thread, and whom it starts from now on, mounts of their own.
pub(crate) fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).unwrap();
}

/// The file, mounted over itself for reading only. Writable again when dropped.
pub(crate) struct Unwritable(PathBuf);

impl Unwritable {
    /// After [`own_mounts`]: nobody else sees it.
    pub(crate) fn new(file: &Path) -> Self {
        mount(Some(file), file, NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
        let this = Self(file.to_owned());
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(NOTHING, file, NOTHING, read_only, NOTHING).unwrap();
        this
    }
}

impl Drop for Unwritable {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
