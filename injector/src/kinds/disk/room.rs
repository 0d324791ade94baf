//! Where the file may be: a folder on a disk, with enough room that nobody else runs out of it.
//!
//! Must not know what is done with the file. The file has no name, so nothing is left of it however its holder ends.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ballast_kernel::{DeviceNumber, disk::device};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::statvfs::statvfs,
};

use crate::{error::InjectorError, unit::Unit};

/// What stays free of every file system, in bytes.
const LEAST_FREE: u64 = 1 << 30;

/// What stays free of a large one: it is divided by this. A kubelet evicts containers where less is free.
const FREE_PART: u64 = 10;

fn impossible(reason: String) -> InjectorError {
    InjectorError::Impossible { what: "make the file for the load", reason }
}

/// The whole disk that the folder is on.
///
/// # Errors
/// When there is no such folder, or it is on no single disk.
pub(super) fn disk_of(folder: &Path) -> Result<DeviceNumber, InjectorError> {
    let failed =
        |source| InjectorError::File { operation: "look at the folder", path: folder.to_owned(), source };
    let metadata = fs::metadata(folder).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(impossible(format!("{} is no folder", folder.display())));
    }
    let number = DeviceNumber::from_raw(metadata.dev());
    device::whole_disk("/sys/dev/block".as_ref(), number).map_err(|_| {
        impossible(format!(
            "{} is on no single disk: its device {number} is that of a file system in memory (tmpfs), on others \
             (overlay), on a pool or on the network; give --dir a folder on a disk",
            folder.display()
        ))
    })
}

/// Refuses a file of this size where it would leave too little free.
///
/// # Errors
/// With the numbers.
pub(super) fn check_room(folder: &Path, file_bytes: u64) -> Result<(), InjectorError> {
    let failed = |errno: Errno| InjectorError::File {
        operation: "ask for the free space of",
        path: folder.to_owned(),
        source: errno.into(),
    };
    let room = statvfs(folder).map_err(failed)?;
    let bytes = |blocks: u64| blocks.saturating_mul(room.fragment_size());
    enough(file_bytes, bytes(room.blocks_available()), bytes(room.blocks())).map_err(|reason| {
        impossible(format!("{reason} of the file system of {}: give a smaller --file-size", folder.display()))
    })
}

fn enough(file: u64, available: u64, total: u64) -> Result<(), String> {
    let keep = (total / FREE_PART).max(LEAST_FREE);
    if available.checked_sub(file).is_some_and(|left| left >= keep) {
        return Ok(());
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let show = |bytes: u64| Unit::Bytes.show(bytes as f64);
    Err(format!(
        "{} would leave less than {} free (10 %, at least 1 GiB) of the {} that are free now, of {}",
        show(file),
        show(keep),
        show(available),
        show(total)
    ))
}

/// A new file without a name in the folder, which reads and writes past the page cache.
///
/// # Errors
/// When it cannot be made, or the file system cannot do without the cache.
pub(super) fn create(folder: &Path) -> Result<File, InjectorError> {
    let failed =
        |source| InjectorError::File { operation: "make a file in", path: PathBuf::from(folder), source };
    let file = tempfile::tempfile_in(folder).map_err(failed)?;
    match fcntl(&file, FcntlArg::F_SETFL(OFlag::O_DIRECT)) {
        Ok(_) => Ok(file),
        Err(Errno::EINVAL) => Err(impossible(format!(
            "the file system of {} refuses O_DIRECT, so that the page cache would take the load in place of the disk; \
             give --dir a folder on a file system that does not (ext4, xfs)",
            folder.display()
        ))),
        Err(errno) => Err(failed(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_tenth_or_a_gibibyte_stays_free() {
        assert_eq!(enough(10 * GIB, 40 * GIB, 300 * GIB), Ok(()));
        assert_eq!(enough(GIB, 2 * GIB, 4 * GIB), Ok(()));
        for (file, available, total) in [(11, 40, 300), (2, 2, 4), (3, 2, 4), (1, 1, 4)] {
            let refused = enough(file * GIB, available * GIB, total * GIB).unwrap_err();
            assert!(refused.contains(&format!("{available}.000 GiB that are free now")), "{refused}");
        }
    }

    #[test]
    fn a_folder_in_memory_and_a_file_are_refused() {
        let refused = disk_of("/proc".as_ref()).unwrap_err().to_string();
        assert!(refused.contains("/proc is on no single disk"), "{refused}");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(disk_of(file.path()).unwrap_err().to_string().contains("is no folder"));
        assert!(matches!(disk_of(&file.path().join("none")), Err(InjectorError::File { .. })));
    }
}
