//! The five resources, what is used of each, and what may be used.
//!
//! Absent (`None`) means that the node cannot measure or control the resource: never zero. Unlimited is
//! [`Limit::Max`], never -1.

mod limit;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use limit::Limit;

use crate::units::{BitsPerSecond, Bytes, BytesPerSecond, Cores, OperationsPerSecond};

/// What Ballast can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// CPU time, in cores.
    Cpu,
    /// Last-level cache, in bytes.
    Llc,
    /// Memory bandwidth, in bytes per second.
    MemoryBandwidth,
    /// Disk bandwidth, in bytes and in operations per second, read and write.
    Disk,
    /// Network bandwidth, in bits per second, egress and ingress.
    Network,
}

impl Resource {
    /// All five, in the order of every array that Ballast makes of them.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Llc, Self::MemoryBandwidth, Self::Disk, Self::Network];
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "cpu",
            Self::Llc => "llc",
            Self::MemoryBandwidth => "memory bandwidth",
            Self::Disk => "disk",
            Self::Network => "network",
        })
    }
}

/// One `T` for each resource that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PerResource<T> {
    /// For [`Resource::Cpu`].
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<T>,
    /// For [`Resource::Llc`].
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub llc: Option<T>,
    /// For [`Resource::MemoryBandwidth`].
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub memory_bandwidth: Option<T>,
    /// For [`Resource::Disk`].
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub disk: Option<T>,
    /// For [`Resource::Network`].
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub network: Option<T>,
}

/// `Option`'s own default would ask `T: Default` of the derive.
fn none<T>() -> Option<T> {
    None
}

impl<T> Default for PerResource<T> {
    fn default() -> Self {
        Self { cpu: None, llc: None, memory_bandwidth: None, disk: None, network: None }
    }
}

impl<T> PerResource<T> {
    /// One `T` for each resource for which `of` answers.
    pub fn from_fn(mut of: impl FnMut(Resource) -> Option<T>) -> Self {
        Self {
            cpu: of(Resource::Cpu),
            llc: of(Resource::Llc),
            memory_bandwidth: of(Resource::MemoryBandwidth),
            disk: of(Resource::Disk),
            network: of(Resource::Network),
        }
    }

    /// The one of `resource`.
    pub fn get(&self, resource: Resource) -> Option<&T> {
        match resource {
            Resource::Cpu => self.cpu.as_ref(),
            Resource::Llc => self.llc.as_ref(),
            Resource::MemoryBandwidth => self.memory_bandwidth.as_ref(),
            Resource::Disk => self.disk.as_ref(),
            Resource::Network => self.network.as_ref(),
        }
    }

    /// These, and where there is none, those of `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            cpu: self.cpu.or(others.cpu),
            llc: self.llc.or(others.llc),
            memory_bandwidth: self.memory_bandwidth.or(others.memory_bandwidth),
            disk: self.disk.or(others.disk),
            network: self.network.or(others.network),
        }
    }

    /// Those that are there, in the order of [`Resource::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Resource, &T)> {
        Resource::ALL.into_iter().filter_map(|resource| self.get(resource).map(|value| (resource, value)))
    }
}

/// One value for each direction of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadWrite<T> {
    /// From the disk.
    pub read: T,
    /// To the disk.
    pub write: T,
}

impl<T> ReadWrite<T> {
    /// The same of both directions.
    pub fn map<U>(self, mut of: impl FnMut(T) -> U) -> ReadWrite<U> {
        ReadWrite { read: of(self.read), write: of(self.write) }
    }

    /// The same of both directions, where neither fails.
    ///
    /// # Errors
    /// The first one of `of`.
    pub fn try_map<U, E>(self, mut of: impl FnMut(T) -> Result<U, E>) -> Result<ReadWrite<U>, E> {
        Ok(ReadWrite { read: of(self.read)?, write: of(self.write)? })
    }
}

/// One value for each direction of a network interface, seen from the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EgressIngress<T> {
    /// Out of the container.
    pub egress: T,
    /// Into the container.
    pub ingress: T,
}

impl<T> EgressIngress<T> {
    /// The same of both directions.
    pub fn map<U>(self, mut of: impl FnMut(T) -> U) -> EgressIngress<U> {
        EgressIngress { egress: of(self.egress), ingress: of(self.ingress) }
    }
}

/// So much of each resource: a usage (a rate over an interval) or a node's capacity.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Amounts {
    /// CPU time per wall-clock time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
    /// Last-level cache occupied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llc: Option<Bytes>,
    /// Memory traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bandwidth: Option<BytesPerSecond>,
    /// The part of it that stays on its own NUMA node; known of a usage only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bandwidth_local: Option<BytesPerSecond>,
    /// Disk traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<ReadWrite<BytesPerSecond>>,
    /// Disk requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_operations: Option<ReadWrite<OperationsPerSecond>>,
    /// Network traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<EgressIngress<BitsPerSecond>>,
}

/// What may be used of each resource. In a plan an absent resource is left as it is; in an answer it is one that the
/// node does not control.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// CPU bandwidth (CFS quota over period).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Limit>))]
    pub cpu: Option<Limit<Cores>>,
    /// Last-level cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Limit>))]
    pub llc: Option<Limit<Bytes>>,
    /// Memory bandwidth.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Limit>))]
    pub memory_bandwidth: Option<Limit<BytesPerSecond>>,
    /// Disk bandwidth.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ReadWrite<crate::schema::Limit>>))]
    pub disk: Option<ReadWrite<Limit<BytesPerSecond>>>,
    /// Disk requests: the other half of [`Resource::Disk`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ReadWrite<crate::schema::Limit>>))]
    pub disk_operations: Option<ReadWrite<Limit<OperationsPerSecond>>>,
    /// Network bandwidth: of frames with all their headers, Ethernet's too, as they are on a wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<EgressIngress<crate::schema::Limit>>))]
    pub network: Option<EgressIngress<Limit<BitsPerSecond>>>,
}

