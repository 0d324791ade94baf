//! Looks at whole trees of cgroups, as the drivers of Docker and Kubernetes lay them out.

use super::{
    id::RuntimeId,
    names::{KnownContainers, bounded},
    *,
};
use crate::fake::FakeMachine;

const PODS: &[u8] = include_bytes!("kubernetes/recorded/pods.json");
const UNUSUAL_PODS: &[u8] = include_bytes!("kubernetes/unusual-pods.json");
const CGROUPS: [&str; 2] = [
    include_str!("kubernetes/recorded/kubelet-1.36-cadvisor.prom"),
    include_str!("kubernetes/recorded/kubelet-1.20-cadvisor.prom"),
];

fn id(digit: char) -> String {
    String::from(digit).repeat(64)
}

fn docker(names: &[(char, &str)]) -> KnownContainers {
    let known = |(digit, name): &(char, &str)| {
        let labels = BTreeMap::from([("app".to_owned(), (*name).to_owned())]);
        let known = Known { name: name.parse().unwrap(), labels: bounded(labels), pod_uids: Vec::new() };
        (RuntimeId::parse(&id(*digit)).unwrap(), known)
    };
    names.iter().map(known).collect()
}

fn book() -> Arc<NameBook> {
    Arc::new(NameBook::new("the engine".to_owned()))
}

/// `name path`, one line each.
fn shown(found: &Found) -> Vec<String> {
    found.containers.iter().map(|(name, seen)| format!("{name} {}", seen.place.path)).collect()
}

#[test]
fn children_are_containers_and_the_rest_is_told() {
    let machine = FakeMachine::v1();
    for path in ["b/geo", "b/rate", "a/geo", "b/-odd", "b/has space"] {
        machine.add(path, "-1");
    }
    let bare = machine.hierarchy().cpu_folder(&CgroupPath::new("b/bare").unwrap());
    std::fs::create_dir(bare).unwrap();
    let mut discovery = Discovery::of_parents(&machine.parents(&["b", "a", "missing"]));
    for _ in 0..2 {
        let found = discovery.look(machine.hierarchy()).unwrap();
        let expected = ["bare b/bare", "geo b/geo", "rate b/rate"];
        assert_eq!(shown(&found), expected, "the first parent wins, and no controller is needed");
        assert_eq!(found.skipped.len(), 3, "{:?}", found.skipped);
        assert!(found.skipped.iter().any(|told| told.contains("a/geo") && told.contains("b/geo")));
        assert!(found.containers.values().all(|seen| seen.about == About::default()));
    }
}

#[test]
fn of_too_many_the_first_are_looked_at_and_the_rest_is_told() {
    let machine = FakeMachine::v2();
    let put =
        |path: &str| std::fs::create_dir_all(machine.hierarchy().cpu_folder(&CgroupPath::new(path).unwrap()));
    (0..MOST_CANDIDATES).for_each(|i| put(&format!("a/c{i}")).unwrap());
    let mut discovery = Discovery::of_parents(&machine.parents(&["a", "b"]));
    let found = discovery.look(machine.hierarchy()).unwrap();
    assert_eq!((found.containers.len(), found.skipped.len()), (MOST_CANDIDATES, 0));
    put("a/d").unwrap();
    put("b/c").unwrap();
    let found = discovery.look(machine.hierarchy()).unwrap();
    assert_eq!(found.containers.len(), MOST_CANDIDATES);
    assert!(found.containers.values().all(|seen| seen.place.path.name().starts_with('c')));
    assert_eq!(found.skipped.len(), 2, "{:?}", found.skipped);
    for (told, parent) in found.skipped.iter().zip(["a", "b"]) {
        assert!(told.contains(&format!("below {parent} are skipped")) && told.contains("10000"), "{told}");
    }
}

