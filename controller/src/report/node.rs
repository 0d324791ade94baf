//! A node as people read it: what it can limit, and every limit that its containers have.

use std::fmt::Write;

use ballast_api::{
    Amounts, Capability, ContainerState, Cores, EgressIngress, Limit, Limits, NodeInfo, OperationsPerSecond,
    ReadWrite,
};

/// The node and its containers. A container has a line for its CPU, and one for each other limit that somebody set and
/// each other thing that it uses.
#[must_use]
pub fn node(info: &NodeInfo, containers: &[ContainerState]) -> String {
    let mut text = String::new();
    let capacity = info.capacity.cpu.map_or_else(|| "unknown".to_owned(), |cores| format!("{cores:.1}"));
    // Writing into a string cannot fail.
    let _ =
        writeln!(text, "node {}, env-server {}, CPU capacity {capacity}", info.name, info.software_version);
    for (resource, capability) in info.capabilities.iter() {
        let _ = match capability {
            Capability::Available { mechanism } => writeln!(text, "  {resource:<17} {mechanism}"),
            Capability::Unavailable { reason } => writeln!(text, "  {resource:<17} not available: {reason}"),
        };
    }
    let _ = writeln!(
        text,
        "\n{:<28} {:<22} {:>9} {:>9} {:>9} {:>10} {:>8}",
        "container", "", "usage", "limit", "baseline", "throttled", "lease"
    );
    containers.iter().for_each(|state| container(&mut text, state));
    text
}

fn container(text: &mut String, state: &ContainerState) {
    let throttled = state.throttling.map(|throttling| format!("{:.0} %", throttling.throttled_share * 100.0));
    let lease = state.lease_remaining_seconds.map(|left| format!("{left:.0} s"));
    let (mut name, mut throttled, mut lease) = (state.name.as_str(), throttled, lease);
    for line in lines(state).into_iter().filter(Line::says_something) {
        let _ = writeln!(
            text,
            "{name:<28} {:<22} {:>9} {:>9} {:>9} {:>10} {:>8}",
            line.what,
            line.usage.map_or_else(dash, |usage| format!("{usage:.3}")),
            limit_text(line.limit),
            limit_text(line.baseline),
            throttled.take().unwrap_or_else(dash),
            lease.take().unwrap_or_else(dash),
        );
        // These belong to the container: its first line has them.
        (name, throttled, lease) = ("", Some(String::new()), Some(String::new()));
    }
    for (resource, reason) in state.missing.iter() {
        let _ = writeln!(text, "  its {resource} cannot be limited: {reason}");
    }
    for (resource, reason) in state.drift.iter() {
        let _ = writeln!(text, "  its {resource} is left alone: {reason}");
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// One limit of a container, in a unit that people read.
struct Line {
    what: &'static str,
    usage: Option<f64>,
    limit: Option<Limit<f64>>,
    baseline: Option<Limit<f64>>,
}

impl Line {
    fn says_something(&self) -> bool {
        let is_set = |limit| matches!(limit, Some(Limit::At(_)));
        self.what == CPU
            || is_set(self.limit)
            || is_set(self.baseline)
            || self.usage.is_some_and(|usage| usage > 0.0)
    }
}

const CPU: &str = "cpu, cores";

fn lines(state: &ContainerState) -> Vec<Line> {
    let used = state.usage.unwrap_or_default();
    let (limit, baseline) = (numbers(&state.limits), numbers(&state.baseline));
    let whats = [
        CPU,
        "cache, MiB",
        "memory, MB/s",
        "disk read, MB/s",
        "disk write, MB/s",
        "disk reads/s",
        "disk writes/s",
        "network out, Mbit/s",
        "network in, Mbit/s",
    ];
    let lines = whats.into_iter().zip(amounts(&used)).zip(limit.into_iter().zip(baseline));
    lines.map(|((what, usage), (limit, baseline))| Line { what, usage, limit, baseline }).collect()
}

const MIB: f64 = 1_048_576.0;

/// What is used, in the order and the units of [`lines`].
fn amounts(of: &Amounts) -> [Option<f64>; 9] {
    let disk = of.disk.map(|ReadWrite { read, write }| (read.get() / 1e6, write.get() / 1e6));
    let operations = of.disk_operations.map(|ReadWrite { read, write }| (read.get(), write.get()));
    let network =
        of.network.map(|EgressIngress { egress, ingress }| (egress.get() / 1e6, ingress.get() / 1e6));
    [
        of.cpu.map(Cores::get),
        of.llc.map(|bytes| bytes.get() / MIB),
        of.memory_bandwidth.map(|rate| rate.get() / 1e6),
        disk.map(|(read, _)| read),
        disk.map(|(_, write)| write),
        operations.map(|(read, _)| read),
        operations.map(|(_, write)| write),
        network.map(|(egress, _)| egress),
        network.map(|(_, ingress)| ingress),
    ]
}

/// The same of limits.
fn numbers(of: &Limits) -> [Option<Limit<f64>>; 9] {
    let disk = of.disk.map(|limits| limits.map(|limit| limit.map(|rate| rate.get() / 1e6)));
    let operations = of.disk_operations.map(|limits| limits.map(|limit| limit.map(OperationsPerSecond::get)));
    let network = of.network.map(|EgressIngress { egress, ingress }| {
        let mbits = |limit: Limit<ballast_api::BitsPerSecond>| limit.map(|rate| rate.get() / 1e6);
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

fn limit_text(limit: Option<Limit<f64>>) -> String {
    match limit {
        None => dash(),
        Some(Limit::Max) => "max".to_owned(),
        Some(Limit::At(amount)) => format!("{amount:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use ballast_api::{BytesPerSecond, CgroupVersion, ContainerSource, NodeName, PerResource, UnixNanos};

    use super::*;

    fn state() -> ContainerState {
        let write = Limit::At(BytesPerSecond::new(5e6).unwrap());
        let disk = Limits { disk: Some(ReadWrite { read: Limit::Max, write }), ..Limits::default() };
        ContainerState {
            name: "geo".parse().unwrap(),
            source: ContainerSource::Plain,
            labels: std::collections::BTreeMap::new(),
            usage: Some(Amounts { cpu: Some(Cores::new(0.05).unwrap()), ..Amounts::default() }),
            throttling: None,
            unmeasured: PerResource::default(),
            limits: Limits::of_cpu(Limit::At(Cores::new(0.2).unwrap())).or(disk),
            baseline: Limits::of_cpu(Limit::Max),
            missing: PerResource {
                network: Some("it has only loopback".to_owned()),
                ..PerResource::default()
            },
            drift: PerResource::default(),
            sampled_at_unix_nanos: UnixNanos(0),
            generation: 1,
            lease_remaining_seconds: Some(8.4),
        }
    }

    #[test]
    fn a_container_has_a_line_for_each_limit_that_somebody_set() {
        let info = NodeInfo {
            name: NodeName::new("n1").unwrap(),
            software_version: "0.1.0".to_owned(),
            cgroup_version: CgroupVersion::V1,
            capacity: Amounts::default(),
            capabilities: PerResource::default(),
        };
        let text = node(&info, &[state()]);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[3], ["geo", "cpu,", "cores", "0.050", "0.200", "max", "-", "8", "s"]);
        assert_eq!(words[4], ["disk", "write,", "MB/s", "-", "5.000", "-"]);
        assert!(words[5].join(" ").ends_with("its network cannot be limited: it has only loopback"));
        assert_eq!(words.len(), 6, "{text}");
    }
}
