//! The memory files in folders of a test: which limit counts, and how much room there is.

use std::fs;

use tempfile::TempDir;

use super::*;

const V1_UNLIMITED: &str = "9223372036854771712\n";

/// A cgroup of files: what is written to them is what the kernel says.
struct Files {
    folder: TempDir,
    hierarchy: Hierarchy,
}

impl Files {
    fn v1() -> Self {
        Self::mounted(|root| {
            let root = root.display();
            format!(
                "1 0 0:1 / {root} rw - cgroup x rw,cpu,cpuacct\n2 0 0:2 / {root}/memory rw - cgroup x rw,memory\n"
            )
        })
    }

    fn v2() -> Self {
        Self::mounted(|root| format!("1 0 0:1 / {} rw - cgroup2 x rw\n", root.display()))
    }

    fn mounted(mountinfo: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mountinfo"), mountinfo(folder.path())).unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let hierarchy = Hierarchy::find(&folder.path().join("mountinfo")).unwrap();
        Self { folder, hierarchy }
    }

    fn write(&self, group: &str, files: &[(&str, &str)]) {
        let folder = self.folder.path().join(group);
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    }

    fn find(&self, path: &str) -> Option<MemoryControl> {
        MemoryControl::find(&self.hierarchy, &CgroupPath::new(path).unwrap())
    }
}

#[test]
fn v1_the_smallest_limit_and_the_least_room_count() {
    let files = Files::v1();
    assert!(files.find("a/b").is_none());
    let group = |group: &str, limit: &str, used: &str, inactive: &str| {
        let stat = format!("cache 9\ninactive_file 1\ntotal_inactive_file {inactive}\n");
        files.write(
            group,
            &[("memory.limit_in_bytes", limit), ("memory.usage_in_bytes", used), ("memory.stat", &stat)],
        );
    };
    group("memory/a", V1_UNLIMITED, "7000\n", "0");
    group("memory/a/b", V1_UNLIMITED, "600\n", "0");
    let control = files.find("a/b").unwrap();
    assert_eq!((control.limit_bytes().unwrap(), control.room_bytes().unwrap()), (None, None));
    group("memory/a/b", "1000\n", "600\n", "250");
    assert_eq!((control.limit_bytes().unwrap(), control.room_bytes().unwrap()), (Some(1000), Some(650)));
    // Above, there is a larger limit and less room.
    group("memory/a", "7300\n", "7000\n", "0");
    assert_eq!((control.limit_bytes().unwrap(), control.room_bytes().unwrap()), (Some(1000), Some(300)));
    group("memory/a", "6000\n", "7000\n", "0");
    assert_eq!(control.room_bytes().unwrap(), Some(0));
}

#[test]
fn v2_says_max_for_none() {
    let files = Files::v2();
    let group = |group: &str, max: &str| {
        let stat = "anon 1\ninactive_file 250\n";
        files.write(group, &[("memory.max", max), ("memory.current", "600\n"), ("memory.stat", stat)]);
    };
    group("a", "max\n");
    group("a/b", "max\n");
    let control = files.find("a/b").unwrap();
    assert_eq!((control.limit_bytes().unwrap(), control.room_bytes().unwrap()), (None, None));
    group("a", "1000\n");
    assert_eq!((control.limit_bytes().unwrap(), control.room_bytes().unwrap()), (Some(1000), Some(650)));
    group("a", "much\n");
    assert!(control.limit_bytes().unwrap_err().to_string().contains("memory.max"));
}