#[test]
fn docker_names_its_containers_wherever_they_are() {
    for machine in [FakeMachine::v1(), FakeMachine::v2()] {
        let (a, b, c, d) = (id('a'), id('b'), id('c'), id('d'));
        machine.add(&format!("docker/{a}"), "-1");
        machine.add(&format!("system.slice/docker-{b}.scope"), "-1");
        machine.add("system.slice/ssh.service", "-1");
        machine.add(&format!("shop/{c}"), "-1");
        machine.add("shop/plain", "-1");
        machine.add(&format!("docker/{d}"), "-1");
        let book = book();
        let mut discovery = Discovery::new(&machine.parents(&["shop"]), Some(book.clone()), None);
        let found = discovery.look(machine.hierarchy()).unwrap();
        assert_eq!(shown(&found), ["plain shop/plain"], "nobody knows their names yet");
        assert_eq!(found.unnamed.len(), 4, "{:?}", found.unnamed);

        book.learn(docker(&[('a', "web"), ('b', "db"), ('c', "cache")]));
        let found = discovery.look(machine.hierarchy()).unwrap();
        let paths = [
            format!("cache shop/{c}"),
            format!("db system.slice/docker-{b}.scope"),
            "plain shop/plain".to_owned(),
            format!("web docker/{a}"),
        ];
        assert_eq!(shown(&found), paths);
        let web = &found.containers[&"web".parse::<ContainerName>().unwrap()].about;
        assert_eq!((web.source, web.labels["app"].as_str()), (ContainerSource::Docker, "web"));
        assert_eq!((found.unnamed.len(), found.skipped.len()), (1, 0), "{:?}", found.unnamed);
        assert!(found.unnamed[0].contains(&d) && found.unnamed[0].contains("does not name it"));
    }
}

#[test]
fn without_anybody_to_ask_a_container_is_called_by_its_folder() {
    let machine = FakeMachine::v1();
    machine.add(&format!("docker/{}", id('a')), "-1");
    let found = Discovery::of_parents(&machine.parents(&["docker"])).look(machine.hierarchy()).unwrap();
    assert_eq!(shown(&found), [format!("{0} docker/{0}", id('a'))]);
}

#[test]
fn a_plain_cgroup_cannot_take_the_name_of_a_container_twice() {
    let machine = FakeMachine::v1();
    machine.add("shop/web", "-1");
    machine.add(&format!("docker/{}", id('a')), "-1");
    let book = book();
    book.learn(docker(&[('a', "web")]));
    let mut discovery = Discovery::new(&machine.parents(&["shop"]), Some(book), None);
    let found = discovery.look(machine.hierarchy()).unwrap();
    assert_eq!(shown(&found), ["web shop/web"]);
    assert!(found.skipped[0].contains("its name web is taken by shop/web"), "{:?}", found.skipped);
}

/// A restart under the same name, with the same id (`docker restart`) or a new one (`docker run`).
#[test]
fn a_restarted_container_keeps_its_name_and_is_another() {
    let machine = FakeMachine::v2();
    let path = format!("docker/{}", id('a'));
    machine.add(&path, "-1");
    let book = book();
    book.learn(docker(&[('a', "web")]));
    let mut discovery = Discovery::new(&[], Some(book.clone()), None);
    let mut look = || {
        let found = discovery.look(machine.hierarchy()).unwrap();
        found.containers.into_iter().map(|(name, seen)| (name.to_string(), seen.place)).collect::<Vec<_>>()
    };
    let first = look();
    assert_eq!(first, look());
    machine.replace(&path, "-1");
    let second = look();
    assert_eq!((second[0].0.as_str(), &second[0].1.path), ("web", &first[0].1.path));
    assert_ne!(first[0].1.identity, second[0].1.identity, "an id that is used again is another container");
    machine.remove(&path);
    machine.add(&format!("docker/{}", id('b')), "-1");
    assert!(look().is_empty(), "the engine has not told of the new id");
    book.learn(docker(&[('b', "web")]));
    let third = look();
    assert_eq!((third[0].0.as_str(), third[0].1.path.name()), ("web", id('b').as_str()));
}

