//! Ballast's vocabulary: names, units, limits, spans, counters, and the interface of a node.
//!
//! Every other package may use this one; it uses none of them, and knows neither kernels nor learners.

pub mod causes;
pub mod client;
pub mod clock;
pub mod counters;
pub mod files;
pub mod injector;
pub mod names;
pub mod node;
pub mod resource;
#[cfg(feature = "openapi")]
pub mod schema;
pub mod trace;
pub mod units;
pub mod wire;

mod whole;

pub use causes::with_causes;
pub use client::{Credentials, HttpInjector, HttpNode};
pub use clock::{Clock, SystemClock, UnixNanos};
pub use names::{ContainerId, ContainerName, InvalidName, NodeName};
pub use node::{NodeAgent, NodeError};
pub use resource::{Amounts, EgressIngress, Limit, Limits, PerResource, ReadWrite, Resource};
pub use units::{BitsPerSecond, Bytes, BytesPerSecond, Cores, InvalidQuantity, OperationsPerSecond};
pub use wire::{
    AppliedLimits, Capability, CgroupVersion, ContainerSource, ContainerState, LimitChange, NodeInfo, Plan,
    PlanOutcome, Throttling,
};
