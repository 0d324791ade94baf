//! Control groups in a folder, to make and find groups of any name in, beside files that no name may lead to.
//!
//! Must not know what a name may hold.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ballast_api::with_causes;
use ballast_kernel::{CgroupPath, CgroupTree, Hierarchy};
use tempfile::TempDir;

use crate::files::{self, Files};

/// A group that there is, files above and beside the root that are called as a group's are, and a folder where names of
/// Ballast's own could lead.
const FILES: [&str; 4] =
    ["cgroup/p/cgroup.procs", "cgroup.procs", "beside/p/cgroup.procs", "cgroup.controllers"];

pub(crate) struct FakeTree {
    _folder: TempDir,
    /// As the kernel calls it.
    folder: PathBuf,
    tree: CgroupTree,
    own: Files,
}

impl FakeTree {
    pub(crate) fn new() -> Self {
        let made = files::folder();
        let folder = fs::canonicalize(made.path()).unwrap();
        FILES.iter().for_each(|name| files::put(&folder.join(name), b""));
        let mountinfo = folder.join("mountinfo");
        let line = format!("1 0 0:1 / {} rw - cgroup x rw,cpu,cpuacct\n", folder.join("cgroup").display());
        files::put(&mountinfo, line.as_bytes());
        let tree = CgroupTree::new(Hierarchy::find(&mountinfo).unwrap());
        let own = files::below(&folder);
        Self { _folder: made, folder, tree, own }
    }

    /// Makes the group and looks for it. It is where its name says, below the root, and nothing else is made or touched.
    pub(crate) fn live_through(&self, path: &CgroupPath) {
        let group = self.folder.join("cgroup").join(path);
        let exists = group.is_dir();
        let made = self.tree.create(path.as_str());
        assert!(!(exists && made.is_ok()), "{path} was there already");
        let found = self.tree.find(path.as_str()).unwrap();
        match made {
            // What is too long for the kernel is not made.
            Err(error) if !exists => {
                files::assert_allowed(&with_causes(&error));
                assert!(found.is_none(), "{path} was not made");
            }
            _ => {
                assert_eq!(found.unwrap().path(), path);
                let folder = self.tree.hierarchy().cpu_folder(path);
                assert_eq!(fs::canonicalize(folder).unwrap(), group, "{path} leads elsewhere");
            }
        }
        let after = files::below(&self.folder);
        let root = self.folder.join("cgroup");
        let on_the_way = |made: &Path| made.starts_with(&root) && group.starts_with(made);
        files::assert_untouched(&self.own, &after, on_the_way, path);
        files::put_back(&self.own, &after);
    }
}