/// The same path as systemd's driver lays it out.
fn by_systemd(path: &str) -> String {
    let (pod, id) = path.rsplit_once('/').unwrap();
    let (class, pod) = pod.rsplit_once('/').unwrap();
    let class = class.replace('/', "-");
    let group = if class == "kubepods" { String::new() } else { format!("/{class}.slice") };
    format!("kubepods.slice{group}/{class}-{}.slice/cri-containerd-{id}.scope", pod.replace('-', "_"))
}

/// The cgroups that kubelets 1.20 and 1.36 reported, a static pod's beside them, and the same as systemd lays them out.
#[test]
fn a_node_of_kubernetes_is_found_whole() {
    let etcd = format!("kubepods/burstable/pod0123456789abcdef0123456789abcdef/{}", "1111aaaa".repeat(8));
    let ids = CGROUPS.into_iter().flat_map(|text| text.split("id=\"/").skip(1));
    let paths = ids.map(|rest| rest.split_once('"').unwrap().0.to_owned());
    let is_container = |path: &String| kubernetes::container_of(&CgroupPath::new(path).unwrap()).is_some();
    let recorded: BTreeSet<String> = paths.filter(is_container).chain([etcd]).collect();
    let named = [
        ("default.d1-98f77b9c6-mvdll.c", "dae7036495b8"),
        ("default.d1-98f77b9c6-xf8nz.c", "2c2c5191ede1"),
        ("default.d1-98f77b9c6-xhkht.c", "f3cadad1d351"),
        ("default.p1.c", "a2892b1090a1"),
        ("kube-system.etcd-node1.etcd", "1111aaaa1111"),
    ];
    for layout in [&str::to_owned as &dyn Fn(&str) -> String, &by_systemd] {
        for machine in [FakeMachine::v1(), FakeMachine::v2()] {
            recorded.iter().for_each(|path| machine.add(&layout(path), "-1"));
            let (engine, book) = (book(), book());
            let mut discovery = Discovery::new(&[], Some(engine), Some(book.clone()));
            assert_eq!(discovery.look(machine.hierarchy()).unwrap().unnamed.len(), recorded.len());
            let mut known = kubernetes::read(PODS).unwrap();
            known.extend(kubernetes::read(UNUSUAL_PODS).unwrap());
            book.learn(known);
            let found = discovery.look(machine.hierarchy()).unwrap();
            let path = |id: &str| recorded.iter().find(|path| path.contains(&format!("/{id}"))).unwrap();
            assert_eq!(shown(&found), named.map(|(name, id)| format!("{name} {}", layout(path(id)))));
            assert_eq!(found.unnamed.len(), 4, "the sandboxes: {:?}", found.unnamed);
            assert!(found.skipped.is_empty(), "{:?}", found.skipped);
            assert!(found.containers.values().all(|seen| seen.about.source == ContainerSource::Kubernetes));
            let class = |seen: &Seen| seen.about.told_labels().remove(kubernetes::QOS_LABEL).unwrap();
            let classes: Vec<_> = found.containers.values().map(class).collect();
            assert_eq!(classes, ["Guaranteed", "Guaranteed", "Guaranteed", "Burstable", "Burstable"]);
        }
    }
}

#[test]
fn a_container_in_another_pod_than_the_kubelet_says_is_left_alone() {
    let machine = FakeMachine::v1();
    let recorded = "a2892b1090a111a2bd58b96ef06dd316080b9bee60a9b57be18717883629a1a0";
    machine.add(&format!("kubepods/pod1234/{recorded}"), "-1");
    let book = book();
    book.learn(kubernetes::read(PODS).unwrap());
    let found = Discovery::new(&[], None, Some(book)).look(machine.hierarchy()).unwrap();
    assert!(found.containers.is_empty());
    assert!(found.unnamed[0].contains("not in the pod"), "{:?}", found.unnamed);
}
