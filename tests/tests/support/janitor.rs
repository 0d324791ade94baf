//! Removes what a test may leave when the test ends, however it ends: the janitor holds the other end of a pipe.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Mutex,
};

use ballast_kernel::CgroupPath;

use super::hierarchies;

/// Reads what there is to remove until its input ends. A cgroup is busy for a moment after its processes were killed.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
own= shared= folders=
while read -r kind path; do
    case $kind in
        own) own="$own $path" ;;
        shared) shared="$shared $path" ;;
        folder) folders="$folders $path" ;;
    esac
done
for attempt in $(seq 100); do
    left=
    for group in $own; do
        [ -d "$group" ] || continue
        find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | grep -vx 0 | xargs -r kill -9 2>/dev/null
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
    done
    [ -n "$left" ] || break
    sleep 0.1
done
for group in $shared; do
    [ ! -d "$group" ] || rmdir "$group" 2>/dev/null
done
rm -rf $folders
"#;

pub(crate) struct Janitor {
    child: Child,
    input: ChildStdin,
    folder: PathBuf,
    /// Folders of cgroups of this test alone.
    own: Mutex<Vec<PathBuf>>,
}

impl Janitor {
    pub(crate) fn start() -> Self {
        // The folder for temporary files may be in memory, and containers shall have a disk.
        let folder = tempfile::Builder::new().prefix("ballast-test-").tempdir_in("/var/tmp").unwrap().keep();
        // In a session of its own, so that it outlives an interrupt from the terminal too.
        let mut command = Command::new("setsid");
        let mut child = command.args(["sh", "-c", SCRIPT]).stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let this = Self { child, input, folder, own: Mutex::default() };
        this.tell("folder", &this.folder);
        this
    }

    /// An empty folder of this test.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A cgroup of this test alone: it goes in every hierarchy, with its processes and all below.
    pub(crate) fn own(&self, path: &CgroupPath) {
        for folder in hierarchies().into_iter().map(|root| root.join(path)) {
            self.tell("own", &folder);
            self.own.lock().unwrap().push(folder);
        }
    }

    /// A cgroup that others might come to use: it goes if it was not there before, and is empty then.
    pub(crate) fn shared(&self, path: &CgroupPath) {
        let folders = hierarchies().into_iter().map(|root| root.join(path));
        folders.filter(|folder| !folder.exists()).for_each(|folder| self.tell("shared", &folder));
    }

    fn tell(&self, kind: &str, path: &Path) {
        writeln!(&self.input, "{kind} {}", path.display()).unwrap();
    }

    /// Has everything removed, and looks whether it is.
    pub(crate) fn clean(self) {
        let Self { mut child, input, folder, own } = self;
        drop(input);
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}");
        let left: Vec<PathBuf> = own.into_inner().unwrap().into_iter().filter(|path| path.exists()).collect();
        assert!(left.is_empty() && !folder.exists(), "left behind: {left:?} {}", folder.display());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
        let needle = folder.as_os_str().as_encoded_bytes();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            assert!(!line.windows(needle.len()).any(|part| part == needle), "{:?} runs on", process.path());
        }
    }
}
