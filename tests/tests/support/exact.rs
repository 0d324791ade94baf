//! Every byte that a limit may touch, to be compared before and after.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ballast_kernel::CgroupPath;

use super::{hierarchy, host};

/// Files that a limit is written to, of either version.
const LIMITS: [&str; 4] = ["cpu.max", "cpu.cfs_", "io.max", "blkio.throttle."];
/// Those beside them that count.
const COUNTERS: [&str; 2] = ["io_service_bytes", "io_serviced"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Everything {
    /// What the limits' files of cgroups say.
    pub(crate) files: BTreeMap<PathBuf, String>,
    /// What is in the network of this thread's host.
    pub(crate) network: String,
}

impl Everything {
    /// Of these cgroups, and of the host's network.
    pub(crate) fn of(paths: &[CgroupPath]) -> Self {
        Self { files: paths.iter().flat_map(limits).collect(), network: host::network() }
    }

    /// The files that say something else in `other`, or are not there.
    pub(crate) fn changed(&self, other: &Self) -> Vec<&Path> {
        let differs = |(path, text): &(&PathBuf, &String)| other.files.get(*path) != Some(*text);
        self.files.iter().filter(differs).map(|(path, _)| path.as_path()).collect()
    }
}

fn limits(path: &CgroupPath) -> Vec<(PathBuf, String)> {
    let hierarchy = hierarchy();
    let disk = hierarchy.disk_root().map(|(_, root)| root.join(path));
    let folders = [Some(hierarchy.cpu_folder(path)), disk].into_iter().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path());
    let is_limit = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        LIMITS.iter().any(|start| name.starts_with(start)) && !COUNTERS.iter().any(|part| name.contains(part))
    };
    // Files that the kernel lets nobody read hold no limit.
    let read = |file: PathBuf| Some((file.clone(), fs::read_to_string(file).ok()?));
    files.filter(is_limit).filter_map(read).collect()
}
