//! The cgroups of the containers, and the folder for everything else that is left on the machine.
//!
//! Must not know which programs run in them.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use ballast_api::{ContainerName, Cores, Limit};
use ballast_kernel::{Cgroup, CgroupTree, CpuControl, Hierarchy};
use ballast_sim::Topology;

use crate::refusal::Refusal;

/// The file that tells a testbed's folder from any other; it holds the name of the parent cgroup.
const MARK: &str = "cgroup-parent";

/// What was made, or found, and must be removed.
#[derive(Debug)]
pub struct Cells {
    name: ContainerName,
    parent: Option<Cgroup>,
    children: BTreeMap<ContainerName, Cgroup>,
    work_dir: PathBuf,
}

impl Cells {
    /// Makes the folder, the parent, and a cgroup with its CPU limit for each container.
    ///
    /// # Errors
    /// A [`Refusal`] when cgroups cannot be made, or one of the two is there already; nothing is left then.
    pub fn make(
        parent: &ContainerName,
        work_dir: Option<&Path>,
        topology: &Topology,
    ) -> anyhow::Result<Self> {
        let tree = tree()?;
        let mut cells = Self::find(parent, work_dir)?;
        let in_use = |what: String| Refusal::InUse { what, parent: parent.to_string() };
        if cells.parent.is_some() {
            return Err(in_use(format!("cgroup {parent}")).into());
        }
        match make_folder(&cells.work_dir, parent) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(in_use(format!("folder {}", cells.work_dir.display())).into());
            }
            made => made.with_context(|| format!("making the folder {}", cells.work_dir.display()))?,
        }
        if let Err(error) = cells.fill(&tree, topology) {
            cells.remove()?;
            return Err(error);
        }
        Ok(cells)
    }

    fn fill(&mut self, tree: &CgroupTree, topology: &Topology) -> anyhow::Result<()> {
        let parent = tree.create(self.name.as_str()).map_err(|error| no_cgroups(&error))?;
        self.parent = Some(parent);
        for (name, cores) in topology.containers() {
            let group = tree.create(&format!("{}/{name}", self.name)).map_err(|error| no_cgroups(&error))?;
            let limit = Limit::At(Cores::new(cores)?);
            CpuControl::new(tree.hierarchy(), group.path())
                .set_limit(limit)
                .with_context(|| format!("limiting {name} to {cores} cores"))?;
            self.children.insert(name.clone(), group);
        }
        Ok(())
    }

    /// What a testbed of that name left.
    ///
    /// # Errors
    /// When the cgroup is there, but its folder does not say that a testbed made it: it may be anybody's. When there are no
    /// cgroups on this machine.
    pub fn left_by_a_testbed(parent: &ContainerName, work_dir: Option<&Path>) -> anyhow::Result<Self> {
        let cells = Self::find(parent, work_dir)?;
        if cells.parent.is_some() && !is_marked(&cells.work_dir, parent) {
            let folder = cells.work_dir.display().to_string();
            return Err(Refusal::NotATestbeds { cgroup: parent.to_string(), folder }.into());
        }
        Ok(cells)
    }

    fn find(parent: &ContainerName, work_dir: Option<&Path>) -> anyhow::Result<Self> {
        let work_dir = work_dir.map_or_else(|| default_work_dir(parent), Path::to_owned);
        let group = tree()?.find(parent.as_str())?;
        Ok(Self { name: parent.clone(), parent: group, children: BTreeMap::new(), work_dir })
    }

    /// The cgroup of a container.
    ///
    /// # Errors
    /// When the topology has no such container.
    pub fn of(&self, container: &ContainerName) -> anyhow::Result<&Cgroup> {
        self.children.get(container).with_context(|| format!("{container} has no cgroup"))
    }

    /// The folder.
    #[must_use]
    pub fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// Kills what runs in the cgroups, removes them and the folder. Blocks until they are gone, some seconds at most.
    ///
    /// # Errors
    /// When something outlives that. The folder stays until the cgroups are gone: it says whose they are.
    pub fn remove(&self) -> anyhow::Result<()> {
        if let Some(parent) = &self.parent {
            parent.kill_all().and_then(|()| parent.remove()).context("removing the cgroups")?;
        }
        remove_folder(&self.work_dir, &self.name).with_context(|| {
            format!(
                "removing the folder {} (it goes with its content only if an `up` of that name made it)",
                self.work_dir.display()
            )
        })
    }
}

fn tree() -> Result<CgroupTree, Refusal> {
    let hierarchy = Hierarchy::find(Path::new("/proc/self/mountinfo")).map_err(|error| no_cgroups(&error))?;
    Ok(CgroupTree::new(hierarchy))
}

fn no_cgroups(error: &dyn std::error::Error) -> Refusal {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    Refusal::NoCgroups { detail: format!("{error}{cause}") }
}

/// Always the same for a name, so that `sweep` finds it.
fn default_work_dir(parent: &ContainerName) -> PathBuf {
    std::env::temp_dir().join(format!("ballast-testbed-{parent}"))
}

/// Fails when something is there, a link included: in a folder that everybody writes to, it could lead elsewhere.
fn make_folder(path: &Path, parent: &ContainerName) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    fs::write(path.join(MARK), parent.as_str())
}

/// Whether `make_folder` made it.
fn is_marked(path: &Path, parent: &ContainerName) -> bool {
    fs::read_to_string(path.join(MARK)).is_ok_and(|name| name == parent.as_str())
}

/// Removes a testbed's folder with all that is in it, and any other only when it is empty.
fn remove_folder(path: &Path, parent: &ContainerName) -> io::Result<()> {
    match if is_marked(path, parent) { fs::remove_dir_all(path) } else { fs::remove_dir(path) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_a_testbeds_is_not_removed() {
        let outer = tempfile::tempdir().unwrap();
        let (path, name) = (outer.path().join("work"), ContainerName::new("hotel").unwrap());
        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.tex"), "").unwrap();
        assert!(make_folder(&path, &name).is_err());
        assert!(remove_folder(&path, &name).is_err());
        assert!(path.join("thesis.tex").exists());
    }

    #[test]
    fn removing_twice_is_removing_once() {
        let outer = tempfile::tempdir().unwrap();
        let (path, name) = (outer.path().join("work"), ContainerName::new("hotel").unwrap());
        make_folder(&path, &name).unwrap();
        fs::write(path.join("geo.log"), "").unwrap();
        assert!(remove_folder(&path, &ContainerName::new("other").unwrap()).is_err());
        remove_folder(&path, &name).unwrap();
        remove_folder(&path, &name).unwrap();
        assert!(!path.exists());
    }
}
