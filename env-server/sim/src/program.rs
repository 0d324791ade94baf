//! A topology with its names resolved to indices: what the engine walks without looking anything up.
//!
//! Pure. Must not know time, chance or load.

use std::{collections::BTreeMap, sync::Arc};

use ballast_api::ContainerName;

use crate::{
    config::{FETCH_KEY_US, FETCH_US, MAX_CALLS_PER_REQUEST, STORE_WORKERS, quota_us},
    topology::{self, OperationName, Step, Topology},
};

/// Services, stores, operations and requests, by index.
#[derive(Debug)]
pub(crate) struct Program {
    /// Services first, then stores, as in [`Topology::containers`].
    pub(crate) containers: Vec<Container>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) fetches: Vec<Fetch>,
    pub(crate) requests: Vec<Request>,
}

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) name: ContainerName,
    pub(crate) label: Arc<str>,
    pub(crate) workers: usize,
    /// The quota it is deployed with, in microseconds for each period.
    pub(crate) quota_us: u64,
}

#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) container: usize,
    pub(crate) label: Arc<str>,
    pub(crate) steps: Vec<Action>,
}

/// One step, ready to run.
#[derive(Debug)]
pub(crate) enum Action {
    Compute {
        mean_ns: f64,
    },
    /// Operations called together and waited for.
    Call(Vec<usize>),
    /// Operations called together and not waited for.
    Notify(Vec<usize>),
    /// The multi-get with this index.
    Fetch(usize),
}

/// One multi-get of one step.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) container: usize,
    pub(crate) label: Arc<str>,
    pub(crate) work_ns: f64,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) label: Arc<str>,
    pub(crate) operation: usize,
    /// Shares of this one and those before it.
    pub(crate) cumulative_share: f64,
}

impl Program {
    /// Resolves a topology.
    ///
    /// # Errors
    /// One sentence for each problem: limits that the kernel would refuse, names that do not resolve, too many calls.
    pub(crate) fn compile(topology: &Topology) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let containers = containers_of(topology, &mut problems);
        let names = Names::of(topology);
        let mut fetches = Vec::new();
        let mut operations = Vec::new();
        for operation in &topology.operations {
            let mut action = |step| names.action(step, &mut fetches, &mut problems);
            let steps = operation.steps.iter().filter_map(&mut action).collect();
            let label = operation.name.to_string().into();
            if let Some(container) = names.container(&operation.name.service, &mut problems) {
                operations.push(Operation { container, label, steps });
            }
        }
        let mut cumulative_share = 0.0;
        let requests = topology.requests.iter().filter_map(|request| {
            cumulative_share += request.share;
            let operation = names.operation(&request.operation, &mut problems)?;
            Some(Request { label: request.name.as_str().into(), operation, cumulative_share })
        });
        let requests: Vec<_> = requests.collect();
        if requests.is_empty() {
            problems.push("the topology has no requests".to_owned());
        }
        let program = Self { containers, operations, fetches, requests };
        if problems.is_empty() {
            program.check_size(&mut problems);
        }
        if problems.is_empty() { Ok(program) } else { Err(problems) }
    }

    /// Memory is bounded by requests in flight times calls of one request; without cycles the walk ends.
    fn check_size(&self, problems: &mut Vec<String>) {
        let mut known = vec![None; self.operations.len()];
        for request in &self.requests {
            let calls = self.calls_of(request.operation, &mut known);
            if calls > MAX_CALLS_PER_REQUEST {
                problems.push(format!(
                    "request {:?} causes {calls} calls; at most {MAX_CALLS_PER_REQUEST} are simulated",
                    request.label
                ));
            }
        }
    }

    fn calls_of(&self, operation: usize, known: &mut [Option<u64>]) -> u64 {
        if let Some(calls) = known[operation] {
            return calls;
        }
        // Until it is known: an operation that calls itself in the end is endless, and refused as too large.
        known[operation] = Some(u64::MAX);
        let mut calls = 1_u64;
        for step in &self.operations[operation].steps {
            match step {
                Action::Call(callees) | Action::Notify(callees) => {
                    for callee in callees {
                        calls = calls.saturating_add(self.calls_of(*callee, known));
                    }
                }
                Action::Fetch(_) => calls = calls.saturating_add(1),
                Action::Compute { .. } => {}
            }
        }
        known[operation] = Some(calls);
        calls
    }
}

