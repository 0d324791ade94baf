//! Who is at work in the host's network namespace: a lock of the namespace itself, which each holds with the others.
//!
//! Must not know what anybody does there.

use std::{fs::File, path::Path};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{error::KernelError, file};

/// Tells others that somebody is at work in a network namespace, until this is dropped or the process ends.
#[derive(Debug)]
pub struct Presence {
    _lock: Flock<File>,
}

impl Presence {
    /// Begins in the network namespace of the calling thread, looked up below `proc` (normally `/proc`). Who is alone there
    /// first does `work`; nobody else begins meanwhile. Answers what came of it; nothing when others are there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn begin<T>(proc: &Path, work: impl FnOnce() -> T) -> Result<(Self, Option<T>), KernelError> {
        let path = proc.join("thread-self/ns/net");
        let failed = |errno: Errno| file::failed("lock", &path)(errno.into());
        let namespace = File::open(&path).map_err(file::failed("open", &path))?;
        match Flock::lock(namespace, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                let done = work();
                lock.relock(FlockArg::LockShared).map_err(failed)?;
                Ok((Self { _lock: lock }, Some(done)))
            }
            // Only as long as somebody is at such work.
            Err((namespace, Errno::EWOULDBLOCK)) => {
                let lock = Flock::lock(namespace, FlockArg::LockShared);
                Ok((Self { _lock: lock.map_err(|(_, errno)| failed(errno))? }, None))
            }
            Err((_, errno)) => Err(failed(errno)),
        }
    }
}
