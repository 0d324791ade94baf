//! What travels between a controller and a node, as JSON under `/v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    clock::UnixNanos,
    names::{ContainerName, NodeName},
    resource::{Amounts, Limits, PerResource},
    whole,
};

/// The answer to `GET /v1/node`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeInfo {
    /// The node's name.
    pub name: NodeName,
    /// Version of the env-server (or of the simulator that plays one).
    pub software_version: String,
    /// Where the CPU controller lives.
    pub cgroup_version: CgroupVersion,
    /// What the machine has.
    pub capacity: Amounts,
    /// What the node can do with each resource: all five are there, the missing ones with the reason.
    pub capabilities: PerResource<Capability>,
}

/// The two kernel interfaces of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CgroupVersion {
    /// One hierarchy for each controller.
    V1,
    /// The unified hierarchy.
    V2,
    /// No kernel at all: the simulator.
    Simulated,
}

/// Whether a node controls a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Capability {
    /// Limits of this resource are accepted.
    Available {
        /// How it is done, for people.
        mechanism: String,
    },
    /// Limits of this resource are refused.
    Unavailable {
        /// Why, as a sentence for people.
        reason: String,
    },
}

/// One element of the answer to `GET /v1/containers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContainerState {
    /// Its name on this node.
    pub name: ContainerName,
    /// Who made it.
    #[serde(default)]
    pub source: ContainerSource,
    /// What its maker says about it: Docker's labels, or the pod's. At most 64, those with long names or values left out; and
    /// of a container in a pod `io.kubernetes.pod.qosClass`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Rates over the last sampling interval; absent until two samples were taken.
    pub usage: Option<Amounts>,
    /// CFS throttling over the same interval; absent until two samples were taken, and where it is not counted.
    pub throttling: Option<Throttling>,
    /// Why a resource that its node can measure is absent from the usage, a sentence for people each; of the memory bandwidth
    /// also when only the local part is absent.
    #[serde(default)]
    pub unmeasured: PerResource<String>,
    /// The limits in force, as the kernel reads back.
    pub limits: Limits,
    /// The limits found before Ballast acted. Absent where nothing is lent and an injection holds what is in force for a while.
    pub baseline: Limits,
    /// Why this container cannot be limited in a resource that its node controls, a sentence for people each.
    #[serde(default)]
    pub missing: PerResource<String>,
    /// Which resources are left alone for now, because somebody else changed their limits while they were lent, or because an
    /// injection holds them; a sentence for people each.
    #[serde(default)]
    pub drift: PerResource<String>,
    /// When the sample was taken.
    pub sampled_at_unix_nanos: UnixNanos,
    /// Generation of the last plan that touched it; 0 before the first.
    pub generation: u64,
    /// Seconds until the limits go back to the baseline; absent when nothing is lent.
    pub lease_remaining_seconds: Option<f64>,
}

/// Who made a container, and so who named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ContainerSource {
    /// Somebody made a cgroup; its folder's name is the container's.
    #[default]
    Plain,
    /// Docker, which named it.
    Docker,
    /// The kubelet; it is called `namespace.pod.container`.
    Kubernetes,
}

/// How much a container was held back by its CPU quota.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Throttling {
    /// Share of the enforcement periods in which it was throttled, in [0, 1]; 0 when no period passed.
    pub throttled_share: f64,
    /// Seconds of throttling (summed over CPUs) per second of wall-clock time.
    pub throttled_seconds_per_second: f64,
}

/// The body of `POST /v1/plans`: limits for many containers, lent for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// Order among plans: one older than the last that touched a container is refused. An equal one renews the lease.
    #[serde(deserialize_with = "whole::deserialize")]
    #[cfg_attr(feature = "openapi", schema(maximum = 18_446_744_073_709_551_615_u64))]
    pub generation: u64,
    /// How long the limits hold without renewal, in seconds; more than 0 and at most 3600.
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0, maximum = 3600))]
    pub lease_seconds: f64,
    /// Check and answer, but change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// At most one change for each container, and at most 1000 in all.
    #[cfg_attr(feature = "openapi", schema(max_items = 1000))]
    pub changes: Vec<LimitChange>,
}

impl Plan {
    /// The most changes that a node takes.
    pub const MAX_CHANGES: usize = 1000;
}

/// New limits for one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitChange {
    /// Which container.
    pub container: ContainerName,
    /// Its limits; absent resources are left as they are.
    pub limits: Limits,
}

/// The answer to a plan: what is in force now (or would be, for a dry run).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlanOutcome {
    /// The plan's generation.
    pub generation: u64,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// In the order of the plan's changes.
    pub applied: Vec<AppliedLimits>,
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppliedLimits {
    /// Which container.
    pub container: ContainerName,
    /// What was asked.
    pub requested: Limits,
    /// What was in force before.
    pub before: Limits,
    /// What is in force, after the hardware's rounding: only the resources that were asked for. One that is left alone
    /// ([`ContainerState::drift`]) is as it was found.
    pub applied: Limits,
    /// Containers with which this one has its limits of cache and memory bandwidth together, because the hardware has
    /// fewer classes of service than containers that want one. Each has at least what it asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_with: Vec<ContainerName>,
}
