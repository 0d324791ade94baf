//! The cgroup whose CPU time is fought over.
//!
//! Must not know what the load is, nor who cleans up.
//!
//! The load is a process of the target's own cgroup, at the highest priority. CPU taken from a service that needs 0.09 core
//! of its limit of 0.2, dose 0.16, on Linux 6.18 (cgroup v1, two cores, 10 s each, cores):
//!
//! | the load is | of 2 busy threads | of 32 busy threads |
//! | --- | --- | --- |
//! | in the target's cgroup, highest priority | 0.160 | 0.139 |
//! | in the target's cgroup, normal priority | 0.130 | 0.113 |
//! | in a child cgroup of the largest weight | 0.154 | 0.116 |
//! | in a child cgroup of the default weight | not measured | 0.112 |
//!
//! The likely reason: the kernel picks who runs next among the members of one group, a child is a single member, and a
//! quota that lasts for two or three picks in each period is gone before a single member's weight has told. The priority
//! counts inside the target only: neighbours see no more than the target's own limit.

use std::{fs, path::PathBuf};

use ballast_api::{CgroupVersion, Cores, Limit};
use ballast_kernel::{Cgroup, CgroupPath, CgroupTree, CpuControl, Hierarchy, Representatives, cpuset};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

use crate::{error::InjectorError, undo::MOUNTINFO};

/// A cgroup that existed when it was looked for.
#[derive(Debug, Clone)]
pub struct Target {
    hierarchy: Hierarchy,
    cgroup: Cgroup,
    cpu: CpuControl,
    identity: u64,
}

impl Target {
    /// Looks for the cgroup at `path`, where the CPU controller is.
    ///
    /// # Errors
    /// When there is none, or none that can hold a process.
    pub fn find(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Self, InjectorError> {
        let target = Self::find_beside(hierarchy, path)?;
        if hierarchy.version() == CgroupVersion::V2 {
            refuse_inner_node(&target.cpu, path)?;
        }
        Ok(target)
    }

    /// The same where nothing is to enter it.
    ///
    /// # Errors
    /// When there is none.
    pub fn find_beside(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Self, InjectorError> {
        let cpu = CpuControl::new(hierarchy, path);
        let unknown =
            || InjectorError::NoSuchTarget { target: path.to_string(), folder: cpu.folder().to_owned() };
        let identity = hierarchy.identity(path).ok_or_else(unknown)?;
        let cgroup = CgroupTree::new(hierarchy.clone()).find(path.as_str())?.ok_or_else(unknown)?;
        Ok(Self { hierarchy: hierarchy.clone(), cgroup, cpu, identity })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &CgroupPath {
        self.cgroup.path()
    }

    /// Its processes, those of this program among them.
    ///
    /// # Errors
    /// When the kernel's list cannot be read.
    pub fn pids(&self) -> Result<Vec<u32>, InjectorError> {
        Ok(self.cgroup.pids()?)
    }

    /// The processors that its processes may use: those of the first that tells. Empty where none does.
    ///
    /// # Errors
    /// When the kernel's list of processes cannot be read.
    pub fn processors(&self) -> Result<Vec<usize>, InjectorError> {
        let allowed = |pid| sched_getaffinity(Pid::from_raw(i32::try_from(pid).ok()?)).ok();
        let first = self.cgroup.pids()?.into_iter().find_map(allowed);
        let listed =
            |set: CpuSet| (0..CpuSet::count()).filter(|at| set.is_set(*at).unwrap_or(false)).collect();
        Ok(first.map(listed).unwrap_or_default())
    }

    /// Some of its processes, any of which shows what all of them share; absent where they are hidden in a pid namespace that
    /// is not in sight.
    ///
    /// # Errors
    /// When the kernel's lists cannot be read.
    pub fn representatives(&self) -> Result<Option<Vec<u32>>, InjectorError> {
        Ok(match self.cgroup.representatives()? {
            Representatives::Pids(pids) => Some(pids),
            Representatives::Hidden => None,
        })
    }

    /// Its CPU limit.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn cpu_limit(&self) -> Result<Limit<Cores>, InjectorError> {
        Ok(self.cpu.limit()?)
    }

    /// Whether it has processes of its own: those of this program are injections. False when it is gone.
    ///
    /// # Errors
    /// When the kernel's lists cannot be read.
    pub fn is_populated(&self) -> Result<bool, InjectorError> {
        let program = |pid: &str| fs::read(PathBuf::from("/proc").join(pid).join("comm")).ok();
        let ours = program("self");
        Ok(self.cgroup.pids()?.into_iter().any(|pid| program(&pid.to_string()) != ours))
    }

    /// The inode of its folder.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Whether it is still there: one that was made anew at the same path is another.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.hierarchy.identity(self.path()) == Some(self.identity)
    }

    /// Moves a process into it, so that the load counts as the target's: its CPU time, memory and requests to disks. On cgroup
    /// v1 the processors that the target may use are a matter apart.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&self, pid: u32) -> Result<(), InjectorError> {
        self.cgroup.attach(pid)?;
        if self.hierarchy.version() == CgroupVersion::V1 {
            cpuset::join(MOUNTINFO.as_ref(), self.path(), pid)?;
        }
        Ok(())
    }
}

/// On cgroup v2 a group that hands controllers down holds no processes itself.
fn refuse_inner_node(cpu: &CpuControl, path: &CgroupPath) -> Result<(), InjectorError> {
    let control = cpu.folder().join("cgroup.subtree_control");
    match fs::read_to_string(&control) {
        Ok(controllers) if controllers.trim().is_empty() => Ok(()),
        Ok(_) => Err(InjectorError::InnerNode { target: path.to_string() }),
        Err(source) => Err(InjectorError::File { operation: "read", path: control, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_v2_only_a_leaf_is_a_target() {
        let root = tempfile::tempdir().unwrap();
        let mountinfo = root.path().join("mountinfo");
        let point = root.path().display();
        fs::write(&mountinfo, format!("41 31 0:38 / {point} rw - cgroup2 cgroup2 rw\n")).unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu\n").unwrap();
        for (group, hands_down) in [("inner", "cpu\n"), ("leaf", "\n")] {
            fs::create_dir(root.path().join(group)).unwrap();
            fs::write(root.path().join(group).join("cgroup.subtree_control"), hands_down).unwrap();
            fs::write(root.path().join(group).join("cpu.max"), "20000 100000\n").unwrap();
        }
        let hierarchy = Hierarchy::find(&mountinfo).unwrap();
        let find = |group: &str| Target::find(&hierarchy, &group.parse().unwrap());
        assert_eq!(find("leaf").unwrap().cpu_limit().unwrap(), Limit::At(Cores::new(0.2).unwrap()));
        assert!(matches!(find("inner"), Err(InjectorError::InnerNode { .. })));
        assert!(matches!(find("none"), Err(InjectorError::NoSuchTarget { .. })));
    }
}
