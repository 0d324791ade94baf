//! Files that hold secrets: read only where nobody but root and this user can read or change them.
//!
//! Must not know what the secrets are for, and must not show them.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::unistd::geteuid;

/// Others may not read, the group may read and not write: a group of its own is how services are given secrets.
const TOO_OPEN: u32 = 0o037;

/// The longest file read, in bytes: a chain of certificates is far shorter.
const MAX_BYTES: u64 = 1 << 20;

/// The content of the file at `path`.
///
/// # Errors
/// A sentence: it cannot be read, is longer than a secret can be, is open to others or another user's.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    // Of the open file: the name may mean another one by now. A link is followed, as Kubernetes and certbot make them:
    // what counts is whose the file is that it leads to.
    let found = file.metadata().map_err(failed)?;
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(format!(
            "{} holds a secret and belongs to the user {}, not to root or this user: run chown on it",
            path.display(),
            found.uid()
        ));
    }
    let mode = found.mode() & 0o7777;
    if mode & TOO_OPEN != 0 {
        return Err(format!(
            "{} holds a secret and is open to others (mode {mode:04o}): run chmod 600 on it",
            path.display()
        ));
    }
    contents(file, path)
}

/// The content of the file at `path`, which is no secret.
///
/// # Errors
/// A sentence.
pub fn read_open(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    contents(file, path)
}

fn contents(file: File, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        Ok(_) if bytes.len() as u64 > MAX_BYTES => {
            Err(format!("{} is longer than {MAX_BYTES} bytes", path.display()))
        }
        Ok(_) => Ok(bytes),
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
    fn only_files_that_others_cannot_read_are_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(read_secret(&path).unwrap_err().contains("cannot be read"));
        fs::write(&path, "s").unwrap();
        for (mode, allowed) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_secret(&path).is_ok(), allowed, "{mode:o}");
        }
        assert!(read_secret(&path).unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn a_secret_of_another_user_is_refused_also_behind_a_link() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED a_secret_of_another_user_is_refused_also_behind_a_link: it needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["token", "link"].map(|name| folder.path().join(name));
        fs::write(&path, "s").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        assert!(read_secret(&path).is_ok() && read_secret(&link).is_ok());
        chown(&path, Some(65534), None).unwrap();
        for name in [&path, &link] {
            assert!(read_secret(name).unwrap_err().contains("the user 65534"), "{}", name.display());
        }
    }
}
