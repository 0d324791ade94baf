//! Which of cAdvisor's cgroups are containers of ours, and how each is called.
//!
//! Pure. Must not know what is measured.

use std::borrow::Cow;

use ballast_api::{ContainerName, InvalidName};

/// How containers are found among all cgroups of a machine. A cgroup that no rule takes is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Naming {
    parents: Vec<String>,
    docker: bool,
    kubernetes: bool,
}

/// The labels that names are made from; absent and empty are the same to cAdvisor.
#[derive(Debug, Default)]
pub(super) struct Identity<'a> {
    /// The cgroup's path.
    pub(super) id: Cow<'a, str>,
    /// The container runtime's name.
    pub(super) name: Cow<'a, str>,
    /// The container's name within its pod.
    pub(super) container: Cow<'a, str>,
    /// The pod.
    pub(super) pod: Cow<'a, str>,
    /// The pod's namespace.
    pub(super) namespace: Cow<'a, str>,
}

impl Naming {
    /// Plain cgroups: the children of these cgroups (paths such as `/ballast`), called by their folder's name, as the
    /// env-server calls them.
    #[must_use]
    pub fn children_of<P: AsRef<str>>(parents: impl IntoIterator<Item = P>) -> Self {
        let parents =
            parents.into_iter().map(|path| format!("/{}", path.as_ref().trim_matches('/'))).collect();
        Self { parents, ..Self::default() }
    }

    /// Docker's containers too, by the name that Docker gave them.
    #[must_use]
    pub fn and_docker(self) -> Self {
        Self { docker: true, ..self }
    }

    /// Kubernetes' containers too, called `namespace.pod.container`: of the three only a pod's name may hold a dot, so
    /// no two containers share a name. Needs the kubelet's labels; one that leaves `container` empty (seen with
    /// containerd) has its containers found by [`Naming::children_of`] the pod's cgroup only.
    #[must_use]
    pub fn and_kubernetes(self) -> Self {
        Self { kubernetes: true, ..self }
    }

    /// The name of this cgroup's container; `None` when it is not ours.
    ///
    /// # Errors
    /// When it is ours, but its name is none that Ballast accepts.
    pub(super) fn name(&self, cgroup: &Identity<'_>) -> Option<Result<ContainerName, InvalidName>> {
        if let Some(child) = self.child(&cgroup.id) {
            return Some(ContainerName::new(child));
        }
        // A pod's sandbox is called POD by dockershim and nothing by containerd; it does no work of its own.
        if self.kubernetes && !cgroup.container.is_empty() && cgroup.container != "POD" {
            let Identity { namespace, pod, container, .. } = cgroup;
            return Some(ContainerName::in_pod(namespace, pod, container));
        }
        let in_pod = !cgroup.pod.is_empty() || !cgroup.container.is_empty();
        (self.docker && !in_pod && !cgroup.name.is_empty()).then(|| ContainerName::new(cgroup.name.as_ref()))
    }

    fn child<'a>(&self, id: &'a str) -> Option<&'a str> {
        let (parent, child) = id.rsplit_once('/')?;
        let parent = if parent.is_empty() { "/" } else { parent };
        (!child.is_empty() && self.parents.iter().any(|one| one == parent)).then_some(child)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(naming: &Naming, identity: &Identity<'_>) -> Option<String> {
        naming.name(identity).map(|name| name.unwrap().to_string())
    }

    fn plain(id: &str) -> Identity<'_> {
        Identity { id: id.into(), ..Identity::default() }
    }

    #[test]
    fn children_of_the_parents_are_ours_and_nobody_else() {
        for written in ["/ballast", "ballast", "/ballast/"] {
            let naming = Naming::children_of([written]);
            assert_eq!(named(&naming, &plain("/ballast/geo")).as_deref(), Some("geo"));
            for other in ["/", "", "/ballast", "/ballast/", "/ballast/geo/worker", "/ballast2/geo", "geo"] {
                assert_eq!(named(&naming, &plain(other)), None, "{other}");
            }
        }
        assert_eq!(named(&Naming::children_of(["/"]), &plain("/geo")).as_deref(), Some("geo"));
    }

    #[test]
    fn a_child_whose_name_is_none_is_told() {
        assert!(Naming::children_of(["/b"]).name(&plain("/b/a b")).unwrap().is_err());
    }

    #[test]
    fn docker_and_kubernetes_name_their_containers_where_asked() {
        let docker = Identity { id: "/docker/ab".into(), name: "web".into(), ..Identity::default() };
        let app = Identity {
            id: "/kubepods/podx/ab".into(),
            name: "k8s_app_shop_0".into(),
            container: "app".into(),
            pod: "shop-1.a".into(),
            namespace: "default".into(),
        };
        let sandbox =
            Identity { container: "POD".into(), pod: "shop-1".into(), name: "k8s_POD".into(), ..plain("/k") };
        let both = Naming::default().and_docker().and_kubernetes();
        assert_eq!(named(&both, &docker).as_deref(), Some("web"));
        assert_eq!(named(&both, &app).as_deref(), Some("default.shop-1.a.app"));
        assert_eq!(named(&both, &sandbox), None);
        assert_eq!(named(&Naming::default().and_docker(), &app), None);
        assert_eq!(named(&Naming::default(), &docker), None);
    }
}