impl Limits {
    /// Limits that say nothing but the CPU's.
    #[must_use]
    pub fn of_cpu(limit: Limit<Cores>) -> Self {
        Self { cpu: Some(limit), ..Self::default() }
    }

    /// The resources that these limits speak of.
    pub fn named(&self) -> impl Iterator<Item = Resource> + use<> {
        let said = PerResource {
            cpu: self.cpu.map(|_| ()),
            llc: self.llc.map(|_| ()),
            memory_bandwidth: self.memory_bandwidth.map(|_| ()),
            disk: self.disk.map(|_| ()).or(self.disk_operations.map(|_| ())),
            network: self.network.map(|_| ()),
        };
        Resource::ALL.into_iter().filter(move |resource| said.get(*resource).is_some())
    }

    /// These limits, and where they say nothing, those of `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            cpu: self.cpu.or(others.cpu),
            llc: self.llc.or(others.llc),
            memory_bandwidth: self.memory_bandwidth.or(others.memory_bandwidth),
            disk: self.disk.or(others.disk),
            disk_operations: self.disk_operations.or(others.disk_operations),
            network: self.network.or(others.network),
        }
    }

    /// Of these limits, those that `others` do not speak of.
    #[must_use]
    pub fn without(self, others: &Self) -> Self {
        Self {
            cpu: self.cpu.filter(|_| others.cpu.is_none()),
            llc: self.llc.filter(|_| others.llc.is_none()),
            memory_bandwidth: self.memory_bandwidth.filter(|_| others.memory_bandwidth.is_none()),
            disk: self.disk.filter(|_| others.disk.is_none()),
            disk_operations: self.disk_operations.filter(|_| others.disk_operations.is_none()),
            network: self.network.filter(|_| others.network.is_none()),
        }
    }

    /// Of these limits, those of which `others` say something else.
    #[must_use]
    pub fn differing(self, others: &Self) -> Self {
        Self {
            cpu: self.cpu.filter(|_| others.cpu.is_some() && self.cpu != others.cpu),
            llc: self.llc.filter(|_| others.llc.is_some() && self.llc != others.llc),
            memory_bandwidth: self.memory_bandwidth.filter(|_| {
                others.memory_bandwidth.is_some() && self.memory_bandwidth != others.memory_bandwidth
            }),
            disk: self.disk.filter(|_| others.disk.is_some() && self.disk != others.disk),
            disk_operations: self.disk_operations.filter(|_| {
                others.disk_operations.is_some() && self.disk_operations != others.disk_operations
            }),
            network: self.network.filter(|_| others.network.is_some() && self.network != others.network),
        }
    }

    /// Of these limits, those that `others` speak of too.
    #[must_use]
    pub fn among(self, others: &Self) -> Self {
        Self {
            cpu: self.cpu.filter(|_| others.cpu.is_some()),
            llc: self.llc.filter(|_| others.llc.is_some()),
            memory_bandwidth: self.memory_bandwidth.filter(|_| others.memory_bandwidth.is_some()),
            disk: self.disk.filter(|_| others.disk.is_some()),
            disk_operations: self.disk_operations.filter(|_| others.disk_operations.is_some()),
            network: self.network.filter(|_| others.network.is_some()),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_disk =
            |read: &dyn fmt::Display, write: &dyn fmt::Display| format!("disk read {read}, write {write}");
        let said = [
            self.cpu.map(|limit| format!("cpu {limit}")),
            self.llc.map(|limit| format!("llc {limit}")),
            self.memory_bandwidth.map(|limit| format!("memory bandwidth {limit}")),
            self.disk.map(|limits| of_disk(&limits.read, &limits.write)),
            self.disk_operations.map(|limits| of_disk(&limits.read, &limits.write)),
            self.network
                .map(|limits| format!("network egress {}, ingress {}", limits.egress, limits.ingress)),
        ];
        f.pad(&said.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_resources_stay_absent_on_the_wire() {
        let limits = Limits::of_cpu(Limit::Max);
        assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"cpu":"max"}"#);
        assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), Limits::default());
        assert_eq!(limits.named().collect::<Vec<_>>(), [Resource::Cpu]);
    }

    #[test]
    fn an_unknown_resource_is_refused() {
        assert!(serde_json::from_str::<Limits>(r#"{"gpu":1}"#).is_err());
        assert!(serde_json::from_str::<PerResource<f64>>(r#"{"gpu":1}"#).is_err());
    }

    #[test]
    fn limits_are_laid_over_others_and_picked_from_them() {
        let disk = ReadWrite { read: Limit::Max, write: Limit::At(BytesPerSecond::saturating(5.0)) };
        let of_disk = Limits { disk: Some(disk), ..Limits::default() };
        let both = of_disk.or(Limits::of_cpu(Limit::Max));
        assert_eq!(both.named().collect::<Vec<_>>(), [Resource::Cpu, Resource::Disk]);
        assert_eq!(both.among(&of_disk), of_disk);
        assert_eq!(both.without(&of_disk), Limits::of_cpu(Limit::Max));
        let none_left = Limits::of_cpu(Limit::At(Cores::ZERO));
        assert_eq!(both.or(none_left), both);
        assert_eq!(both.differing(&none_left), Limits::of_cpu(Limit::Max), "of the disk it says nothing");
        assert_eq!(both.differing(&both), Limits::default());
        assert_eq!(both.to_string(), "cpu max; disk read max, write 5 bytes/s");
    }
}
