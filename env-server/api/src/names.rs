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

fn broken_rule(text: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_NAME_LENGTH {
        Some("it is longer than 200 bytes")
    } else if !text.chars().all(allowed) {
        Some("only ASCII letters, digits, '-', '_' and '.' are allowed")
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
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
