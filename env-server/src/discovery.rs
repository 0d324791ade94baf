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
use ballast_kernel::{CgroupPath, Hierarchy, KernelError};
use tracing::info;

use kubernetes::Qos;
use names::{Known, NameBook, OpenBook};
use plain::Root;

/// How many cgroups a look takes for candidates at most. Those that come first, by their parents and names, stay: a
/// machine with more than that has been filled with them.
const MOST_CANDIDATES: usize = 10_000;

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
    /// The class of its pod, as its path says; absent where it is in none.
    pub qos: Option<Qos>,
}

impl About {
    /// The labels, with the class of the pod as [`kubernetes::QOS_LABEL`].
    #[must_use]
    pub fn told_labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::clone(&self.labels);
        labels.extend(self.qos.map(|qos| (kubernetes::QOS_LABEL.to_owned(), qos.to_string())));
        labels
    }
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
        Self { roots, docker, kubernetes, unnamed: BTreeSet::new() }
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
        self.say_unnamed(found.unnamed.iter().cloned().collect());
        Ok(found)
    }

    fn find(&self, hierarchy: &Hierarchy) -> Result<Found, KernelError> {
        let mut look = Look {
            docker: self.docker.as_deref().map(NameBook::open),
            kubernetes: self.kubernetes.as_deref().map(NameBook::open),
            found: Found::default(),
        };
        let mut room = MOST_CANDIDATES;
        for root in &self.roots {
            let candidates = plain::candidates(hierarchy, &root.path, self.kubernetes.is_some())?;
            if candidates.len() > room {
                look.found.skipped.push(too_many(&root.path));
            }
            let candidates = candidates.into_iter().take(room);
            room -= candidates.len();
            for candidate in candidates {
                match candidate {
                    Ok(place) => look.consider(place, root.takes_all),
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

/// Without a number, which would be news at every look.
fn too_many(root: &CgroupPath) -> String {
    format!(
        "cgroups below {root} are skipped: there are more than {MOST_CANDIDATES} in all, of which the first are looked at; \
         remove those that nobody needs, or name fewer parents"
    )
}

/// One look.
struct Look<'a> {
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
    fn consider(&mut self, place: Place, takes_all: bool) {
        let path = &place.path;
        match self.name(path, takes_all) {
            Ok(Some((name, about))) => self.take(name, about, place),
            // Not a container at all.
            Ok(None) => {}
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
            return Ok(Some((name, About { source: ContainerSource::Docker, labels, qos: None })));
        }
        if !takes_all {
            return Ok(None);
        }
        let name = ContainerName::new(path.name()).map_err(|error| Left::Skipped(error.to_string()))?;
        Ok(Some((name, About::default())))
    }

    /// A container is there as long as its cgroup is, whatever can be limited of it.
    fn take(&mut self, name: ContainerName, about: About, place: Place) {
        match self.found.containers.get(&name) {
            Some(first) if first.place.path == place.path => {}
            Some(first) => {
                let reason = format!("its name {name} is taken by {}", first.place.path);
                self.found.skipped.push(format!("{} is skipped: {reason}", place.path));
            }
            None => {
                self.found.containers.insert(name, Seen { place, about });
            }
        }
    }
}

fn named_in_pod(
    book: &mut OpenBook<'_>,
    in_pod: &kubernetes::InPod,
) -> Result<(ContainerName, About), String> {
    let Known { name, labels, pod_uids } = book.find(&in_pod.id).map_err(|reason| {
        format!("{reason}; a pod's sandbox never is, a container that just began will be")
    })?;
    if !pod_uids.contains(&in_pod.pod_uid) {
        return Err(format!("it is not in the pod that {name} is in"));
    }
    Ok((name, About { source: ContainerSource::Kubernetes, labels, qos: Some(in_pod.qos) }))
}

#[cfg(test)]
mod tests;
