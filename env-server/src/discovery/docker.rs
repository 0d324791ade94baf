//! Docker: its cgroups, and what its engine says about its containers.
//!
//! Pure; must not know how the engine is asked.

use std::collections::BTreeMap;

use ballast_api::ContainerName;
use ballast_kernel::CgroupPath;
use serde::Deserialize;

use super::{
    id::RuntimeId,
    names::{Known, KnownContainers, bounded},
};

/// Where Docker puts containers unless told otherwise: the cgroupfs driver, and the systemd driver.
pub const ROOTS: [&str; 2] = ["docker", "system.slice"];

/// What is asked of the engine: running containers. Without a version in front, an engine of any age answers.
pub const LIST: &str = "/containers/json";

/// Podman's engine answers as Docker's does.
const RUNTIMES: [&str; 2] = ["docker", "libpod"];

/// The id of the container whose cgroup this is: `.../<id>` (cgroupfs) or `.../docker-<id>.scope` (systemd), below
/// whatever parent; absent where the path has not that form.
#[must_use]
pub fn container_of(path: &CgroupPath) -> Option<RuntimeId> {
    RuntimeId::of_folder(path.name(), &RUNTIMES)
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Names", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Reads the engine's answer to [`LIST`].
///
/// # Errors
/// When it is not what an engine answers, a sentence.
pub fn read(answer: &[u8]) -> Result<KnownContainers, String> {
    let listed: Vec<Listed> = serde_json::from_slice(answer)
        .map_err(|error| format!("the answer is not a list of containers: {error}"))?;
    Ok(listed.into_iter().filter_map(known).collect())
}

fn known(Listed { id, names, labels }: Listed) -> Option<(RuntimeId, Known)> {
    let id = RuntimeId::parse(&id)?;
    // A name with a second slash is another container's link to this one.
    let own = |name: &String| name.strip_prefix('/').is_some_and(|name| !name.contains('/'));
    let name = names.unwrap_or_default().into_iter().find(own);
    let name = ContainerName::shortened(name?.trim_start_matches('/')).ok()?;
    Some((id, Known { name, labels: bounded(labels.unwrap_or_default()), pod_uids: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "5f1a4610183c69707b440b2810df1220eae961c31949e7b7209284a4db1803ca";

    #[test]
    fn both_drivers_and_any_parent_are_known() {
        let id = |path: &str| container_of(&CgroupPath::new(path).unwrap());
        for path in [
            format!("docker/{ID}"),
            format!("system.slice/docker-{ID}.scope"),
            format!("shop/back/{ID}"),
            format!("shop.slice/docker-{ID}.scope"),
            format!("machine.slice/libpod-{ID}.scope"),
            format!("libpod_parent/libpod-{ID}"),
        ] {
            assert_eq!(id(&path).unwrap().as_str(), ID, "{path}");
        }
        for path in ["docker", "system.slice/docker.service", "docker/buildkit"] {
            assert_eq!(id(path), None, "{path}");
        }
        assert_eq!(id(&format!("machine.slice/libpod-conmon-{ID}.scope")), None);
        assert_eq!(id(&format!("docker/{ID}/init")), None, "what is inside a container is its own");
    }

    /// As Docker 20.10 answers, shortened.
    #[test]
    fn the_engines_answer_gives_names_and_labels() {
        let other = ID.replace('5', "6");
        let answer = format!(
            r#"[{{"Id":"{ID}","Names":["/web/db","/c1"],"Image":"bb:1","Labels":{{"app":"demo"}},"State":"running"}},
                {{"Id":"{other}","Names":["/c_2.x-1"],"Labels":null}},
                {{"Id":"short","Names":["/x"]}}, {{"Id":"{ID}0","Names":null}}]"#
        );
        let known = read(answer.as_bytes()).unwrap();
        assert_eq!(known.len(), 2);
        let (c1, c2) = (&known[&RuntimeId::parse(ID).unwrap()], &known[&RuntimeId::parse(&other).unwrap()]);
        assert_eq!((c1.name.as_str(), c1.labels["app"].as_str()), ("c1", "demo"));
        assert_eq!((c2.name.as_str(), c2.labels.len()), ("c_2.x-1", 0));
        assert!(read(b"{\"message\":\"page not found\"}").unwrap_err().contains("not a list"));
    }

    proptest! {
        #[test]
        fn any_path_and_any_answer_are_taken_or_refused(path in "[a-f0-9./-]{0,90}|docker-[0-9a-f]{60,70}(\\.scope)?", answer: Vec<u8>) {
            if let Ok(path) = CgroupPath::new(&path)
                && let Some(id) = container_of(&path)
            {
                prop_assert!(path.name().contains(id.as_str()));
            }
            let _ = read(&answer);
        }
    }
}
