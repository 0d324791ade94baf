//! A topology: services, their operations, and the mix of requests. One file serves the simulator and the testbed.
//!
//! Pure: reads text, checks it, reports every problem at once. Must not know who runs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use ballast_api::ContainerName;
use serde::Deserialize;

/// The topologies that Ballast ships, by name.
pub const SHIPPED: [(&str, &str); 1] =
    [("hotel-reservation", include_str!("../topologies/hotel-reservation.toml"))];

/// What is wrong with a topology.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// It is no TOML, or not of this shape.
    #[error("the topology cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// It is of this shape but contradicts itself.
    #[error("the topology is not valid: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// No shipped topology has this name.
    #[error("no shipped topology is named {name:?}; there are: {}", SHIPPED.map(|(name, _)| name).join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
}

/// Services, stores, operations and the request mix, checked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Its name.
    pub name: String,
    /// Programs that work and call each other.
    #[serde(rename = "service")]
    pub services: Vec<Service>,
    /// Caches that services read.
    #[serde(rename = "store", default)]
    pub stores: Vec<Store>,
    /// What services do.
    #[serde(rename = "operation")]
    pub operations: Vec<Operation>,
    /// What users ask for.
    #[serde(rename = "request")]
    pub requests: Vec<RequestType>,
}

/// A program that does one job; its replicas are containers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name, and the name of its only container.
    pub name: ContainerName,
    /// Requests it works on at once; the others wait in a queue, first come, first served.
    pub workers: usize,
    /// The CPU limit it is deployed with, in cores.
    pub cpu_limit_cores: f64,
}

/// A real cache server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Its name, and the name of its only container.
    pub name: ContainerName,
    /// Which program it is.
    pub kind: StoreKind,
    /// The CPU limit it is deployed with, in cores.
    pub cpu_limit_cores: f64,
}

/// Programs that keep cached data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// memcached.
    Memcached,
}

/// One thing that a service does when asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `service.operation`.
    pub name: OperationName,
    /// One after the other.
    pub steps: Vec<Step>,
    /// Size of the answer's payload, in bytes.
    #[serde(default)]
    pub reply_bytes: u32,
}

/// `service.operation`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct OperationName {
    /// Who does it.
    pub service: ContainerName,
    /// What is done.
    pub operation: ContainerName,
}

impl FromStr for OperationName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (service, operation) =
            text.split_once('.').ok_or_else(|| format!("{text:?} must be written service.operation"))?;
        let part = |text: &str| ContainerName::new(text).map_err(|error| error.to_string());
        Ok(Self { service: part(service)?, operation: part(operation)? })
    }
}

impl TryFrom<String> for OperationName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.operation)
    }
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Step {
    /// Computing: mean CPU time in microseconds. Drawn anew each time from an Erlang distribution of 4 stages
    /// (coefficient of variation one half).
    CpuUs(f64),
    /// Calls started together and all waited for.
    Call(Vec<OperationName>),
    /// Calls started and not waited for.
    Notify(Vec<OperationName>),
    /// One multi-get.
    Fetch(Fetch),
}

/// Reading several keys of a store at once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Which store.
    pub store: ContainerName,
    /// How many keys.
    pub keys: u32,
    /// Size of each value, in bytes.
    pub value_bytes: u32,
}

/// Something users ask for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestType {
    /// The root operation of its traces, such as `GET /hotels`.
    pub name: String,
    /// The operation that answers it.
    pub operation: OperationName,
    /// Its share of all requests; the shares sum to 1.
    pub share: f64,
    /// What users expect.
    pub objective: RequestObjective,
}

/// A latency that a percentile of the requests must keep.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestObjective {
    /// In (0, 100].
    pub percentile: f64,
    /// In milliseconds.
    pub target_ms: f64,
}

impl FromStr for Topology {
    type Err = TopologyError;

    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let topology: Self = toml::from_str(text)?;
        let problems = topology.problems();
        if problems.is_empty() { Ok(topology) } else { Err(TopologyError::Invalid(problems)) }
    }
}

impl Topology {
    /// One of [`SHIPPED`].
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn shipped(name: &str) -> Result<Self, TopologyError> {
        SHIPPED
            .iter()
            .find(|(shipped, _)| *shipped == name)
            .ok_or_else(|| TopologyError::Unknown { name: name.to_owned() })?
            .1
            .parse()
    }

