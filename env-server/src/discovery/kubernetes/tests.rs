//! Paths of both drivers, and a kubelet's answer, against what they mean.

use proptest::prelude::*;

use super::*;

const ID: &str = "a2892b1090a111a2bd58b96ef06dd316080b9bee60a9b57be18717883629a1a0";
const UID: &str = "a2975b5f-4979-480e-90c1-f255a0c2c498";

fn found(path: &str) -> Option<InPod> {
    container_of(&CgroupPath::new(path).unwrap())
}

#[test]
fn both_drivers_all_classes_and_any_root_are_known() {
    let under = UID.replace('-', "_");
    for (path, qos) in [
        (format!("kubepods/pod{UID}/{ID}"), Qos::Guaranteed),
        (format!("kubepods/burstable/pod{UID}/{ID}"), Qos::Burstable),
        (format!("kubepods/besteffort/pod{UID}/crio-{ID}"), Qos::BestEffort),
        (format!("kubelet/kubepods/burstable/pod{UID}/{ID}"), Qos::Burstable),
        (format!("kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{ID}.scope"), Qos::Guaranteed),
        (
            format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/crio-{ID}.scope"
            ),
            Qos::Burstable,
        ),
        (
            format!(
                "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
                 kubelet-kubepods-besteffort-pod{under}.slice/docker-{ID}.scope"
            ),
            Qos::BestEffort,
        ),
    ] {
        let in_pod = found(&path).unwrap_or_else(|| panic!("{path} is a container's"));
        assert_eq!((in_pod.id.as_str(), in_pod.pod_uid.as_str(), in_pod.qos), (ID, UID, qos), "{path}");
    }
    let statics = found(&format!("kubepods/burstable/pod0123456789abcdef0123456789abcdef/{ID}")).unwrap();
    assert_eq!(statics.pod_uid, "0123456789abcdef0123456789abcdef", "a static pod");
}

#[test]
fn what_is_no_container_in_a_pod_is_none() {
    for path in [
        format!("docker/{ID}"),
        format!("kubepods/{ID}"),
        format!("kubepods/burstable/{ID}"),
        format!("kubepods/burstable/pod{UID}"),
        format!("kubepods/burstable/pod{UID}/{ID}/init"),
        format!("shop/pod{UID}/{ID}"),
        format!("kubepods/podium/{ID}"),
        format!("kubepods/pod/{ID}"),
        format!("kubepods.slice/kubepods-pod{UID}.slice/crio-conmon-{ID}.scope"),
        format!("kubepods.slice/shop-pod{UID}.slice/cri-containerd-{ID}.scope"),
    ] {
        assert_eq!(found(&path), None, "{path}");
    }
}

#[test]
fn groups_of_pods_are_entered_and_nothing_else() {
    let holds = |path: &str| holds_pods(&CgroupPath::new(path).unwrap());
    for path in [
        "kubepods/burstable",
        "x/kubepods/besteffort",
        "kubepods/pod1a",
        "kubepods.slice/kubepods-burstable.slice",
        "kubepods.slice/kubepods-pod1_2.slice",
    ] {
        assert!(holds(path), "{path}");
    }
    for path in
        ["kubepods", "kubepods.slice", "burstable", "shop/burstable", "system.slice/x.slice", "kubepods/x"]
    {
        assert!(!holds(path), "{path}");
    }
}

const RECORDED: [&str; 2] = [
    include_str!("recorded/kubelet-1.36-cadvisor.prom"),
    include_str!("recorded/kubelet-1.20-cadvisor.prom"),
];

