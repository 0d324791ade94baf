//! What the ancestors of a cgroup leave it of the CPU: a quota holds everything below it too.
//!
//! Remembers what it has read, so it is for one check; must not know what is asked for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ballast_api::CgroupVersion;

use super::{CpuBandwidth, v1, v2};
use crate::{error::KernelError, hierarchy::Hierarchy, path::CgroupPath};

/// A quota that holds for all cgroups below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AncestorQuota {
    /// The cgroup's folder.
    pub(super) folder: PathBuf,
    pub(super) bandwidth: CpuBandwidth,
}

/// The quotas of cgroups that others are in, each read once.
#[derive(Debug)]
pub struct AncestorQuotas<'a> {
    hierarchy: &'a Hierarchy,
    /// The least one of a cgroup and those above it.
    least: BTreeMap<PathBuf, Option<AncestorQuota>>,
}

impl<'a> AncestorQuotas<'a> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(hierarchy: &'a Hierarchy) -> Self {
        Self { hierarchy, least: BTreeMap::new() }
    }

    /// The least quota above the cgroup at `path`; absent where no ancestor has one.
    ///
    /// # Errors
    /// When an ancestor's quota cannot be read.
    pub fn least_above(&mut self, path: &CgroupPath) -> Result<Option<AncestorQuota>, KernelError> {
        // The root of what is mounted may be a part of the whole, which has a quota.
        let ancestors = std::iter::once(Path::new("")).chain(path.ancestors());
        ancestors.map(|ancestor| self.hierarchy.cpu_root().join(ancestor)).try_fold(None, |above, folder| {
            if let Some(known) = self.least.get(&folder) {
                return Ok(known.clone());
            }
            let own = self.read(&folder)?;
            let is_less = |own: &AncestorQuota| {
                above.as_ref().is_none_or(|above: &AncestorQuota| !own.bandwidth.is_above(above.bandwidth))
            };
            let least = own.filter(is_less).or(above);
            self.least.insert(folder, least.clone());
            Ok(least)
        })
    }

    /// A cgroup without the file holds nobody: the root (v2), or one that is just being removed.
    fn read(&self, folder: &Path) -> Result<Option<AncestorQuota>, KernelError> {
        let bandwidth = match self.hierarchy.version() {
            CgroupVersion::V2 => {
                v2::Files::new(folder).quota_and_period().map(|(quota, period)| Some((quota?, period)))
            }
            _ => v1::Files::new(folder, folder).quota_and_period(),
        };
        match bandwidth {
            Err(error) if error.is_gone() => Ok(None),
            other => Ok(other?.map(|(quota_us, period_us)| AncestorQuota {
                folder: folder.to_owned(),
                bandwidth: CpuBandwidth { quota_us: Some(quota_us), period_us, burst_us: None },
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A machine with these quotas, at a period of 100 ms.
    fn machine(version: CgroupVersion, quotas: &[(&str, &str)]) -> (tempfile::TempDir, Hierarchy) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for (path, quota) in quotas {
            let cgroup = root.join(path);
            fs::create_dir_all(&cgroup).unwrap();
            if version == CgroupVersion::V2 {
                fs::write(cgroup.join("cpu.max"), format!("{} 100000\n", quota.replace("-1", "max")))
                    .unwrap();
            } else {
                fs::write(cgroup.join("cpu.cfs_quota_us"), quota).unwrap();
                fs::write(cgroup.join("cpu.cfs_period_us"), "100000\n").unwrap();
            }
        }
        fs::write(root.join("cgroup.controllers"), "cpu").unwrap();
        let kind = if version == CgroupVersion::V2 { "cgroup2 x rw" } else { "cgroup x rw,cpu,cpuacct" };
        let mountinfo = folder.path().join("mountinfo");
        fs::write(&mountinfo, format!("1 0 0:1 / {} rw - {kind}\n", root.display())).unwrap();
        let hierarchy = Hierarchy::find(&mountinfo).unwrap();
        (folder, hierarchy)
    }

    #[test]
    fn the_least_quota_above_counts_and_the_own_does_not() {
        for version in [CgroupVersion::V1, CgroupVersion::V2] {
            let quotas = [
                ("", "-1"),
                ("a", "200000"),
                ("a/b", "50000"),
                ("a/b/c", "-1"),
                ("a/b/c/d", "1000"),
                ("e", "-1"),
                ("e/f", "-1"),
            ];
            let (folder, hierarchy) = machine(version, &quotas);
            let mut ancestors = AncestorQuotas::new(&hierarchy);
            let mut least = |path| {
                let found = ancestors.least_above(&CgroupPath::new(path).unwrap()).unwrap();
                found.map(|least| (least.folder, least.bandwidth.quota_us.unwrap()))
            };
            let root = folder.path().join("root");
            assert_eq!(least("a/b/c/d"), Some((root.join("a/b"), 50_000)));
            assert_eq!(least("a/b"), Some((root.join("a"), 200_000)));
            assert_eq!((least("a"), least("e/f"), least("gone/x")), (None, None, None));
        }
    }

    #[test]
    fn each_ancestor_is_read_once() {
        let (folder, hierarchy) = machine(CgroupVersion::V1, &[("a", "50000")]);
        let mut ancestors = AncestorQuotas::new(&hierarchy);
        let paths = ["a/x", "a/y"].map(|path| CgroupPath::new(path).unwrap());
        assert!(ancestors.least_above(&paths[0]).unwrap().is_some());
        fs::write(folder.path().join("root/a/cpu.cfs_quota_us"), "odd").unwrap();
        assert!(ancestors.least_above(&paths[1]).unwrap().is_some());
        assert!(AncestorQuotas::new(&hierarchy).least_above(&paths[1]).is_err());
    }
}
