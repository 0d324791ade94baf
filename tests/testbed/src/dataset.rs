//! Which keys a store holds: whoever fills it and whoever reads it agree here.
//!
//! Pure. Must not know the store's protocol.

use std::collections::BTreeMap;

use ballast_api::ContainerName;
use ballast_sim::{Topology, topology::Step};

/// Keys of each size at least: the hotels of the original.
const MIN_KEYS: u32 = 80;

/// How many keys a store holds for each size of value in bytes: enough that every fetch finds distinct ones.
#[must_use]
pub fn keys_by_size(topology: &Topology, store: &ContainerName) -> BTreeMap<u32, u32> {
    let mut keys = BTreeMap::new();
    for step in topology.operations.iter().flat_map(|operation| &operation.steps) {
        if let Step::Fetch(fetch) = step
            && fetch.store == *store
        {
            let count = keys.entry(fetch.value_bytes).or_insert(MIN_KEYS);
            *count = fetch.keys.max(*count);
        }
    }
    keys
}

/// The name of the key of that number among those with values of that size.
#[must_use]
pub fn key(value_bytes: u32, number: u32) -> String {
    format!("{value_bytes}-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_that_is_read_is_held() {
        let topology = Topology::shipped("hotel-reservation").unwrap();
        let held = |store| keys_by_size(&topology, &ContainerName::new(store).unwrap());
        assert_eq!(held("memcached-rate"), BTreeMap::from([(300, 80)]));
        assert_eq!(held("memcached-reserve"), BTreeMap::from([(4, 80)]));
        assert_eq!(held("frontend"), BTreeMap::new());
    }

    #[test]
    fn a_fetch_of_many_keys_finds_them_all() {
        let text = ballast_sim::topology::SHIPPED[0].1.replace("keys = 22", "keys = 500");
        let held = keys_by_size(&text.parse().unwrap(), &ContainerName::new("memcached-reserve").unwrap());
        assert_eq!(held, BTreeMap::from([(4, 500)]));
    }
}
