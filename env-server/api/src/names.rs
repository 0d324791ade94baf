//! Names that are safe by construction: a [`ContainerName`] can be a folder's name and nothing else.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name accepted, in bytes: within the kernel's 255 for a folder, with room for what is put around it.
pub const MAX_NAME_LENGTH: usize = 200;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind} name: {reason}")]
pub struct InvalidName {
    /// What it was meant to name.
    pub kind: &'static str,
    /// The text refused, shortened when it is long.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

const FORBIDDEN_CHARACTER: &str = "only ASCII letters, digits, '-', '_' and '.' are allowed";

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn broken_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_NAME_LENGTH {
        Some("it is longer than 200 bytes")
    } else if !text.chars().all(is_allowed) {
        Some(FORBIDDEN_CHARACTER)
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("it must begin with a letter or a digit")
    } else {
        None
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(
            feature = "openapi",
            derive(utoipa::ToSchema),
            schema(min_length = 1, max_length = 200, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")
        )]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// When the text is empty, longer than [`MAX_NAME_LENGTH`], or holds anything but ASCII letters, digits,
            /// `-`, `_` and `.`, or does not begin with a letter or digit.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                match broken_rule(&text) {
                    None => Ok(Self(text)),
                    Some(reason) => {
                        Err(InvalidName { kind: $kind, text: text.chars().take(80).collect(), reason })
                    }
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A machine with an env-server.
    NodeName,
    "node"
);
name!(
    /// A managed cgroup on one node. Never holds a `/` and is never `.` or `..`.
    ContainerName,
    "container"
);

/// Of a name that is too long, this much stays in front of its hash.
const KEPT_LENGTH: usize = MAX_NAME_LENGTH - 17;

impl ContainerName {
    /// The name of a Kubernetes container: `namespace.pod.container`. Of the three only a pod's name may hold a dot, so no
    /// two containers share a name.
    ///
    /// # Errors
    /// When a part holds what no name may hold.
    pub fn in_pod(namespace: &str, pod: &str, container: &str) -> Result<Self, InvalidName> {
        Self::shortened(&format!("{namespace}.{pod}.{container}"))
    }

    /// Takes a name that may be too long: then its end gives way to a hash of the whole, the same each time.
    ///
    /// # Errors
    /// As [`Self::new`], but for the length.
    pub fn shortened(text: &str) -> Result<Self, InvalidName> {
        match text.get(..KEPT_LENGTH) {
            Some(kept) if text.len() > MAX_NAME_LENGTH => {
                // The end that gives way must be a name's too, and is refused with the reason.
                text[KEPT_LENGTH..].chars().all(is_allowed).then_some(()).ok_or_else(|| InvalidName {
                    kind: "container",
                    text: text.chars().take(80).collect(),
                    reason: FORBIDDEN_CHARACTER,
                })?;
                Self::new(format!("{kept}-{:016x}", fnv1a(text.as_bytes())))
            }
            _ => Self::new(text),
        }
    }
}

/// FNV-1a of 64 bits: the same on every machine and in every release, unlike the standard library's. Two names that
/// collide on purpose are seen as two cgroups of one name.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A container among all nodes, written `node/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId {
    /// The machine it runs on.
    pub node: NodeName,
    /// Its name there.
    pub name: ContainerName,
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.name)
    }
}

impl FromStr for ContainerId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (node, name) = text.split_once('/').ok_or_else(|| InvalidName {
            kind: "container",
            text: text.chars().take(80).collect(),
            reason: "it must be written node/name",
        })?;
        Ok(Self { node: node.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_names_that_could_leave_their_folder() {
        for bad in ["", ".", "..", "../x", "a/b", "/etc", "-rf", "a\0b", "a b", "é", ".hidden", "a\n"] {
            assert!(ContainerName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ContainerName::new("x".repeat(MAX_NAME_LENGTH + 1)).is_err());
    }

    #[test]
    fn accepts_what_docker_and_kubernetes_call_containers() {
        for good in ["geo", "memcached-rate", "a.b_c-1", "3f2a9c", &"x".repeat(MAX_NAME_LENGTH)] {
            assert!(ContainerName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_name_in_a_pod_that_is_too_long_keeps_its_beginning_and_stays_itself() {
        assert_eq!(ContainerName::in_pod("shop", "geo-1.a", "app").unwrap().as_str(), "shop.geo-1.a.app");
        let (pod, other) = ("p".repeat(253), format!("{}q", "p".repeat(252)));
        let long = ContainerName::in_pod("shop", &pod, "app").unwrap();
        assert_eq!(long.as_str(), format!("shop.{}-84d0682950a45996", "p".repeat(KEPT_LENGTH - 5)));
        assert_ne!(long, ContainerName::in_pod("shop", &other, "app").unwrap());
        assert_ne!(long, ContainerName::in_pod("shop", &pod, "app2").unwrap());
        for bad in ["a/b", "é", &format!("{}/", "x".repeat(300)), &"é".repeat(300)] {
            assert!(ContainerName::in_pod("shop", "geo", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_container_id_reads_back_as_written() {
        let id: ContainerId = "n1/geo".parse().unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"n1/geo\"");
        assert!("geo".parse::<ContainerId>().is_err());
        assert!("a/b/c".parse::<ContainerId>().is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_always_one_normal_path_component(text in "\\PC{0,12}") {
            if let Ok(name) = ContainerName::new(text) {
                let path = std::path::Path::new(name.as_str());
                let parts: Vec<_> = path.components().collect();
                prop_assert!(matches!(parts.as_slice(), [std::path::Component::Normal(_)]));
            }
        }
    }
}
