//! Writing, tearing, rotating and reading back.

use std::{fs, path::PathBuf, sync::Arc};

use ballast_api::Clock;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;

struct At(u64);

impl Clock for At {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0)
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    (folder, path)
}

fn open(path: &Path) -> AuditLog {
    AuditLog::open(path, Arc::new(At(42)), None).unwrap()
}

fn sequences(path: &Path) -> Vec<u64> {
    read(path).unwrap().map(|record| record.unwrap().sequence).collect()
}

#[test]
fn what_was_written_reads_back() {
    let (_folder, path) = folder();
    let log = open(&path);
    assert_eq!(log.append("step", &json!({"p99_ms": 12.5, "line": "a\nb"})).unwrap(), 0);
    assert_eq!(log.append("end", "bye").unwrap(), 1);
    let records: Vec<_> = read(&path).unwrap().map(Result::unwrap).collect();
    let record = |sequence, kind: &str, record| AuditRecord {
        schema: SCHEMA,
        sequence,
        at_unix_nanos: UnixNanos(42),
        kind: kind.to_owned(),
        record,
    };
    assert_eq!(
        records,
        [record(0, "step", json!({"p99_ms": 12.5, "line": "a\nb"})), record(1, "end", json!("bye"))]
    );
}

#[test]
fn the_sequence_goes_on_after_a_restart() {
    let (_folder, path) = folder();
    open(&path).append("a", &1).unwrap();
    open(&path).append("a", &2).unwrap();
    assert_eq!(sequences(&path), [0, 1]);
}

/// `kill -9` may leave any part of the last line.
#[test]
fn torn_at_any_byte_only_the_last_line_is_lost() {
    let (_folder, path) = folder();
    let log = open(&path);
    for step in 0..3 {
        log.append("step", &json!({"step": step, "text": "é}\"{"})).unwrap();
    }
    drop(log);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<_> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        // A line is complete when all but its end is there.
        let complete = ends.iter().filter(|end| **end <= length).count() as u64;
        assert_eq!(sequences(&path), (0..complete).collect::<Vec<_>>(), "cut at {length}");
        assert_eq!(open(&path).append("after", &json!(length)).unwrap(), complete, "cut at {length}");
        assert_eq!(sequences(&path), (0..=complete).collect::<Vec<_>>(), "cut at {length}, written on");
    }
}

#[test]
fn two_files_of_bounded_size_are_kept() {
    let (folder, path) = folder();
    let log = AuditLog::with_bound(&path, Arc::new(At(42)), None, 1000).unwrap();
    for step in 0..100 {
        log.append("step", &json!({"step": step})).unwrap();
        assert!(fs::metadata(&path).unwrap().len() <= 1000);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let kept = sequences(&path);
    assert_eq!(kept, (kept[0]..100).collect::<Vec<_>>());
    assert!(kept.len() >= 10, "{kept:?}");
    drop(log);
    // Killed between the two steps of a rotation: only the older file is there.
    fs::rename(&path, rotated(&path)).unwrap();
    assert_eq!(sequences(&path).last(), Some(&99));
    assert_eq!(open(&path).append("step", &()).unwrap(), 100);
}

#[test]
fn a_damaged_line_is_told_and_the_next_follows() {
    let (_folder, path) = folder();
    let log = open(&path);
    for step in 0..3 {
        log.append("step", &step).unwrap();
    }
    drop(log);
    let text = fs::read_to_string(&path).unwrap().replace("\"sequence\":1", "\"sequence\":x");
    fs::write(&path, text).unwrap();
    let read: Vec<_> = read(&path).unwrap().map(|record| record.map(|it| it.sequence)).collect();
    assert!(matches!(&read[..], [Ok(0), Err(AuditError::NotAnAuditLog { line: 2, .. }), Ok(2)]), "{read:?}");
    assert_eq!(open(&path).append("step", &()).unwrap(), 3);
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let (_folder, path) = folder();
    for text in [
        "root:x:0:0\n",
        "{}\n",
        "{\"schema\":9,\"sequence\":1,\"record\":1}\n",
        "no end of line",
        "{\"a\":1}",
    ] {
        fs::write(&path, text).unwrap();
        let error = AuditLog::open(&path, Arc::new(At(0)), None).err().unwrap();
        assert!(matches!(error, AuditError::NotAnAuditLog { line: 1, .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn only_one_may_write() {
    let (_folder, path) = folder();
    let log = open(&path);
    let error = AuditLog::open(&path, Arc::new(At(0)), None).err().unwrap();
    assert!(matches!(error, AuditError::InUse { .. }), "{error}");
    drop(log);
    open(&path);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let (_folder, path) = folder();
    let log = open(&path);
    let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(matches!(log.append("odd", &no_json), Err(AuditError::Encoding { .. })));
    assert!(matches!(log.append("long", &"x".repeat(MAX_LINE_BYTES)), Err(AuditError::TooLong { .. })));
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    assert_eq!(log.append("fine", &1).unwrap(), 0);
}

#[test]
fn where_no_file_can_be_the_reason_is_told() {
    let (folder, path) = folder();
    for no_file in [folder.path(), Path::new("/dev/zero")] {
        let error = AuditLog::open(no_file, Arc::new(At(0)), None).err().unwrap();
        assert!(matches!(error, AuditError::NotAFile { .. }), "{error}");
    }
    let error = AuditLog::open(&path.join("below"), Arc::new(At(0)), None).err().unwrap();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(matches!(read(&path), Err(AuditError::Io { .. })));
}

/// A disk of 64 KiB; unmounted with this value.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, nix::Error> {
        let folder = tempfile::tempdir().unwrap();
        let size = Some("size=64k");
        nix::mount::mount(Some("tmpfs"), folder.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), size)?;
        Ok(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_leaves_whole_lines_and_is_written_on_when_there_is_room() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!(
                "SKIPPED a_full_disk_leaves_whole_lines_and_is_written_on: a tmpfs cannot be mounted: {error}"
            );
            return;
        }
    };
    let (path, filler) = (disk.0.path().join("audit.jsonl"), disk.0.path().join("filler"));
    fs::write(&filler, vec![0; 30_000]).unwrap();
    let log = open(&path);
    let text = "x".repeat(1500);
    let mut written = 0;
    let error = loop {
        match log.append("step", &text) {
            Ok(sequence) => written = sequence + 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AuditError::Io { operation: "cannot write to", .. }), "{error}");
    assert!(fs::read(&path).unwrap().ends_with(b"\n"));
    assert_eq!(sequences(&path), (0..written).collect::<Vec<_>>());
    fs::remove_file(&filler).unwrap();
    assert_eq!(log.append("step", &text).unwrap(), written);
    assert_eq!(sequences(&path), (0..=written).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_end_or_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_folder, path) = folder();
        fs::write(&path, &bytes).unwrap();
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        prop_assert!(read(&path).unwrap().count() <= lines);
    }
}
