//! What lies in a folder, to be compared with what lies there later.
//!
//! Must not know what the files mean.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// Every file below a folder with its bytes, and every folder without.
pub(crate) type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A folder for pretended kernel files: in memory where that can be. ext4 puts a file that is emptied and filled again on the
/// disk before it goes on, which takes longer than all that is done with the file.
pub(crate) fn folder() -> TempDir {
    let (asked, memory) = (std::env::temp_dir(), Path::new("/dev/shm"));
    let parent = if asked.starts_with(memory) { &asked } else { memory };
    let in_memory = tempfile::Builder::new().prefix("ballast-fuzz.").tempdir_in(parent);
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

/// Reads everything below these folders.
pub(crate) fn below<const N: usize>(folders: [&Path; N]) -> Files {
    let mut files = Files::new();
    folders.into_iter().for_each(|folder| collect(folder, &mut files));
    files
}

fn collect(folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            collect(&path, files);
            files.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, Some(bytes));
        }
    }
}

/// Writes a file, and makes the folders above it.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
