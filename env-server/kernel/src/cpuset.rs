//! Which processors a cgroup may use, on cgroup v1: the controller `cpuset`, which has a hierarchy of its own.
//!
//! Only what others have set up is used, and nothing is set: a group without processors or memory holds no process, and breaks
//! who lists groups. On cgroup v2 a process gets its cgroup's processors with the cgroup.

use std::{fs, path::Path};

use crate::{error::KernelError, file, mounts, path::CgroupPath};

/// Moves a process into the group of `cpuset` at `path`, among the mounts that `mountinfo` lists, and answers whether there is
/// one that has processors and memory.
///
/// # Errors
/// When `mountinfo` cannot be read, or the kernel refuses.
pub fn join(mountinfo: &Path, path: &CgroupPath, pid: u32) -> Result<bool, KernelError> {
    let mounts = mounts::parse(&file::read(mountinfo)?);
    let cpuset = mounts
        .iter()
        .find(|mount| mount.kind == "cgroup" && mount.super_options().any(|option| option == "cpuset"));
    let Some(folder) = cpuset.map(|mount| mount.point.join(path)) else { return Ok(false) };
    let has = |what: &str| fs::read_to_string(folder.join(what)).is_ok_and(|some| !some.trim().is_empty());
    let is_usable = has("cpuset.cpus") && has("cpuset.mems");
    if is_usable {
        file::write(&folder.join("cgroup.procs"), &pid.to_string())?;
    }
    Ok(is_usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_with_processors_is_joined() {
        let folder = tempfile::tempdir().unwrap();
        let mountinfo = folder.path().join("mountinfo");
        fs::write(&mountinfo, format!("1 0 0:1 / {} rw - cgroup x rw,cpuset\n", folder.path().display()))
            .unwrap();
        for (name, processors) in [("some", "0-1\n"), ("none", "\n")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("cpuset.cpus"), processors).unwrap();
            fs::write(folder.path().join(name).join("cpuset.mems"), "0\n").unwrap();
            fs::write(folder.path().join(name).join("cgroup.procs"), "").unwrap();
        }
        let join = |name: &str| join(&mountinfo, &name.parse().unwrap(), 7).unwrap();
        assert_eq!([join("some"), join("none"), join("missing")], [true, false, false]);
        let members = |name: &str| fs::read_to_string(folder.path().join(name).join("cgroup.procs")).unwrap();
        assert_eq!([members("some"), members("none")], ["7", ""]);
    }
}
