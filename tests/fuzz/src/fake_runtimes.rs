//! Control groups that Docker and the kubelet made, looked at with whatever these say of them.
//!
//! Must not know how answers are read.

use std::sync::Arc;

use ballast_env_server::discovery::{
    Discovery,
    names::{KnownContainers, NameBook},
};
use ballast_kernel::Hierarchy;
use tempfile::TempDir;

use crate::files::{self, Files};

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Docker,
    Kubelet,
}

/// Where containers are: `ID` stands for one digit of an id as often as an id has digits, a `POD` for a pod's uid.
const DOCKER: [&str; 3] = ["docker/aID", "docker/bID", "system.slice/docker-cID.scope"];
const PODS: [&str; 3] = [
    "kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/aID",
    "kubepods/pod0123456789abcdef0123456789abcdef/bID",
    "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod01234567_89ab_cdef_0123_456789abcdef.slice/\
     cri-containerd-cID.scope",
];

/// More than this of a container's labels is not kept: their number, the length of a key, and that of a value.
const MOST_OF_LABELS: (usize, usize, usize) = (64, 317, 512);

pub(crate) struct FakeRuntimes {
    folder: TempDir,
    hierarchy: Hierarchy,
    own: Files,
}

impl FakeRuntimes {
    pub(crate) fn new() -> Self {
        let folder = files::folder();
        let root = folder.path().join("cgroup");
        for container in DOCKER.iter().chain(&PODS) {
            let group = root.join(with_id(container));
            files::put(&group.join("cpu.cfs_quota_us"), b"-1\n");
            files::put(&group.join("cpu.cfs_period_us"), b"100000\n");
        }
        let mountinfo = folder.path().join("mountinfo");
        let line = format!("1 0 0:1 / {} rw - cgroup x rw,cpu,cpuacct\n", root.display());
        files::put(&mountinfo, line.as_bytes());
        let hierarchy = Hierarchy::find(&mountinfo).unwrap();
        let own = files::below(folder.path());
        Self { folder, hierarchy, own }
    }

    /// Every cgroup is a container by a name that was answered, or is told; none is touched.
    pub(crate) fn look_with(&self, runtime: Runtime, known: &KnownContainers) {
        let (most, longest_key, longest_value) = MOST_OF_LABELS;
        for known in known.values() {
            assert!(known.labels.len() <= most, "{} labels", known.labels.len());
            let is_bounded =
                |(key, value): (&String, &String)| key.len() <= longest_key && value.len() <= longest_value;
            assert!(known.labels.iter().all(is_bounded), "{known:?}");
        }
        let book = Arc::new(NameBook::new("the fuzzer".to_owned()));
        book.learn(known.clone());
        let (cgroups, mut discovery) = match runtime {
            Runtime::Docker => (DOCKER, Discovery::new(&[], Some(book), None)),
            Runtime::Kubelet => (PODS, Discovery::new(&[], None, Some(book))),
        };
        let found = discovery.look(&self.hierarchy).unwrap();
        for (name, seen) in &found.containers {
            let path = seen.place.path.as_str();
            assert!(known.values().any(|known| known.name == *name), "nobody said {name}");
            assert!(cgroups.iter().any(|cgroup| with_id(cgroup) == path), "{path} is no container's");
        }
        let told = found.containers.len() + found.skipped.len() + found.unnamed.len();
        assert_eq!(told, cgroups.len(), "{found:?}");
        let after = files::below(self.folder.path());
        files::assert_untouched(&self.own, &after, |_| false, &"a look");
    }
}

/// The path with the id's digit repeated.
fn with_id(path: &str) -> String {
    let (front, behind) = path.split_once("ID").unwrap();
    let (above, digit) = front.split_at(front.len() - 1);
    format!("{above}{}{behind}", digit.repeat(64))
}
