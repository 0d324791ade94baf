//! The interface of a node: the same for a machine over HTTP, for the kernel in process, and for the simulator.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    names::ContainerName,
    resource::Limits,
    wire::{ContainerState, NodeInfo, Plan, PlanOutcome},
};

/// What a controller can ask of a node.
#[async_trait]
pub trait NodeAgent: Send + Sync {
    /// What the node is and can do.
    async fn node(&self) -> Result<NodeInfo, NodeError>;

    /// Every container, in the order of their names.
    async fn containers(&self) -> Result<Vec<ContainerState>, NodeError>;

    /// Lends limits. Everything is checked before the first write; a write that fails undoes those before it.
    async fn apply(&self, plan: &Plan) -> Result<PlanOutcome, NodeError>;

    /// Puts one container back to its baseline, ends what an injection holds of its limits, and answers those in force then.
    async fn restore(&self, container: &ContainerName) -> Result<Limits, NodeError>;
}

/// Why a node did not do what was asked. Nothing is left half done but where [`Self::Internal`] says that undoing is being
/// retried: then what was written goes back to the baseline as soon as the kernel lets it.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NodeError {
    /// No container of that name is managed.
    #[error("no container named {container:?} is managed by this node")]
    UnknownContainer {
        /// The name asked for.
        container: String,
    },
    /// A newer plan was accepted before.
    #[error(
        "plan generation {offered} for {container} is older than generation {current}, which is in force"
    )]
    StaleGeneration {
        /// The container that has seen a newer plan.
        container: String,
        /// The plan's generation.
        offered: u64,
        /// The generation in force.
        current: u64,
    },
    /// The request makes no sense; every problem is named.
    #[error("the request is not valid: {}", problems.join("; "))]
    Invalid {
        /// One sentence for each problem.
        problems: Vec<String>,
    },
    /// The node does not know who asks.
    #[error("the node wants to know who asks: {detail}")]
    Unauthenticated {
        /// What is missing or wrong.
        detail: String,
    },
    /// The node knows who asks, and that this is not theirs to ask.
    #[error("the node does not allow this: {detail}")]
    Forbidden {
        /// What would be needed.
        detail: String,
    },
    /// Somebody asks more often than the node allows one peer to.
    #[error("the node is asked too often: wait {retry_after_seconds} s")]
    TooManyRequests {
        /// When to come back, in whole seconds.
        retry_after_seconds: u64,
    },
    /// The kernel refused a write. What had been written before was undone.
    #[error("{container}: {detail}; the writes before it were undone")]
    WriteFailed {
        /// The container concerned.
        container: String,
        /// Path, value and the kernel's reason.
        detail: String,
    },
    /// The node's own state could not be read or kept, or what had been written could not be undone yet.
    #[error("the node cannot do this now: {detail}")]
    Internal {
        /// What failed.
        detail: String,
    },
    /// Nobody answers.
    #[error("nobody answers at {url}: {detail}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why not.
        detail: String,
    },
    /// Somebody answers, but not as a program of Ballast does.
    #[error("{url} answers, but not as a node of Ballast does: {detail}")]
    Protocol {
        /// Who answered.
        url: String,
        /// What was odd.
        detail: String,
    },
}
