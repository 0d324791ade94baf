//! Reading whole files of bounded size, and replacing them in one move.
//!
//! Knows nothing of what they hold.

use std::{
    fs::{File, Permissions},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::CheckpointError;

/// Far more than eight layers of 512 units; a larger file is not one of ours.
const MAX_BYTES: u64 = 64 << 20;

/// The bytes of the file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows meanwhile, or has no length, is found out too.
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| CheckpointError::Io { operation: "read", path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_BYTES {
        let detail = format!("it is larger than {MAX_BYTES} bytes");
        return Err(CheckpointError::Invalid { origin: path.display().to_string(), detail });
    }
    Ok(bytes)
}

/// Replaces the file: whoever reads sees the old bytes or the new ones, and a crash leaves one of the two.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let replace = || {
        let mut file = tempfile::Builder::new()
            .prefix(".policy-")
            // What any new file gets, less the umask: the default of a temporary file, 0600, would stay after the move.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    replace().map_err(|source| CheckpointError::Io { operation: "write", path: path.to_owned(), source })
}