/// What a metric tells of each cgroup: `("id", "namespace", "pod")`.
fn recorded(metric: &str) -> Vec<(CgroupPath, String, String)> {
    let lines = RECORDED.into_iter().flat_map(str::lines);
    let of_metric = lines.filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{')));
    let label = |line: &str, label: &str| {
        let (_, value) = line.split_once(&format!("{label}=\"")).unwrap();
        value.split_once('"').unwrap().0.to_owned()
    };
    let told = |line: &str| {
        let path = CgroupPath::new(label(line, "id").trim_start_matches('/')).unwrap();
        (path, label(line, "namespace"), label(line, "pod"))
    };
    of_metric.map(told).collect()
}

#[test]
fn the_answer_names_the_containers_that_were_recorded_and_no_sandbox() {
    let known = read(include_bytes!("recorded/pods.json")).unwrap();
    let with_a_quota = recorded("container_spec_cpu_quota");
    let containers: Vec<_> = with_a_quota.iter().filter_map(|(path, ..)| container_of(path)).collect();
    assert_eq!((containers.len(), known.len()), (4, 4));
    for in_pod in &containers {
        let of_pod = |path: &CgroupPath| path.name() == format!("pod{}", in_pod.pod_uid);
        let (_, namespace, pod) = with_a_quota.iter().find(|(path, ..)| of_pod(path)).unwrap();
        let Known { name, pod_uids, .. } = &known[&in_pod.id];
        assert_eq!(
            (name.as_str(), pod_uids.as_slice()),
            (&*format!("{namespace}.{pod}.c"), std::slice::from_ref(&in_pod.pod_uid))
        );
    }
    let all: Vec<_> =
        recorded("container_spec_cpu_shares").iter().filter_map(|(p, ..)| container_of(p)).collect();
    assert_eq!(all.iter().filter(|in_pod| !known.contains_key(&in_pod.id)).count(), 4, "a sandbox for each");

    let summary: serde_json::Value =
        serde_json::from_str(include_str!("recorded/kubelet-1.36-stats-summary.json")).unwrap();
    let pod = &summary["pods"][0];
    let part = |of: &serde_json::Value, key: &str| of[key].as_str().unwrap().to_owned();
    let [uid, namespace, name] = ["uid", "namespace", "name"].map(|key| part(&pod["podRef"], key));
    let name = format!("{namespace}.{name}.{}", part(&pod["containers"][0], "name"));
    assert!(known.values().any(|known| known.name.as_str() == name && known.pod_uids == [uid.as_str()]));
}

/// Written by hand in the form of the core/v1 API: what no recorded pod had.
#[test]
fn init_containers_static_pods_and_labels_are_known() {
    let known = read(include_bytes!("unusual-pods.json")).unwrap();
    let names: BTreeMap<_, _> = known.iter().map(|(id, known)| (known.name.as_str(), id.short())).collect();
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        [
            ("kube-system.etcd-node1.etcd", "1111aaaa1111"),
            ("shop.geo-5c7.app", "3333cccc3333"),
            ("shop.geo-5c7.migrate", "2222bbbb2222"),
        ],
        "what did not start yet has no id"
    );
    let geo = &known[&RuntimeId::parse(&"3333cccc".repeat(8)).unwrap()];
    assert_eq!(geo.pod_uids, ["22222222-2222-4333-8444-555555555555"]);
    assert_eq!(
        (geo.labels["app"].as_str(), geo.labels["io.kubernetes.pod.name"].as_str()),
        ("geo", "geo-5c7")
    );
    let etcd = known.values().find(|known| known.name.as_str().ends_with("etcd")).unwrap();
    let uids = ["11111111-2222-4333-8444-555555555555", "0123456789abcdef0123456789abcdef"];
    assert_eq!(etcd.pod_uids, uids, "its cgroup is called as the second");
}

#[test]
fn a_pods_author_does_not_choose_who_it_is() {
    let crowd: String = (0..100).map(|i| format!(r#""a{i:03}": "", "#)).collect();
    for crowd in ["", &crowd] {
        let answer = format!(
            r#"{{"kind": "PodList", "items": [{{
                "metadata": {{
                    "name": "p", "namespace": "mine", "uid": "{UID}",
                    "annotations": {{"kubernetes.io/config.hash": "0123456789abcdef0123456789abcdef"}},
                    "labels": {{{crowd}
                        "io.kubernetes.pod.namespace": "kube-system", "io.kubernetes.pod.name": "etcd",
                        "io.kubernetes.container.name": "etcd"}}}},
                "status": {{"containerStatuses": [{{"name": "c", "containerID": "containerd://{ID}"}}]}}}}]}}"#
        );
        let known = read(answer.as_bytes()).unwrap();
        let Known { labels, pod_uids, .. } = &known[&RuntimeId::parse(ID).unwrap()];
        let told = ["pod.namespace", "pod.name", "container.name"];
        assert_eq!(told.map(|key| &*labels[&format!("io.kubernetes.{key}")]), ["mine", "p", "c"]);
        assert!(pod_uids.iter().any(|uid| uid == UID), "its cgroup goes by its uid, whatever it writes");
    }
}

#[test]
fn other_answers_are_refused_and_an_empty_node_is_none() {
    assert!(read(br#"{"kind":"PodList","items":null}"#).unwrap().is_empty());
    for (answer, told) in
        [("[]", "not a list of pods"), ("{\"kind\":\"Status\",\"items\":[]}", "a Status"), ("", "not a list")]
    {
        assert!(read(answer.as_bytes()).unwrap_err().contains(told), "{answer}");
    }
}

/// Parts that paths of pods are made of, right and wrong.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("kubepods".to_owned()),
        Just("burstable".to_owned()),
        "(kubepods|x)?(\\.slice|-burstable)?(-pod[0-9a-f_]{0,5})?(\\.slice)?",
        "pod[0-9a-fg-]{0,8}",
        "(crio-|cri-containerd-)?[0-9a-f]{63,65}(\\.scope)?",
        "[!-.0-~]{0,9}",
    ]
}

proptest! {
    #[test]
    fn any_path_is_taken_or_left(parts in proptest::collection::vec(part(), 0..6)) {
        if let Ok(path) = CgroupPath::new(&parts.join("/")) {
            let _ = holds_pods(&path);
            if let Some(InPod { id, pod_uid, .. }) = container_of(&path) {
                prop_assert!(path.name().contains(id.as_str()));
                let pod = format!("pod{pod_uid}");
                prop_assert!(path.as_str().replace('_', "-").contains(&pod));
            }
        }
    }

    #[test]
    fn a_path_that_is_made_reads_back(uid in "[0-9a-f]{8}-[0-9a-f]{4}", id in "[0-9a-f]{64}", on_systemd: bool) {
        let path = if on_systemd {
            format!("kubepods.slice/kubepods-pod{}.slice/cri-containerd-{id}.scope", uid.replace('-', "_"))
        } else {
            format!("kubepods/pod{uid}/{id}")
        };
        let in_pod = found(&path).unwrap();
        prop_assert_eq!((in_pod.pod_uid, in_pod.id.as_str()), (uid, id.as_str()));
    }

    #[test]
    fn any_answer_is_taken_or_refused(answer: Vec<u8>) {
        let _ = read(&answer);
    }
}
