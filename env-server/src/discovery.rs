//! Which containers there are: the children of the configured cgroup parents, and the containers of Docker and
//! Kubernetes, by the names that these gave them.
//!
//! Looks only, and asks nobody; must not know what is lent to them.

pub mod docker;
mod fetch;
pub mod id;
pub mod kubernetes;
pub mod names;
pub mod plain;
pub mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ballast_api::{ContainerName, ContainerSource};
use ballast_kernel::{CgroupPath, CpuControl, Hierarchy, KernelError};
use tracing::info;

use names::{Known, NameBook, OpenBook};
use plain::Root;

/// A container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where it is.
    pub path: CgroupPath,
    /// Tells it from a later cgroup of the same path.
    pub identity: u64,
}

/// What its maker says about a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Who made it.
    pub source: ContainerSource,
    /// Within bounds.
    pub labels: Arc<BTreeMap<String, String>>,
}

/// A container that a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its cgroup.
    pub place: Place,
    /// More about it.
    pub about: About,
}

/// What a look at the cgroups showed.
#[derive(Debug, Default)]
pub struct Found {
    /// The containers.
    pub containers: BTreeMap<ContainerName, Seen>,
    /// Cgroups that cannot be containers of ours, with the reason, one sentence each.
    pub skipped: Vec<String>,
    /// Cgroups that Docker or Kubernetes made and (so far) does not name, with the reason, one sentence each.
    pub unnamed: Vec<String>,
}

/// Looks for containers, again and again.
#[derive(Debug)]
pub struct Discovery {
    roots: Vec<Root>,
    docker: Option<Arc<NameBook>>,
    kubernetes: Option<Arc<NameBook>>,
    /// Cgroups that have the CPU controller. A look is cheap because it does not read their limits again.
    proven: BTreeMap<CgroupPath, u64>,
    /// What the last look left unnamed.
    unnamed: BTreeSet<String>,
}

impl Discovery {
    /// Looks below `parents`, and, where there is a book of names, for the containers of Docker and Kubernetes.
    #[must_use]
    pub fn new(
        parents: &[CgroupPath],
        docker: Option<Arc<NameBook>>,
        kubernetes: Option<Arc<NameBook>>,
    ) -> Self {
        let roots = plain::roots(parents, docker.is_some(), kubernetes.is_some());
        Self { roots, docker, kubernetes, proven: BTreeMap::new(), unnamed: BTreeSet::new() }
    }

    /// Looks below these parents only, and calls containers by their folders.
    #[must_use]
    pub fn of_parents(parents: &[CgroupPath]) -> Self {
        Self::new(parents, None, None)
    }

    /// Looks around. Of two with the same name, that of the earlier parent counts.
    ///
    /// # Errors
    /// When a folder exists and cannot be listed.
    pub fn look(&mut self, hierarchy: &Hierarchy) -> Result<Found, KernelError> {
        let found = self.find(hierarchy)?;
        let places = found.containers.values().map(|seen| &seen.place);
        self.proven = places.map(|place| (place.path.clone(), place.identity)).collect();
        self.say_unnamed(found.unnamed.iter().cloned().collect());
        Ok(found)
    }

    fn find(&self, hierarchy: &Hierarchy) -> Result<Found, KernelError> {
        let mut look = Look {
            hierarchy,
            proven: &self.proven,
            docker: self.docker.as_deref().map(NameBook::open),
            kubernetes: self.kubernetes.as_deref().map(NameBook::open),
            found: Found::default(),
        };
        for root in &self.roots {
            for candidate in plain::candidates(hierarchy, &root.path, self.kubernetes.is_some())? {
                match candidate {
                    Ok(path) => look.consider(&path, root.takes_all),
                    Err(error) if root.takes_all => look.found.skipped.push(error.to_string()),
                    Err(_) => {}
                }
            }
        }
        Ok(look.found)
    }

