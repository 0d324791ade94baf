//! How long a look for containers takes, which every request waits for: a hundred of them on real cgroups where this is
//! root, otherwise on folders in a temporary one, which it says.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use ballast_api::ContainerName;
use ballast_env_server::discovery::{
    Discovery,
    id::RuntimeId,
    names::{Known, KnownContainers, NameBook, bounded},
};
use ballast_kernel::{Cgroup, CgroupPath, CgroupTree, Hierarchy};
use divan::Bencher;

const CONTAINERS: usize = 100;
const POD: &str = "0a1b2c3d";

fn main() {
    divan::main();
}

/// Docker's, below one parent.
#[divan::bench]
fn env_server_look_docker(bencher: Bencher<'_, '_>) {
    look(bencher, |i| vec![id(i)]);
}

/// Kubernetes', each in a pod with its sandbox.
#[divan::bench]
fn env_server_look_pods(bencher: Bencher<'_, '_>) {
    look(bencher, |i| {
        let pod = format!("kubepods/burstable/pod{POD}-{i:04x}");
        vec![format!("{pod}/{}", id(i)), format!("{pod}/{}", id(i + CONTAINERS))]
    });
}

fn id(i: usize) -> String {
    format!("{i:064x}")
}

/// Measures looks at a parent that holds these groups of each container; the first of them is the container's.
fn look(bencher: Bencher<'_, '_>, groups: impl Fn(usize) -> Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<String> = (0..CONTAINERS).flat_map(&groups).collect();
    let (hierarchy, parent, cgroup) = machine(folder.path(), &all);
    let in_pods = all.len() > CONTAINERS;
    let book = Arc::new(NameBook::new("the bench".to_owned()));
    book.learn((0..CONTAINERS).map(|i| known(i, in_pods)).collect::<KnownContainers>());
    let root = if in_pods { parent.child("kubepods").unwrap() } else { parent };
    let (docker, kubernetes) = if in_pods { (None, Some(book)) } else { (Some(book), None) };
    let mut discovery = Discovery::new(&[root], docker, kubernetes);
    assert_eq!(discovery.look(&hierarchy).unwrap().containers.len(), CONTAINERS);
    bencher.bench_local(|| discovery.look(&hierarchy).unwrap());
    if let Some(cgroup) = cgroup {
        cgroup.remove().unwrap();
    }
}

fn known(i: usize, in_pods: bool) -> (RuntimeId, Known) {
    let labels = (0..10).map(|label| (format!("label-{label}"), "x".repeat(20))).collect::<BTreeMap<_, _>>();
    let name = ContainerName::new(format!("c{i}")).unwrap();
    let pod_uids = in_pods.then(|| format!("{POD}-{i:04x}")).into_iter().collect();
    (RuntimeId::parse(&id(i)).unwrap(), Known { name, labels: bounded(labels), pod_uids })
}

fn machine(folder: &Path, groups: &[String]) -> (Hierarchy, CgroupPath, Option<Cgroup>) {
    let real = Hierarchy::find(Path::new("/proc/self/mountinfo")).map(CgroupTree::new).and_then(|tree| {
        let parent = tree.create(&format!("ballast-bench-look-{}", std::process::id()))?;
        for group in groups {
            tree.create(parent.path().child(group)?.as_str())?;
        }
        Ok((tree.hierarchy().clone(), parent.path().clone(), Some(parent)))
    });
    real.unwrap_or_else(|error| {
        eprintln!("no real cgroups ({error}): measuring on folders in a temporary one");
        let root = folder.join("cgroup");
        for group in groups {
            let group = root.join("p").join(group);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("cpu.max"), "max 100000\n").unwrap();
        }
        fs::write(root.join("cgroup.controllers"), "cpu\n").unwrap();
        let mountinfo = folder.join("mountinfo");
        fs::write(&mountinfo, format!("1 0 0:1 / {} rw - cgroup2 x rw\n", root.display())).unwrap();
        (Hierarchy::find(&mountinfo).unwrap(), CgroupPath::new("p").unwrap(), None)
    })
}
