//! Paths of both drivers, and a kubelet's answer, against what they mean.

use proptest::prelude::*;

use super::*;

const ID: &str = "73beb956d1db274b1632497773868239d8b96069776371230d34e66f2bef4a79";
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

/// Pods of the node whose cgroups the kubelet 1.36 reported, in the form of the core/v1 API.
#[test]
fn the_kubelets_answer_gives_names_and_labels() {
    let known = read(include_bytes!("pods.json")).unwrap();
    let names: BTreeMap<_, _> = known.iter().map(|(id, known)| (known.name.as_str(), id.short())).collect();
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        [
            ("default.web-0.app", "73beb956d1db"),
            ("kube-system.etcd-node1.etcd", "1111aaaa1111"),
            ("shop.geo-5c7.app", "9a42439dfa3d"),
            ("shop.geo-5c7.migrate", "2222bbbb2222"),
        ],
        "what did not start yet has no id"
    );
    let web = &known[&RuntimeId::parse(ID).unwrap()];
    assert_eq!(web.pod_uid.as_deref(), Some(UID));
    assert_eq!((web.labels["app"].as_str(), web.labels["io.kubernetes.pod.name"].as_str()), ("web", "web-0"));
    let etcd = known.values().find(|known| known.name.as_str().ends_with("etcd")).unwrap();
    assert_eq!(etcd.pod_uid.as_deref(), Some("0123456789abcdef0123456789abcdef"), "as its cgroup is called");
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
