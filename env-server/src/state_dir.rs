//! The folder where an env-server keeps its journal, held by one env-server at a time.
//!
//! Must not know what a journal says.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    unistd::geteuid,
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
    /// Somebody else could write a journal there, or hold the lock.
    #[error("{} belongs to the user {owner}: give --state-dir a folder of this user's or of root's", path.display())]
    Foreign {
        /// The folder or file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    move |source| StateDirError::Io { operation, path: path.to_owned(), source }
}

/// Opens the folder or file itself, not what a link of that name leads to, if nobody but root and this user could have
/// put it there.
fn open_ours(path: &Path, how: &mut OpenOptions, flags: OFlag) -> Result<(File, Metadata), StateDirError> {
    let file =
        how.custom_flags((flags | OFlag::O_NOFOLLOW).bits()).open(path).map_err(failed("open", path))?;
    let found = file.metadata().map_err(failed("look at", path))?;
    match found.uid() {
        0 => Ok((file, found)),
        owner if owner == geteuid().as_raw() => Ok((file, found)),
        owner => Err(StateDirError::Foreign { path: path.to_owned(), owner }),
    }
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
    /// When it cannot be made or written, is a link, is another user's or may be written by others, or another env-server
    /// holds it.
    pub fn create(path: &Path) -> Result<Self, StateDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        Self::open(path)
    }

    /// Takes the folder at `path`, which must exist.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let (_, found) = open_ours(path, OpenOptions::new().read(true), OFlag::O_DIRECTORY)?;
        let mode = found.mode() & 0o7777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(StateDirError::Open { path: path.to_owned(), mode });
        }
        let lock = path.join("lock");
        let mut how = OpenOptions::new();
        how.create(true).truncate(false).write(true).mode(0o600);
        let (file, _) = open_ours(&lock, &mut how, OFlag::empty())?;
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
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown, symlink},
    };

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

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [real, link] = ["real", "link"].map(|name| folder.path().join(name));
        drop(StateDir::create(&real).unwrap());
        symlink(&real, &link).unwrap();
        assert!(matches!(StateDir::create(&link), Err(StateDirError::Io { .. })));
        let victim = folder.path().join("victim");
        fs::write(&victim, "as it was").unwrap();
        fs::remove_file(real.join("lock")).unwrap();
        symlink(&victim, real.join("lock")).unwrap();
        assert!(matches!(StateDir::create(&real), Err(StateDirError::Io { operation: "open", .. })));
    }

    #[test]
    fn what_belongs_to_others_is_refused() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED what_belongs_to_others_is_refused: it needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        drop(StateDir::create(folder.path()).unwrap());
        let foreign = |path: &Path| {
            chown(path, Some(65534), None).unwrap();
            assert!(matches!(
                StateDir::create(folder.path()),
                Err(StateDirError::Foreign { owner: 65534, .. })
            ));
            chown(path, Some(0), None).unwrap();
        };
        foreign(folder.path());
        foreign(&folder.path().join("lock"));
        StateDir::create(folder.path()).unwrap();
    }
}
