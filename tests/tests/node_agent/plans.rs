//! What the suite asks of a node, and how it looks at the answers.

use ballast_api::{
    BitsPerSecond, Bytes, BytesPerSecond, Capability, ContainerName, ContainerState, Cores, EgressIngress,
    Limit, LimitChange, Limits, NodeAgent, OperationsPerSecond, Plan, ReadWrite, Resource,
};

/// Longer than the suite takes.
pub(crate) const LONG_LEASE_SECONDS: f64 = 600.0;

pub(crate) fn name(container: &str) -> ContainerName {
    ContainerName::new(container).unwrap()
}

pub(crate) fn cores(cores: f64) -> Limits {
    Limits::of_cpu(Limit::At(Cores::new(cores).unwrap()))
}

pub(crate) fn plan(generation: u64, changes: &[(&str, Limits)]) -> Plan {
    let change =
        |(container, limits): &(&str, Limits)| LimitChange { container: name(container), limits: *limits };
    let changes = changes.iter().map(change).collect();
    Plan { generation, lease_seconds: LONG_LEASE_SECONDS, dry_run: false, changes }
}

/// A limit of one resource that differs from what any container here has, and that every kernel takes as it is.
pub(crate) fn example(resource: Resource) -> Limits {
    let nothing = Limits::default();
    match resource {
        Resource::Cpu => cores(0.3),
        Resource::Disk => {
            let bytes = Limit::At(BytesPerSecond::new(5e6).unwrap());
            let operations = Limit::At(OperationsPerSecond::new(900.0).unwrap());
            Limits {
                disk: Some(ReadWrite { read: bytes, write: Limit::Max }),
                disk_operations: Some(ReadWrite { read: Limit::Max, write: operations }),
                ..nothing
            }
        }
        Resource::Network => {
            let mbits = |mbits: f64| Limit::At(BitsPerSecond::new(mbits * 1e6).unwrap());
            let network = EgressIngress { egress: mbits(20.0), ingress: mbits(50.0) };
            Limits { network: Some(network), ..nothing }
        }
        // What a part of a cache or of its bandwidth is depends on the hardware: the suite of resctrl lends them.
        Resource::Llc => Limits { llc: Some(Limit::At(Bytes::new(1e6).unwrap())), ..nothing },
        Resource::MemoryBandwidth => {
            Limits { memory_bandwidth: Some(Limit::At(BytesPerSecond::new(1e9).unwrap())), ..nothing }
        }
    }
}

/// [`example`]s of all that can be limited of a container, but for those that are another suite's.
pub(crate) async fn examples(node: &dyn NodeAgent, container: &str) -> Limits {
    let capabilities = node.node().await.unwrap().capabilities;
    let missing = state_of(node, container).await.missing;
    let can = |resource: &Resource| {
        let capability = capabilities.get(*resource);
        matches!(capability, Some(Capability::Available { .. })) && missing.get(*resource).is_none()
    };
    let lent = [Resource::Cpu, Resource::Disk, Resource::Network].into_iter().filter(can);
    lent.fold(Limits::default(), |limits, resource| limits.or(example(resource)))
}

pub(crate) async fn state_of(node: &dyn NodeAgent, container: &str) -> ContainerState {
    let containers = node.containers().await.unwrap();
    containers.into_iter().find(|state| state.name.as_str() == container).unwrap()
}

/// What a plan may change of a container, without what time changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Books {
    pub(crate) limits: Limits,
    pub(crate) baseline: Limits,
    pub(crate) generation: u64,
    pub(crate) is_lent: bool,
}

/// Of both containers of the suite.
pub(crate) async fn books(node: &dyn NodeAgent, containers: [&str; 2]) -> [Books; 2] {
    let states = node.containers().await.unwrap();
    containers.map(|container| {
        let state = states.iter().find(|state| state.name.as_str() == container).unwrap();
        Books {
            limits: state.limits,
            baseline: state.baseline,
            generation: state.generation,
            is_lent: state.lease_remaining_seconds.is_some(),
        }
    })
}
