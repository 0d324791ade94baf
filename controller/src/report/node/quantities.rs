//! What a node or a container uses, has or may use, as numbers in units that people read.
//!
//! Must not know how they are laid out.

use ballast_api::{
    Amounts, BitsPerSecond, Cores, EgressIngress, Limit, Limits, OperationsPerSecond, ReadWrite, Resource,
};

/// One of the numbers that a resource has.
pub(super) struct Quantity {
    pub(super) resource: Resource,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
}

const fn quantity(resource: Resource, name: &'static str, unit: &'static str) -> Quantity {
    Quantity { resource, name, unit }
}

/// All of them.
pub(super) static QUANTITIES: [Quantity; 9] = [
    quantity(Resource::Cpu, "cpu", "cores"),
    quantity(Resource::Llc, "cache", "MiB"),
    quantity(Resource::MemoryBandwidth, "memory", "MB/s"),
    quantity(Resource::Disk, "disk read", "MB/s"),
    quantity(Resource::Disk, "disk write", "MB/s"),
    quantity(Resource::Disk, "disk reads", "1/s"),
    quantity(Resource::Disk, "disk writes", "1/s"),
    quantity(Resource::Network, "network out", "Mbit/s"),
    quantity(Resource::Network, "network in", "Mbit/s"),
];

const MIB: f64 = 1_048_576.0;

/// Amounts in the order and the units of [`QUANTITIES`].
pub(super) fn amounts(of: &Amounts) -> [Option<f64>; 9] {
    let disk = of.disk.map(|disk| disk.map(|rate| rate.get() / 1e6));
    let operations = of.disk_operations.map(|operations| operations.map(OperationsPerSecond::get));
    let network =
        of.network.map(|EgressIngress { egress, ingress }| (egress.get() / 1e6, ingress.get() / 1e6));
    [
        of.cpu.map(Cores::get),
        of.llc.map(|bytes| bytes.get() / MIB),
        of.memory_bandwidth.map(|rate| rate.get() / 1e6),
        disk.map(|ReadWrite { read, .. }| read),
        disk.map(|ReadWrite { write, .. }| write),
        operations.map(|ReadWrite { read, .. }| read),
        operations.map(|ReadWrite { write, .. }| write),
        network.map(|(egress, _)| egress),
        network.map(|(_, ingress)| ingress),
    ]
}

/// The same of limits.
pub(super) fn limits(of: &Limits) -> [Option<Limit<f64>>; 9] {
    let disk = of.disk.map(|limits| limits.map(|limit| limit.map(|rate| rate.get() / 1e6)));
    let operations = of.disk_operations.map(|limits| limits.map(|limit| limit.map(OperationsPerSecond::get)));
    let network = of.network.map(|EgressIngress { egress, ingress }| {
        let mbits = |limit: Limit<BitsPerSecond>| limit.map(|rate| rate.get() / 1e6);
        (mbits(egress), mbits(ingress))
    });
    [
        of.cpu.map(|limit| limit.map(Cores::get)),
        of.llc.map(|limit| limit.map(|bytes| bytes.get() / MIB)),
        of.memory_bandwidth.map(|limit| limit.map(|rate| rate.get() / 1e6)),
        disk.map(|limits| limits.read),
        disk.map(|limits| limits.write),
        operations.map(|limits| limits.read),
        operations.map(|limits| limits.write),
        network.map(|(egress, _)| egress),
        network.map(|(_, ingress)| ingress),
    ]
}
