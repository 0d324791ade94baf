//! Kubernetes: the cgroups of pods, and what the kubelet says about their containers.
//!
//! Pure; must not know how the kubelet is asked.

use std::{collections::BTreeMap, fmt};

use ballast_api::ContainerName;
use ballast_kernel::CgroupPath;
use serde::Deserialize;

use super::{
    id::RuntimeId,
    names::{Known, KnownContainers, vouched_for},
};

/// Where the kubelet puts pods unless told otherwise: the cgroupfs driver, and the systemd driver.
pub const ROOTS: [&str; 2] = ["kubepods", "kubepods.slice"];

/// What is asked of the kubelet: the pods of its node.
pub const LIST: &str = "/pods";

const RUNTIMES: [&str; 3] = ["cri-containerd", "crio", "docker"];

/// The label that says a pod's class of service: the kubelet tells it as the field of this name in a pod's status.
pub const QOS_LABEL: &str = "io.kubernetes.pod.qosClass";

/// A pod's class of service, which decides where its cgroup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Limits equal requests.
    Guaranteed,
    /// Some requests.
    Burstable,
    /// None.
    BestEffort,
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        })
    }
}

/// What a path says about a container in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPod {
    /// The container.
    pub id: RuntimeId,
    /// The pod, as the API server calls it; a static pod's is a hash without dashes.
    pub pod_uid: String,
    /// The pod's class.
    pub qos: Qos,
}

/// The container whose cgroup this is: `kubepods[/burstable|/besteffort]/pod<uid>/<id>` (cgroupfs) or
/// `kubepods.slice/[kubepods-burstable.slice/]kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope` (systemd),
/// below whatever root; absent where the path has not that form.
#[must_use]
pub fn container_of(path: &CgroupPath) -> Option<InPod> {
    let (above, folder) = path.as_str().rsplit_once('/')?;
    let pod_uid = pod_of(above)?;
    Some(InPod { id: RuntimeId::of_folder(folder, &RUNTIMES)?, pod_uid, qos: qos_of(above) })
}

/// Whether the cgroup holds a pod, or pods of one class: its containers are further down.
#[must_use]
pub fn holds_pods(path: &CgroupPath) -> bool {
    let slice = path.name().strip_suffix(".slice");
    let is_class = match (slice, path.as_str().rsplit_once('/')) {
        (Some(slice), _) => slice.ends_with("kubepods-burstable") || slice.ends_with("kubepods-besteffort"),
        (None, Some((above, class))) => {
            above.ends_with("kubepods") && ["burstable", "besteffort"].contains(&class)
        }
        (None, None) => false,
    };
    is_class || pod_of(path.as_str()).is_some()
}

/// The uid of the pod whose cgroup this is.
fn pod_of(path: &str) -> Option<String> {
    let (above, folder) = path.rsplit_once('/')?;
    let uid = match folder.strip_suffix(".slice") {
        // systemd takes a dash for a step down, so the uid's own are written otherwise.
        Some(slice) => {
            let (group, uid) = slice.rsplit_once("-pod")?;
            group.contains("kubepods").then(|| uid.replace('_', "-"))?
        }
        None => above.contains("kubepods").then(|| folder.strip_prefix("pod"))??.to_owned(),
    };
    let is_uid = !uid.is_empty() && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_uid.then_some(uid)
}

fn qos_of(pod: &str) -> Qos {
    let (above, folder) = pod.rsplit_once('/').unwrap_or_default();
    // systemd repeats the class in the pod's own folder.
    let class = if folder.ends_with(".slice") { folder } else { above };
    if class.contains("burstable") {
        Qos::Burstable
    } else if class.contains("besteffort") {
        Qos::BestEffort
    } else {
        Qos::Guaranteed
    }
}

#[derive(Deserialize)]
struct PodList {
    /// Absent, not empty, where nothing runs.
    items: Option<Vec<Pod>>,
    kind: String,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<Container>,
    init_container_statuses: Vec<Container>,
    ephemeral_container_statuses: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    /// `containerd://<id>`; absent before the first start.
    #[serde(rename = "containerID", default)]
    id: String,
}

/// A static pod's cgroup goes by the hash of its file, which the API server does not use for its uid. Any pod's author can
/// write this annotation: the uid counts beside it.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// Reads the kubelet's answer to [`LIST`].
///
/// # Errors
/// When it is not what a kubelet answers, a sentence.
pub fn read(answer: &[u8]) -> Result<KnownContainers, String> {
    let list: PodList = serde_json::from_slice(answer)
        .map_err(|error| format!("the answer is not a list of pods: {error}"))?;
    if list.kind != "PodList" {
        return Err(format!("the answer is a {:.40}, not a list of pods", list.kind));
    }
    Ok(list.items.unwrap_or_default().iter().flat_map(known).collect())
}

/// Sandboxes are not among a pod's containers: they stay unknown.
fn known(Pod { metadata, status }: &Pod) -> Vec<(RuntimeId, Known)> {
    let all =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let known = all.into_iter().flatten().filter_map(|Container { name, id }| {
        let (_, id) = id.split_once("://")?;
        Some((RuntimeId::parse(id)?, in_pod(metadata, name)?))
    });
    known.collect()
}

fn in_pod(pod: &Metadata, container: &str) -> Option<Known> {
    let name = ContainerName::in_pod(&pod.namespace, &pod.name, container).ok()?;
    let pod_uids =
        [Some(&pod.uid), pod.annotations.get(CONFIG_HASH)].into_iter().flatten().cloned().collect();
    // What a runtime is told of its containers, by the names that it is told them under.
    let vouched = [
        ("io.kubernetes.pod.namespace", pod.namespace.as_str()),
        ("io.kubernetes.pod.name", &pod.name),
        ("io.kubernetes.container.name", container),
    ];
    let vouched = vouched.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Some(Known { name, labels: vouched_for(pod.labels.clone(), vouched), pod_uids })
}

#[cfg(test)]
mod tests;