    fn say_unnamed(&mut self, unnamed: BTreeSet<String>) {
        unnamed.difference(&self.unnamed).for_each(|sentence| info!("{sentence}"));
        self.unnamed = unnamed;
    }
}

/// One look.
struct Look<'a> {
    hierarchy: &'a Hierarchy,
    proven: &'a BTreeMap<CgroupPath, u64>,
    docker: Option<OpenBook<'a>>,
    kubernetes: Option<OpenBook<'a>>,
    found: Found,
}

/// Why a cgroup is no container of ours, as the end of a sentence.
enum Left {
    /// It could not be one.
    Skipped(String),
    /// Its maker does not name it.
    Unnamed(String),
}

impl Look<'_> {
    fn consider(&mut self, path: &CgroupPath, takes_all: bool) {
        match self.name(path, takes_all).and_then(|named| Ok((named, self.place(path)?))) {
            // Not a container at all, or one that went away between the listing and the look.
            Ok((None, _) | (_, None)) => {}
            Ok((Some((name, about)), Some(place))) => match self.found.containers.get(&name) {
                Some(first) if first.place.path == *path => {}
                Some(first) => {
                    let reason = format!("its name {name} is taken by {}", first.place.path);
                    self.found.skipped.push(format!("{path} is skipped: {reason}"));
                }
                None => drop(self.found.containers.insert(name, Seen { place, about })),
            },
            Err(Left::Skipped(reason)) => self.found.skipped.push(format!("{path} is skipped: {reason}")),
            Err(Left::Unnamed(reason)) => self.found.unnamed.push(format!("{path} is left alone: {reason}")),
        }
    }

    /// How the container is called whose cgroup this is; none for what is no container.
    fn name(&mut self, path: &CgroupPath, takes_all: bool) -> Result<Option<(ContainerName, About)>, Left> {
        if let Some(book) = &mut self.kubernetes
            && let Some(in_pod) = kubernetes::container_of(path)
        {
            return named_in_pod(book, &in_pod).map(Some).map_err(Left::Unnamed);
        }
        if let Some(book) = &mut self.docker
            && let Some(id) = docker::container_of(path)
        {
            let Known { name, labels, .. } = book.find(&id).map_err(Left::Unnamed)?;
            return Ok(Some((name, About { source: ContainerSource::Docker, labels })));
        }
        if !takes_all {
            return Ok(None);
        }
        let name = ContainerName::new(path.name()).map_err(|error| Left::Skipped(error.to_string()))?;
        Ok(Some((name, About::default())))
    }

    /// The cgroup as it is now; none when it is gone.
    fn place(&self, path: &CgroupPath) -> Result<Option<Place>, Left> {
        let Some(identity) = self.hierarchy.identity(path) else { return Ok(None) };
        let place = Place { path: path.clone(), identity };
        if self.proven.get(path) == Some(&identity) {
            return Ok(Some(place));
        }
        match CpuControl::new(self.hierarchy, path).limit() {
            Ok(_) => Ok(Some(place)),
            Err(_) if self.hierarchy.identity(path) != Some(identity) => Ok(None),
            Err(error) if error.is_gone() => {
                Err(Left::Skipped(format!("{error}: its parent does not hand the CPU controller down")))
            }
            Err(error) => Err(Left::Skipped(error.to_string())),
        }
    }
}

fn named_in_pod(
    book: &mut OpenBook<'_>,
    in_pod: &kubernetes::InPod,
) -> Result<(ContainerName, About), String> {
    let Known { name, labels, pod_uid } = book.find(&in_pod.id).map_err(|reason| {
        format!("{reason}; a pod's sandbox never is, a container that just began will be")
    })?;
    if pod_uid.as_ref() != Some(&in_pod.pod_uid) {
        return Err(format!("it is not in the pod that {name} is in"));
    }
    Ok((name, About { source: ContainerSource::Kubernetes, labels }))
}

#[cfg(test)]
mod tests;
