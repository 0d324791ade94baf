//! The id that a container runtime gave a container.
//!
//! Pure; must not know where containers are.

use std::fmt;

/// How a runtime's ids are written: SHA-256 or as many random bits, in hexadecimal.
const DIGITS: usize = 64;

/// 64 hexadecimal digits. Docker, Podman, containerd's CRI and CRI-O all name their containers so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuntimeId(String);

impl RuntimeId {
    /// Takes an id; absent when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.to_owned()))
    }

    /// The id of a cgroup's folder: bare, as the cgroupfs drivers write it (CRI-O: after `crio-`), or between a runtime's
    /// name and `.scope`, as the systemd drivers do.
    #[must_use]
    pub fn of_folder(folder: &str, runtimes: &[&str]) -> Option<Self> {
        let bare = folder.strip_suffix(".scope").unwrap_or(folder);
        let after = runtimes.iter().find_map(|runtime| bare.strip_prefix(runtime)?.strip_prefix('-'));
        Self::parse(after.unwrap_or(folder))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as people write it.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for RuntimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_an_id_in_the_ways_of_the_runtimes() {
        let id = "0123456789abcdef".repeat(4);
        let found = |folder: &str| RuntimeId::of_folder(folder, &["docker", "crio", "cri-containerd"]);
        for folder in
            [&id, &format!("docker-{id}.scope"), &format!("crio-{id}"), &format!("cri-containerd-{id}.scope")]
        {
            assert_eq!(found(folder).unwrap().as_str(), id, "{folder}");
        }
        assert_eq!(found(&id).unwrap().short(), "0123456789ab");
        for folder in [
            "",
            "docker",
            "ssh.service",
            &id[1..],
            &id.to_uppercase(),
            &format!("{id}.scope"),
            &format!("crio-conmon-{id}.scope"),
            &format!("lxc-{id}"),
            &format!("docker-{id}.service"),
        ] {
            assert_eq!(found(folder), None, "{folder}");
        }
    }
}