    /// The operation of that name.
    #[must_use]
    pub fn operation(&self, name: &OperationName) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == *name)
    }

    /// Names and CPU limits of all containers: services first, then stores.
    pub fn containers(&self) -> impl Iterator<Item = (&ContainerName, f64)> {
        let services = self.services.iter().map(|service| (&service.name, service.cpu_limit_cores));
        services.chain(self.stores.iter().map(|store| (&store.name, store.cpu_limit_cores)))
    }

    /// Mean CPU time that each service spends on one average request of the mix, in microseconds.
    #[must_use]
    pub fn cpu_us_per_request(&self) -> BTreeMap<ContainerName, f64> {
        let mut total = BTreeMap::new();
        for request in &self.requests {
            self.add_cpu(&request.operation, request.share, &mut total);
        }
        total
    }

    /// Services that do at least `min_share` (in [0, 1]) of all computing that the mix asks for, in the order of their
    /// names: to contend any other would hardly be felt.
    #[must_use]
    pub fn busy_services(&self, min_share: f64) -> Vec<ContainerName> {
        let cpu = self.cpu_us_per_request();
        let total: f64 = cpu.values().sum();
        cpu.into_iter().filter(|(_, mean)| *mean >= min_share * total).map(|(name, _)| name).collect()
    }

    fn add_cpu(&self, name: &OperationName, times: f64, total: &mut BTreeMap<ContainerName, f64>) {
        for step in self.operation(name).map_or(&[][..], |operation| &operation.steps) {
            match step {
                Step::CpuUs(mean) => *total.entry(name.service.clone()).or_default() += times * mean,
                Step::Call(callees) | Step::Notify(callees) => {
                    callees.iter().for_each(|callee| self.add_cpu(callee, times, total));
                }
                Step::Fetch(_) => {}
            }
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_containers(&mut problems);
        self.check_operations(&mut problems);
        self.check_requests(&mut problems);
        // Only a graph whose names resolve can be walked.
        if problems.is_empty() {
            self.check_acyclic(&mut problems);
        }
        problems
    }

    fn check_containers(&self, problems: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for (name, cpu_limit_cores) in self.containers() {
            if !seen.insert(name) {
                problems.push(format!("{name} is defined twice"));
            }
            if !(cpu_limit_cores.is_finite() && cpu_limit_cores > 0.0) {
                problems.push(format!("{name}: cpu_limit_cores must be positive, not {cpu_limit_cores}"));
            }
        }
        for service in self.services.iter().filter(|service| service.workers == 0) {
            problems.push(format!("{}: workers must be at least 1", service.name));
        }
    }

    fn check_operations(&self, problems: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for operation in &self.operations {
            if !seen.insert(&operation.name) {
                problems.push(format!("operation {} is defined twice", operation.name));
            }
            if !self.services.iter().any(|service| service.name == operation.name.service) {
                problems.push(format!("operation {}: there is no such service", operation.name));
            }
            for step in &operation.steps {
                self.check_step(&operation.name, step, problems);
            }
        }
    }

    fn check_step(&self, owner: &OperationName, step: &Step, problems: &mut Vec<String>) {
        match step {
            Step::CpuUs(mean) if !(mean.is_finite() && *mean > 0.0) => {
                problems.push(format!("operation {owner}: cpu_us must be positive, not {mean}"));
            }
            Step::CpuUs(_) => {}
            Step::Call(callees) | Step::Notify(callees) => {
                for callee in callees.iter().filter(|callee| self.operation(callee).is_none()) {
                    problems.push(format!("operation {owner} calls {callee}, which is not defined"));
                }
            }
            Step::Fetch(fetch) => {
                if !self.stores.iter().any(|store| store.name == fetch.store) {
                    problems.push(format!("operation {owner} reads {}, which is no store", fetch.store));
                }
                if fetch.keys == 0 {
                    problems.push(format!("operation {owner}: keys must be at least 1"));
                }
            }
        }
    }

    fn check_requests(&self, problems: &mut Vec<String>) {
        for request in &self.requests {
            let RequestType { name, operation, share, objective } = request;
            if self.operation(operation).is_none() {
                problems.push(format!("request {name:?} asks for {operation}, which is not defined"));
            }
            if !(share.is_finite() && *share > 0.0) {
                problems.push(format!("request {name:?}: share must be positive, not {share}"));
            }
            if !(objective.percentile > 0.0 && objective.percentile <= 100.0) {
                problems.push(format!("request {name:?}: percentile must be in (0, 100]"));
            }
            if !(objective.target_ms.is_finite() && objective.target_ms > 0.0) {
                problems.push(format!("request {name:?}: target_ms must be positive"));
            }
        }
        let sum: f64 = self.requests.iter().map(|request| request.share).sum();
        if (sum - 1.0).abs() > 1e-6 {
            problems.push(format!("the requests' shares sum to {sum}, not to 1"));
        }
    }

    fn check_acyclic(&self, problems: &mut Vec<String>) {
        let mut done = BTreeSet::new();
        for operation in &self.operations {
            if let Some(cycle) = self.find_cycle(&operation.name, &mut Vec::new(), &mut done) {
                problems.push(format!("operation {cycle} calls itself in the end"));
                return;
            }
        }
    }

    fn find_cycle<'a>(
        &'a self,
        name: &'a OperationName,
        path: &mut Vec<&'a OperationName>,
        done: &mut BTreeSet<&'a OperationName>,
    ) -> Option<&'a OperationName> {
        if path.contains(&name) {
            return Some(name);
        }
        if !done.contains(name) {
            path.push(name);
            for step in &self.operation(name)?.steps {
                if let Step::Call(callees) | Step::Notify(callees) = step {
                    for callee in callees {
                        let cycle = self.find_cycle(callee, path, done);
                        if cycle.is_some() {
                            return cycle;
                        }
                    }
                }
            }
            path.pop();
            done.insert(name);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        name = "small"
        service = [{ name = "a", workers = 2, cpu_limit_cores = 0.5 }, { name = "b", workers = 1, cpu_limit_cores = 0.2 }]
        store = [{ name = "cache", kind = "memcached", cpu_limit_cores = 0.1 }]
        operation = [
            { name = "a.get", steps = [{ cpu_us = 100.0 }, { call = ["b.get", "b.get"] }], reply_bytes = 10 },
            { name = "b.get", steps = [{ fetch = { store = "cache", keys = 2, value_bytes = 30 } }, { cpu_us = 50.0 }] },
        ]
        request = [{ name = "GET /", operation = "a.get", share = 1.0, objective = { percentile = 99.0, target_ms = 20.0 } }]
    "#;

    fn problems_of(text: &str) -> String {
        text.parse::<Topology>().unwrap_err().to_string()
    }

    #[test]
    fn every_shipped_topology_is_valid() {
        for (name, _) in SHIPPED {
            assert_eq!(Topology::shipped(name).unwrap().name, name);
        }
        assert!(Topology::shipped("nope").unwrap_err().to_string().contains("hotel-reservation"));
    }

    #[test]
    fn cpu_per_request_follows_the_calls() {
        let cpu = SMALL.parse::<Topology>().unwrap().cpu_us_per_request();
        assert_eq!(cpu.into_values().collect::<Vec<_>>(), [100.0, 100.0]);
    }

    #[test]
    fn a_service_that_hardly_computes_is_not_busy() {
        let hotel = Topology::shipped("hotel-reservation").unwrap();
        let busy = hotel.busy_services(0.05);
        assert_eq!(busy.len(), 7, "{busy:?}");
        assert!(busy.iter().all(|name| name.as_str() != "user"));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = SMALL.replace("share = 1.0", "share = 0.5").replace("workers = 1", "workers = 0");
        let told = problems_of(&text.replace("store = \"cache\"", "store = \"gone\""));
        for part in ["sum to 0.5", "workers must be at least 1", "gone, which is no store"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn a_call_in_a_circle_is_refused() {
        let told =
            problems_of(&SMALL.replace("steps = [{ fetch", "steps = [{ call = [\"a.get\"] }, { fetch"));
        assert!(told.contains("calls itself"), "{told}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(problems_of(&SMALL.replace("workers", "wrokers")).contains("wrokers"));
    }
}
