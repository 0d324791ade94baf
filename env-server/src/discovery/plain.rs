//! Which cgroups are looked at: the children of parents, and, below Kubernetes' groups of pods, what these hold.
//!
//! Lists folders; must not know how a container is called.

use ballast_kernel::{CgroupPath, Hierarchy, KernelError};

use super::{Place, docker, kubernetes};

/// Groups of pods are nested this deep at most: classes, pods.
const DEEPEST: u32 = 2;

/// A cgroup that containers are looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Where it is.
    pub path: CgroupPath,
    /// Whether every child is a container: the operator named this parent. Else only those that Docker or the kubelet
    /// made, for other things may live there.
    pub takes_all: bool,
}

/// Roots for these parents, and where Docker and Kubernetes put containers by default.
#[must_use]
pub fn roots(parents: &[CgroupPath], with_docker: bool, with_kubernetes: bool) -> Vec<Root> {
    let named = parents.iter().cloned().map(|path| Root { path, takes_all: true });
    let mut roots: Vec<Root> = named.collect();
    let docker = docker::ROOTS.iter().filter(|_| with_docker);
    let kubernetes = kubernetes::ROOTS.iter().filter(|_| with_kubernetes);
    // The paths are constants that a test takes.
    for path in docker.chain(kubernetes).filter_map(|path| CgroupPath::new(path).ok()) {
        if !parents.contains(&path) {
            roots.push(Root { path, takes_all: false });
        }
    }
    roots
}

/// The cgroups below `root` that may be containers, in the order of their names; where `in_pods`, what pods hold in place
/// of the pods. A name that is no path is answered with the reason.
///
/// # Errors
/// When a folder is there and cannot be listed.
pub fn candidates(
    hierarchy: &Hierarchy,
    root: &CgroupPath,
    in_pods: bool,
) -> Result<Vec<Result<Place, KernelError>>, KernelError> {
    let mut found = Vec::new();
    gather(hierarchy, root, if in_pods { DEEPEST } else { 0 }, &mut found)?;
    Ok(found)
}

fn gather(
    hierarchy: &Hierarchy,
    parent: &CgroupPath,
    deeper: u32,
    found: &mut Vec<Result<Place, KernelError>>,
) -> Result<(), KernelError> {
    for (name, identity) in hierarchy.children(parent)? {
        match parent.child(&name) {
            Ok(path) if deeper > 0 && kubernetes::holds_pods(&path) => {
                gather(hierarchy, &path, deeper - 1, found)?;
            }
            other => found.push(other.map(|path| Place { path, identity })),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMachine;

    #[test]
    fn a_parent_that_is_named_is_one_root_although_docker_uses_it() {
        let parents = [CgroupPath::new("docker").unwrap(), CgroupPath::new("shop").unwrap()];
        let paths = |docker, kubernetes| {
            let roots = roots(&parents, docker, kubernetes);
            let told = |root: Root| format!("{}{}", root.path, if root.takes_all { "/*" } else { "" });
            roots.into_iter().map(told).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(paths(false, false), "docker/* shop/*");
        assert_eq!(paths(true, true), "docker/* shop/* system.slice kubepods kubepods.slice");
    }

    #[test]
    fn pods_are_entered_only_where_that_is_wanted() {
        let machine = FakeMachine::v1();
        machine.add("k/kubepods/burstable/pod1/x/deeper", "-1");
        machine.add("k/plain", "-1");
        let list = |root: &str, in_pods| {
            let found = candidates(machine.hierarchy(), &CgroupPath::new(root).unwrap(), in_pods).unwrap();
            found.into_iter().map(|place| place.unwrap().path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(list("k", true), ["k/kubepods", "k/plain"]);
        assert_eq!(list("k/kubepods", false), ["k/kubepods/burstable"]);
        assert_eq!(list("k/kubepods", true), ["k/kubepods/burstable/pod1/x"]);
        assert_eq!(list("nobody", true), [""; 0]);
    }
}
