//! What lies in a folder, to be compared with what lies there later.
//!
//! Must not know what the files mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
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

/// Reads everything below a folder.
pub(crate) fn below(folder: &Path) -> Files {
    let mut files = Files::new();
    collect(folder, &mut files);
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

/// What was made, what was removed, and what has other bytes than before.
pub(crate) fn differing<'a>(before: &'a Files, after: &'a Files) -> BTreeSet<&'a Path> {
    let new = after.keys().filter(|path| !before.contains_key(*path));
    let other = before.iter().filter(|(path, held)| after.get(*path) != Some(held)).map(|(path, _)| path);
    new.chain(other).map(PathBuf::as_path).collect()
}

/// Fails when anything differs but what `may`.
pub(crate) fn assert_untouched(
    before: &Files,
    after: &Files,
    may: impl Fn(&Path) -> bool,
    by: &dyn fmt::Debug,
) {
    let touched: Vec<_> = differing(before, after).into_iter().filter(|path| !may(path)).collect();
    assert!(touched.is_empty(), "{by:?} touched {touched:?}");
}

/// Fails when anything tells that the kernel did not let it write. Pretended files refuse nothing: it was another file. What
/// such a file held may say so too, between quotes.
pub(crate) fn assert_allowed(told: &str) {
    let denied = ["Permission denied", "Read-only file system"];
    let said = unquoted(told);
    assert!(
        !denied.iter().any(|words| said.contains(words)),
        "a write outside of the folder was tried: {told}"
    );
}

/// The text without what it quotes.
fn unquoted(text: &str) -> String {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_outside = |character: &char| {
        let was_quoted = is_quoted;
        is_quoted ^= *character == '"' && !is_escaped;
        is_escaped = *character == '\\' && was_quoted && !is_escaped;
        !was_quoted
    };
    text.chars().filter(is_outside).collect()
}

/// Puts everything back that differs. A folder that was removed is not made again: nothing may have removed one.
pub(crate) fn put_back(before: &Files, after: &Files) {
    for path in differing(before, after).into_iter().rev() {
        match before.get(path) {
            Some(Some(held)) => fs::write(path, held).unwrap(),
            Some(None) => panic!("{} is gone", path.display()),
            None if path.is_dir() => fs::remove_dir(path).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }
}

/// Writes a file, and makes the folders above it.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_is_no_refusal() {
        let held = format!("cpu.stat holds {:?}, which is odd", "\\ \"Permission denied\" \\");
        assert_allowed(&held);
        let refused = std::panic::catch_unwind(|| assert_allowed(&format!("{held}: Permission denied")));
        assert!(refused.is_err());
    }

    #[test]
    fn whatever_is_touched_is_seen_and_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["p/a/cpu.max", "p/cpu.max", "state/journal.json"] {
            put(&path(name), b"max 100000\n");
        }
        let before = below(folder.path());
        fs::write(path("p/a/cpu.max"), "max 100000").unwrap();
        fs::remove_file(path("p/cpu.max")).unwrap();
        put(&path("p/b/c/new"), b"");
        let after = below(folder.path());
        let touched = ["p/a/cpu.max", "p/b", "p/b/c", "p/b/c/new", "p/cpu.max"].map(path);
        assert!(differing(&before, &after).into_iter().eq(touched.iter().map(PathBuf::as_path)));
        put_back(&before, &after);
        assert_eq!(below(folder.path()), before);
    }
}
