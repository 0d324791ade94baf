//! Nodes as text: what a person sees.

use std::collections::BTreeMap;

use ballast_api::{
    BitsPerSecond, Bytes, BytesPerSecond, ContainerSource, Cores, EgressIngress, Limits, NodeError, NodeName,
    PerResource, ReadWrite, Throttling,
};

use super::*;

const NOW: UnixNanos = UnixNanos(100_000_000_000);

fn cpu(cores: f64) -> Limits {
    Limits::of_cpu(Limit::At(Cores::new(cores).unwrap()))
}

fn disk_write(bytes: f64) -> Limits {
    let write = Limit::At(BytesPerSecond::new(bytes).unwrap());
    Limits { disk: Some(ReadWrite { read: Limit::Max, write }), ..Limits::default() }
}

/// Idle, and lent nothing.
fn idle(name: &str) -> ContainerState {
    ContainerState {
        name: name.parse().unwrap(),
        source: ContainerSource::Plain,
        labels: BTreeMap::new(),
        usage: Some(Amounts { cpu: Some(Cores::ZERO), ..Amounts::default() }),
        throttling: None,
        unmeasured: PerResource::default(),
        limits: Limits::of_cpu(Limit::Max),
        baseline: Limits::of_cpu(Limit::Max),
        missing: PerResource::default(),
        drift: PerResource::default(),
        sampled_at_unix_nanos: NOW.minus(Duration::from_secs(1)),
        generation: 0,
        lease_remaining_seconds: None,
    }
}

/// Busy, and lent a limit of its CPU by plan 7; that of its disk is its own.
fn lent(name: &str) -> ContainerState {
    let egress = BitsPerSecond::new(2.5e6).unwrap();
    ContainerState {
        usage: Some(Amounts {
            cpu: Some(Cores::new(0.05).unwrap()),
            network: Some(EgressIngress { egress, ingress: BitsPerSecond::ZERO }),
            ..Amounts::default()
        }),
        throttling: Some(Throttling { throttled_share: 0.12, throttled_seconds_per_second: 0.1 }),
        limits: cpu(0.2).or(disk_write(5e6)),
        baseline: Limits::of_cpu(Limit::Max).or(disk_write(5e6)),
        missing: PerResource { network: Some("it has only loopback".to_owned()), ..PerResource::default() },
        drift: PerResource {
            disk: Some("somebody else changed it, for 60 s".to_owned()),
            ..PerResource::default()
        },
        generation: 7,
        lease_remaining_seconds: Some(8.4),
        ..idle(name)
    }
}

fn info() -> NodeInfo {
    let available = |mechanism: &str| Some(Capability::Available { mechanism: mechanism.to_owned() });
    let unavailable = |reason: &str| Some(Capability::Unavailable { reason: reason.to_owned() });
    let rate = BytesPerSecond::new(1e8).unwrap();
    NodeInfo {
        name: NodeName::new("n1").unwrap(),
        software_version: "0.1.0".to_owned(),
        cgroup_version: CgroupVersion::V1,
        capacity: Amounts {
            cpu: Some(Cores::new(2.0).unwrap()),
            llc: Some(Bytes::new(33_554_432.0).unwrap()),
            disk: Some(ReadWrite { read: rate, write: rate }),
            ..Amounts::default()
        },
        capabilities: PerResource {
            cpu: available("CFS quota"),
            llc: available("resctrl"),
            memory_bandwidth: unavailable("the processor has no MBA"),
            disk: available("blkio.throttle"),
            network: available("HTB"),
        },
    }
}

fn view(node: Option<NodeInfo>, containers: Option<Vec<ContainerState>>) -> NodeView {
    let nobody =
        || NodeError::Unreachable { url: "http://n1:7400/".to_owned(), detail: "refused".to_owned() };
    let error = (node.is_none() || containers.is_none()).then(nobody);
    NodeView { url: "http://n1:7400".to_owned(), node, containers, error }
}

fn shown(views: &[NodeView]) -> String {
    format!("\n{}", nodes(views, NOW))
}

#[test]
fn everything_that_is_known_of_a_node_is_shown() {
    let old = ContainerState {
        usage: None,
        sampled_at_unix_nanos: NOW.minus(Duration::from_secs(31)),
        generation: 6,
        ..idle("rate")
    };
    let states = vec![lent("geo"), idle("production.hotel-7f9c.frontend"), old];
    let expected = "
node n1 at http://n1:7400, env-server 0.1.0, cgroup v1
  resource          capacity                                     limited by
  cpu               2.0 cores                                    CFS quota
  llc               32.0 MiB                                     resctrl
  memory bandwidth                                               not available: the processor has no MBA
  disk              disk read 100.0 MB/s, disk write 100.0 MB/s  blkio.throttle
  network                                                        HTB

  container                                            usage  limit  baseline  throttled  lease  plan   sampled
  geo                             cpu, cores           0.050  0.200       max       12 %    8 s     7
                                  disk write, MB/s         -  5.000
                                  network out, Mbit/s  2.500      -
    its network cannot be limited: it has only loopback
    its disk is left alone: somebody else changed it, for 60 s
  production.hotel-7f9c.frontend  cpu, cores           0.000    max
  rate                            cpu, cores               -    max                                 6  31 s ago
";
    assert_eq!(shown(&[view(Some(info()), Some(states))]), expected);
}

#[test]
fn what_nobody_answered_is_left_out() {
    let bare = NodeInfo { capabilities: PerResource::default(), ..info() };
    let views = [
        view(Some(bare.clone()), None),
        view(None, None),
        view(None, Some(vec![idle("geo")])),
        view(Some(bare), Some(Vec::new())),
    ];
    let expected = "
node n1 at http://n1:7400, env-server 0.1.0, cgroup v1

node at http://n1:7400

  container              usage  limit
  geo        cpu, cores  0.000    max

node n1 at http://n1:7400, env-server 0.1.0, cgroup v1

  no containers
";
    assert_eq!(shown(&views), expected);
    assert_eq!(nodes(&[view(None, None)], NOW), "");
}

#[test]
fn a_sample_that_is_dated_ahead_is_not_old_and_tells_so_from_a_second_on() {
    let ahead = |by| {
        let state = ContainerState { sampled_at_unix_nanos: NOW.plus(by), ..idle("geo") };
        shown(&[view(None, Some(vec![state]))])
    };
    assert!(!ahead(Duration::from_millis(900)).contains("sampled"));
    let told = ahead(Duration::from_secs(60));
    assert!(told.contains("60 s ahead") && !told.contains("ago"), "{told}");
}
