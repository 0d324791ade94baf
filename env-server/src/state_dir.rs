//! The folder where an env-server keeps its journal, held by one env-server at a time.
//!
//! Must not know what a journal says.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Others could forge a journal in a folder that they may write to.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// As a verb.
        operation: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Another env-server is at work there.
    #[error("the state directory {} is in use by another env-server: stop that one, or give --state-dir another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Anyone could write a journal there.
    #[error("the state directory {} may be written by other users (mode {mode:o}): run chmod 700 on it", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    move |source| StateDirError::Io { operation, path: path.to_owned(), source }
}

/// A state directory that is ours until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    /// Takes the folder at `path`, made with mode 0700 where it is missing.
    ///
    /// # Errors
    /// When it cannot be made or written, others may write to it, or another env-server holds it.
    pub fn create(path: &Path) -> Result<Self, StateDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        Self::open(path)
    }

    /// Takes the folder at `path`, which must exist.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let mode = fs::metadata(path).map_err(failed("look at", path))?.permissions().mode() & 0o7777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(StateDirError::Open { path: path.to_owned(), mode });
        }
        let lock = path.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .map_err(failed("open", &lock))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(StateDirError::InUse { path: path.to_owned() }),
            Err((_, errno)) => Err(failed("lock", &lock)(errno.into())),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_held_by_one_at_a_time_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(StateDir::open(&path).is_err());
        let first = StateDir::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(StateDir::create(&path), Err(StateDirError::InUse { .. })));
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = StateDir::create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }
}
