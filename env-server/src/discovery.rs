//! Which containers there are: the children of the configured cgroup parents.
//!
//! Looks only; must not know what is lent to them.

use std::collections::BTreeMap;

use ballast_api::ContainerName;
use ballast_kernel::{CgroupPath, CpuControl, Hierarchy, KernelError};

/// A container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub path: CgroupPath,
    /// Tells it from a later cgroup of the same path.
    pub identity: u64,
}

/// What a look at the parents showed.
#[derive(Debug, Default)]
pub struct Found {
    /// The containers.
    pub containers: BTreeMap<ContainerName, Place>,
    /// Cgroups that are no containers of ours, with the reason, one sentence each.
    pub skipped: Vec<String>,
}

/// Looks for containers below `parents`. Of two with the same name, that of the earlier parent counts.
///
/// # Errors
/// When a parent exists and cannot be listed.
pub fn discover(hierarchy: &Hierarchy, parents: &[CgroupPath]) -> Result<Found, KernelError> {
    let mut found = Found::default();
    for parent in parents {
        for name in hierarchy.children(parent)? {
            match look_at(hierarchy, parent, &name, &found.containers) {
                Ok(Some((name, place))) => {
                    found.containers.insert(name, place);
                }
                // It went away between the listing and the look.
                Ok(None) => {}
                Err(reason) => found.skipped.push(format!("{parent}/{name} is skipped: {reason}")),
            }
        }
    }
    Ok(found)
}

fn look_at(
    hierarchy: &Hierarchy,
    parent: &CgroupPath,
    name: &str,
    taken: &BTreeMap<ContainerName, Place>,
) -> Result<Option<(ContainerName, Place)>, String> {
    let path = parent.child(name).map_err(|error| error.to_string())?;
    let name = ContainerName::new(name).map_err(|error| error.to_string())?;
    if let Some(first) = taken.get(&name) {
        return Err(format!("its name is taken by {}", first.path));
    }
    let limit = CpuControl::new(hierarchy, &path).limit();
    let Some(identity) = hierarchy.identity(&path) else { return Ok(None) };
    match limit {
        Ok(_) => Ok(Some((name, Place { path, identity }))),
        Err(error) if error.is_gone() => {
            Err(format!("{error}: its parent does not hand the CPU controller down"))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMachine;

    #[test]
    fn children_are_containers_and_the_rest_is_told() {
        let machine = FakeMachine::v1();
        for path in ["b/geo", "b/rate", "a/geo", "b/-odd", "b/has space"] {
            machine.add(path, "-1");
        }
        let bare = machine.hierarchy().cpu_folder(&CgroupPath::new("b/bare").unwrap());
        std::fs::create_dir(bare).unwrap();
        let found = discover(machine.hierarchy(), &machine.parents(&["b", "a", "missing"])).unwrap();
        let paths: Vec<_> = found.containers.values().map(|place| place.path.as_str()).collect();
        assert_eq!(paths, ["b/geo", "b/rate"], "the first parent wins");
        assert_eq!(found.skipped.len(), 4, "{:?}", found.skipped);
        assert!(found.skipped.iter().any(|told| told.contains("a/geo") && told.contains("b/geo")));
    }
}
