//! Where the others are: the addresses of the services and stores that one service calls.
//!
//! Pure. Must not know how they are called.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use ballast_api::ContainerName;
use ballast_sim::{Topology, topology::Step};
use reqwest::Url;

/// Addresses by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Peers {
    /// Of services: `http://127.0.0.1:PORT`.
    pub services: BTreeMap<ContainerName, Url>,
    /// Of stores.
    pub stores: BTreeMap<ContainerName, SocketAddr>,
}

impl Peers {
    /// Reads a JSON object of names and addresses: `http://127.0.0.1:PORT` for a service, `127.0.0.1:PORT` for a store.
    /// Those that `service` does not call are left out.
    ///
    /// # Errors
    /// A sentence that names every problem: no JSON, an address that is none or not loopback, one that is missing.
    pub fn parse(text: &str, topology: &Topology, service: &ContainerName) -> Result<Self, String> {
        let addresses: BTreeMap<ContainerName, String> =
            serde_json::from_str(text).map_err(|error| format!("the peers are no JSON of names: {error}"))?;
        let mut peers = Self::default();
        let mut problems = Vec::new();
        let (services, stores) = called(topology, service);
        for name in services {
            match service_address(&addresses, name) {
                Ok(url) => drop(peers.services.insert(name.clone(), url)),
                Err(problem) => problems.push(problem),
            }
        }
        for name in stores {
            match store_address(&addresses, name) {
                Ok(address) => drop(peers.stores.insert(name.clone(), address)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(peers) } else { Err(problems.join("; ")) }
    }
}

/// The services and the stores that a service's operations call.
fn called<'a>(
    topology: &'a Topology,
    service: &ContainerName,
) -> (BTreeSet<&'a ContainerName>, BTreeSet<&'a ContainerName>) {
    let mut services = BTreeSet::new();
    let mut stores = BTreeSet::new();
    let own = topology.operations.iter().filter(|operation| operation.name.service == *service);
    for step in own.flat_map(|operation| &operation.steps) {
        match step {
            Step::CpuUs(_) => {}
            Step::Call(callees) | Step::Notify(callees) => {
                services.extend(callees.iter().map(|callee| &callee.service));
            }
            Step::Fetch(fetch) => drop(stores.insert(&fetch.store)),
        }
    }
    (services, stores)
}

fn text_of<'a>(
    addresses: &'a BTreeMap<ContainerName, String>,
    name: &ContainerName,
) -> Result<&'a str, String> {
    addresses.get(name).map(String::as_str).ok_or_else(|| format!("the peers do not say where {name} is"))
}

fn service_address(addresses: &BTreeMap<ContainerName, String>, name: &ContainerName) -> Result<Url, String> {
    let text = text_of(addresses, name)?;
    let wrong = || format!("{name}: {text:?} must look like http://127.0.0.1:8080");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let host: std::net::IpAddr = url.host_str().unwrap_or_default().parse().map_err(|_| wrong())?;
    let plain = url.scheme() == "http" && host.is_loopback() && url.path() == "/" && url.query().is_none();
    if plain { Ok(url) } else { Err(wrong()) }
}

fn store_address(
    addresses: &BTreeMap<ContainerName, String>,
    name: &ContainerName,
) -> Result<SocketAddr, String> {
    let text = text_of(addresses, name)?;
    let address = text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback());
    address.ok_or_else(|| format!("{name}: {text:?} must look like 127.0.0.1:11211"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str, service: &str) -> Result<Peers, String> {
        let topology = Topology::shipped("hotel-reservation").unwrap();
        Peers::parse(text, &topology, &ContainerName::new(service).unwrap())
    }

    #[test]
    fn only_those_called_are_kept() {
        let text =
            r#"{"geo":"http://127.0.0.1:81","rate":"http://127.0.0.1:82","user":"http://127.0.0.1:83"}"#;
        let peers = parse(text, "search").unwrap();
        assert_eq!(peers.services.keys().map(ContainerName::as_str).collect::<Vec<_>>(), ["geo", "rate"]);
        assert_eq!(parse(r#"{"memcached-rate":"127.0.0.1:84"}"#, "rate").unwrap().stores.len(), 1);
        assert_eq!(parse("{}", "geo").unwrap(), Peers::default());
    }

    #[test]
    fn every_problem_is_named() {
        let told = parse(r#"{"geo":"http://10.0.0.1:81"}"#, "search").unwrap_err();
        assert!(told.contains("geo: \"http://10.0.0.1:81\"") && told.contains("where rate is"), "{told}");
        assert!(parse("geo", "search").unwrap_err().contains("no JSON"));
        for bad in
            ["localhost:1", "http://localhost:1", "http://127.0.0.1:1/x", "https://127.0.0.1:1", "8.8.8.8:1"]
        {
            assert!(parse(&format!(r#"{{"memcached-rate":"{bad}"}}"#), "rate").is_err(), "{bad}");
            assert!(
                parse(&format!(r#"{{"geo":"{bad}","rate":"http://127.0.0.1:1"}}"#), "search").is_err(),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_an_answer(text in ".{0,60}") {
            let _ = parse(&text, "search");
        }
    }
}
