//! Where an injection is: in a container's cgroup, beside it, or on the node as a whole.
//!
//! Must not know what the load is.

use ballast_kernel::{CgroupPath, CgroupTree, Hierarchy};
use clap::Args;

use crate::{error::InjectorError, target::Target, undo::Undo};

/// Exactly one of these is given.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// In this cgroup, so that its own limits are fought over: a path below the root of the hierarchy, such as
    /// ballast-demo/geo
    #[arg(long, value_name = "CGROUP")]
    pub target: Option<CgroupPath>,
    /// Beside this cgroup: on the processors that its processes may use, and in none of its limits
    #[arg(long, value_name = "CGROUP")]
    pub beside: Option<CgroupPath>,
    /// On the node as a whole, whoever it meets
    #[arg(long)]
    pub node: bool,
}

/// Of what is done to a container itself, and so is nowhere else.
#[derive(Debug, Clone, Args)]
pub struct Within {
    /// This cgroup: a path below the root of the hierarchy, such as ballast-demo/geo
    #[arg(long, value_name = "CGROUP")]
    pub target: CgroupPath,
}

impl From<Within> for Place {
    fn from(Within { target }: Within) -> Self {
        Self { target: Some(target), beside: None, node: false }
    }
}

impl Place {
    /// The container concerned; absent for the whole node.
    ///
    /// # Errors
    /// When there is none at that path.
    pub fn find(&self, hierarchy: &Hierarchy) -> Result<Option<Target>, InjectorError> {
        match (&self.target, &self.beside) {
            (Some(path), _) => Target::find(hierarchy, path).map(Some),
            (None, Some(path)) => Target::find_beside(hierarchy, path).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Whether it is inside of the container.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.target.is_some()
    }

    /// One word: `inside`, `beside` or `node`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (&self.target, &self.beside) {
            (Some(_), _) => "inside",
            (None, Some(_)) => "beside",
            (None, None) => "node",
        }
    }
}

/// A cgroup made for one injection that is not in a container's.
#[derive(Debug)]
pub(crate) struct Camp {
    path: String,
}

impl Camp {
    /// That of the injection `id`. Nothing is made yet.
    pub(crate) fn of(id: &str) -> Self {
        Self { path: format!("ballast-injection-{id}") }
    }

    pub(crate) fn undo(&self) -> Undo {
        Undo::RemoveCgroup { cgroup: self.path.clone() }
    }

    /// Makes the cgroup, and moves a process into it.
    pub(crate) fn make_for(&self, hierarchy: &Hierarchy, pid: u32) -> Result<(), InjectorError> {
        Ok(CgroupTree::new(hierarchy.clone()).create(&self.path)?.attach(pid)?)
    }
}