fn containers_of(topology: &Topology, problems: &mut Vec<String>) -> Vec<Container> {
    let workers = topology.services.iter().map(|service| service.workers);
    let workers = workers.chain(std::iter::repeat(STORE_WORKERS));
    let mut containers = Vec::new();
    for ((name, cores), workers) in topology.containers().zip(workers) {
        match quota_us(cores) {
            Some(quota_us) => {
                let label = name.as_str().into();
                containers.push(Container { name: name.clone(), label, workers, quota_us });
            }
            None => {
                problems.push(format!("{name}: a CPU limit of {cores} cores is outside what a kernel takes"));
            }
        }
    }
    containers
}

/// Where each name is.
struct Names<'a> {
    containers: BTreeMap<&'a ContainerName, usize>,
    operations: BTreeMap<&'a OperationName, usize>,
}

impl<'a> Names<'a> {
    fn of(topology: &'a Topology) -> Self {
        let containers = topology.containers().enumerate().map(|(index, (name, _))| (name, index)).collect();
        let operations = topology.operations.iter().map(|operation| &operation.name);
        let operations = operations.enumerate().map(|(index, name)| (name, index)).collect();
        Self { containers, operations }
    }

    fn container(&self, name: &ContainerName, problems: &mut Vec<String>) -> Option<usize> {
        let found = self.containers.get(name).copied();
        if found.is_none() {
            problems.push(format!("there is no container {name}"));
        }
        found
    }

    fn operation(&self, name: &OperationName, problems: &mut Vec<String>) -> Option<usize> {
        let found = self.operations.get(name).copied();
        if found.is_none() {
            problems.push(format!("there is no operation {name}"));
        }
        found
    }

    fn action(&self, step: &Step, fetches: &mut Vec<Fetch>, problems: &mut Vec<String>) -> Option<Action> {
        let mut callees = |names: &[OperationName]| {
            names.iter().filter_map(|name| self.operation(name, problems)).collect::<Vec<_>>()
        };
        Some(match step {
            Step::CpuUs(mean) => Action::Compute { mean_ns: mean * 1e3 },
            Step::Call(names) => Action::Call(callees(names)),
            Step::Notify(names) => Action::Notify(callees(names)),
            Step::Fetch(topology::Fetch { store, keys, .. }) => {
                let container = self.container(store, problems)?;
                let work_ns = (FETCH_US + FETCH_KEY_US * f64::from(*keys)) * 1e3;
                fetches.push(Fetch { container, label: format!("{store}.get").into(), work_ns });
                Action::Fetch(fetches.len() - 1)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hotel_resolves_and_keeps_the_order_of_its_containers() {
        let topology = Topology::shipped("hotel-reservation").unwrap();
        let program = Program::compile(&topology).unwrap();
        assert!(program.containers.iter().map(|c| &c.name).eq(topology.containers().map(|(name, _)| name)));
        assert!((program.requests.last().unwrap().cumulative_share - 1.0).abs() < 1e-9);
        // The entry, three calls of the frontend, two of search, and four fetches.
        assert_eq!(program.calls_of(0, &mut vec![None; program.operations.len()]), 10);
    }

    #[test]
    fn a_graph_that_explodes_is_refused_in_no_time() {
        let mut text = String::from(
            r#"
            name = "bomb"
            service = [{ name = "a", workers = 1, cpu_limit_cores = 0.001 }]
            request = [{ name = "GET /", operation = "a.o40", share = 1.0, objective = { percentile = 99.0, target_ms = 1.0 } }]
            [[operation]]
            name = "a.o0"
            steps = [{ cpu_us = 1.0 }]
            "#,
        );
        for depth in 1..=40 {
            let below = depth - 1;
            text += &format!(
                "[[operation]]\nname = \"a.o{depth}\"\nsteps = [{{ call = [\"a.o{below}\", \"a.o{below}\"] }}]\n"
            );
        }
        let mut topology = text.parse::<Topology>().unwrap();
        assert!(Program::compile(&topology).unwrap_err().join(" ").contains("a kernel takes"));
        topology.services[0].cpu_limit_cores = 0.1;
        assert!(Program::compile(&topology).unwrap_err().join(" ").contains("at most 10000"));
    }
}
