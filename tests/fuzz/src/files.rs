//! What lies in a folder, to be compared with what lies there later.
//!
//! Must not know what the files mean.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Every file below a folder with its bytes, and every folder without.
pub(crate) type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

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
