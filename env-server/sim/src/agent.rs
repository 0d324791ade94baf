//! The simulator behind the interface of a node, so that a controller cannot tell.
//!
//! Must not know how it is computed: everything is asked of [`Simulation`]. Somebody else advances the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ballast_api::{
    Amounts, Capability, CgroupVersion, ContainerName, ContainerState, Cores, Limits, NodeAgent, NodeError,
    NodeInfo, PerResource, Plan, PlanOutcome, Resource,
};

use crate::{config::PERIOD, simulation::Simulation};

/// The one node of a simulation.
#[derive(Debug, Clone)]
pub struct SimulatedNode {
    simulation: Arc<Mutex<Simulation>>,
}

impl SimulatedNode {
    /// The node of `simulation`, which the owner advances through the same mutex.
    #[must_use]
    pub fn new(simulation: Arc<Mutex<Simulation>>) -> Self {
        Self { simulation }
    }

    /// A holder that panicked cannot have left a simulation half changed for us to fear more than an answer.
    fn lock(&self) -> MutexGuard<'_, Simulation> {
        self.simulation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Simulation {
    /// What `GET /v1/node` shows.
    #[must_use]
    pub fn node_info(&self) -> NodeInfo {
        let cores = Cores::saturating(self.config.node_cores);
        NodeInfo {
            name: self.config.node.clone(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            cgroup_version: CgroupVersion::Simulated,
            capacity: Amounts { cpu: Some(cores), ..Amounts::default() },
            capabilities: PerResource::from_fn(|resource| Some(capability(resource))),
        }
    }
}

/// What the simulated node can do with a resource.
pub(crate) fn capability(resource: Resource) -> Capability {
    match resource {
        Resource::Cpu => Capability::Available {
            mechanism: format!("simulated CFS quota, periods of {} ms", PERIOD.as_millis()),
        },
        other => Capability::Unavailable { reason: format!("this simulator does not model the {other} yet") },
    }
}

#[async_trait]
impl NodeAgent for SimulatedNode {
    async fn node(&self) -> Result<NodeInfo, NodeError> {
        Ok(self.lock().node_info())
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, NodeError> {
        Ok(self.lock().container_states())
    }

    async fn apply(&self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        self.lock().apply(plan)
    }

    async fn restore(&self, container: &ContainerName) -> Result<Limits, NodeError> {
        self.lock().restore(container)
    }
}
