//! Where a cgroup is, below the root of every hierarchy.
//!
//! Pure: a path that is valid cannot leave the root, whether the cgroup exists or not.

use std::{fmt, path::Path, str::FromStr};

use crate::error::KernelError;

/// The kernel's bound on the name of a folder, in bytes.
const MAX_COMPONENT_BYTES: usize = 255;

/// A relative path such as `docker/3f2a9c`: at least one component, each a plain folder name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupPath(String);

fn broken_rule(component: &str) -> Option<&'static str> {
    if component.is_empty() {
        Some("it must be relative, without empty parts: write a/b, not /a/b or a//b")
    } else if component == "." || component == ".." {
        Some("'.' and '..' are not allowed")
    } else if component.len() > MAX_COMPONENT_BYTES {
        Some("a part is longer than 255 bytes")
    } else if !component.chars().all(|c| c.is_ascii_graphic()) {
        Some("only printable ASCII characters without spaces are allowed")
    } else {
        None
    }
}

impl CgroupPath {
    /// Checks and takes a path.
    ///
    /// # Errors
    /// [`KernelError::InvalidPath`] when it is empty or absolute, or a part of it is no plain name.
    pub fn new(text: &str) -> Result<Self, KernelError> {
        match text.split('/').find_map(broken_rule) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(KernelError::InvalidPath { text: text.chars().take(80).collect(), reason }),
        }
    }

    /// The cgroup `name` in this one.
    ///
    /// # Errors
    /// [`KernelError::InvalidPath`] when `name` is no plain name.
    pub fn child(&self, name: &str) -> Result<Self, KernelError> {
        Self::new(&format!("{}/{name}", self.0))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// This path's proper ancestors, outermost first, as relative paths.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &Path> {
        self.0.match_indices('/').map(|(end, _)| Path::new(&self.0[..end]))
    }
}

impl AsRef<Path> for CgroupPath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for CgroupPath {
    type Err = KernelError;
    fn from_str(text: &str) -> Result<Self, KernelError> {
        Self::new(text)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_paths_that_could_leave_the_root() {
        for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a b", "a\0", "a\nb", "é"] {
            assert!(CgroupPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(CgroupPath::new(&"x".repeat(256)).is_err());
    }

    #[test]
    fn accepts_what_docker_kubernetes_and_systemd_make() {
        for good in ["docker/3f2a", "kubepods/burstable/pod1-2/ab", "system.slice/cri-x:a@1\\x2d.scope"] {
            assert_eq!(CgroupPath::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn knows_its_name_child_and_ancestors() {
        let path = CgroupPath::new("a/b").unwrap().child("c").unwrap();
        assert_eq!(path.name(), "c");
        assert_eq!(path.ancestors().collect::<Vec<_>>(), [Path::new("a"), Path::new("a/b")]);
        assert!(path.child("../d").is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_path_has_only_normal_components(text in "[a./\\\\ -]{0,8}") {
            if let Ok(path) = CgroupPath::new(&text) {
                let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
                prop_assert!(Path::new(path.as_str()).components().all(normal));
            }
        }
    }
}
