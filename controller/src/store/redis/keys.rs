//! How keys and entries in Redis are called. The only file that knows.
//!
//! Names hold no `:` and no `/`, so no two containers share a key.

use ballast_api::{ContainerId, NodeName, UnixNanos};

/// Set of `node/name`.
pub(super) const CONTAINERS: &str = "ballast:containers";

/// Stream of audit records.
pub(super) const AUDIT: &str = "ballast:audit";

/// The field of a stats entry that holds the sample.
pub(super) const SAMPLE_FIELD: &str = "sample";

/// The field of an audit entry that holds the record.
pub(super) const RECORD_FIELD: &str = "record";

/// Stream of samples.
pub(super) fn stats(container: &ContainerId) -> String {
    format!("ballast:stats:{}:{}", container.node, container.name)
}

/// Hash of what is known about a node.
pub(super) fn node(node: &NodeName) -> String {
    format!("ballast:node:{node}")
}

/// The id of the entry taken then: milliseconds, and the nanoseconds within. Redis refuses an id that is not greater
/// than the newest, so a sample sent twice is stored once.
pub(super) fn stream_id(taken_at: UnixNanos) -> String {
    format!("{}-{}", taken_at.0 / 1_000_000, taken_at.0 % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_designed() {
        let container: ContainerId = "n1/geo".parse().unwrap();
        assert_eq!(stats(&container), "ballast:stats:n1:geo");
        assert_eq!(node(&container.node), "ballast:node:n1");
        assert_eq!(stream_id(UnixNanos(1_795_288_836_777_000_042)), "1795288836777-42");
    }
}
