//! The env-server's own samples, for a node without cAdvisor.
//!
//! Must not know whether the node is real.

use std::sync::Arc;

use async_trait::async_trait;
use ballast_api::{ContainerId, ContainerState, NodeAgent, NodeName};

use super::{
    rates::ContainerRates,
    source::{Observed, Source, SourceError},
};

/// The containers of one node, as its env-server samples them.
pub struct NodeSource {
    agent: Arc<dyn NodeAgent>,
    node: NodeName,
}

impl NodeSource {
    /// The node behind `agent`, called `node`.
    #[must_use]
    pub fn new(agent: Arc<dyn NodeAgent>, node: NodeName) -> Self {
        Self { agent, node }
    }

    /// Absent until the env-server has taken two samples.
    fn rates(&self, state: ContainerState) -> Option<ContainerRates> {
        let usage = state.usage?;
        Some(ContainerRates {
            container: ContainerId { node: self.node.clone(), name: state.name },
            cpu_usage: usage.cpu,
            throttled_share: state.throttling.map(|throttling| throttling.throttled_share),
            throttled_seconds_per_second: state.throttling.map(|it| it.throttled_seconds_per_second),
            cpu_limit: state.limits.cpu,
            interval: None,
            taken_at: state.sampled_at_unix_nanos,
        })
    }
}

#[async_trait]
impl Source for NodeSource {
    fn describe(&self) -> String {
        format!("env-server of {}", self.node)
    }

    async fn poll(&mut self) -> Result<Observed, SourceError> {
        let states = self.agent.containers().await?;
        Ok(Observed::Rates(states.into_iter().filter_map(|state| self.rates(state)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ballast_api::{
        Amounts, ContainerName, ContainerSource, Cores, Limit, Limits, NodeError, NodeInfo, PerResource,
        Plan, PlanOutcome, Throttling, UnixNanos,
    };

    use super::*;

    /// Answers these containers, and nothing else.
    struct Fixed(Vec<ContainerState>);

    #[async_trait]
    impl NodeAgent for Fixed {
        async fn node(&self) -> Result<NodeInfo, NodeError> {
            Err(NodeError::Internal { detail: "not asked for".to_owned() })
        }
        async fn containers(&self) -> Result<Vec<ContainerState>, NodeError> {
            Ok(self.0.clone())
        }
        async fn apply(&self, _: &Plan) -> Result<PlanOutcome, NodeError> {
            Err(NodeError::Internal { detail: "not asked for".to_owned() })
        }
        async fn restore(&self, _: &ContainerName) -> Result<Limits, NodeError> {
            Err(NodeError::Internal { detail: "not asked for".to_owned() })
        }
    }

    #[tokio::test]
    async fn what_the_node_does_not_know_yet_is_absent() {
        let cores = Cores::new(0.3).unwrap();
        let sampled = ContainerState {
            name: "geo".parse().unwrap(),
            source: ContainerSource::Plain,
            labels: BTreeMap::new(),
            usage: Some(Amounts { cpu: Some(cores), ..Amounts::default() }),
            throttling: Some(Throttling { throttled_share: 0.5, throttled_seconds_per_second: 0.1 }),
            unmeasured: PerResource::default(),
            limits: Limits::of_cpu(Limit::Max),
            baseline: Limits::default(),
            missing: PerResource::default(),
            drift: PerResource::default(),
            sampled_at_unix_nanos: UnixNanos(9),
            generation: 0,
            lease_remaining_seconds: None,
        };
        let fresh = ContainerState {
            name: "rate".parse().unwrap(),
            source: ContainerSource::Plain,
            labels: BTreeMap::new(),
            usage: None,
            throttling: None,
            unmeasured: PerResource::default(),
            ..sampled.clone()
        };
        let unthrottled =
            ContainerState { name: "user".parse().unwrap(), throttling: None, ..sampled.clone() };
        let agent = Arc::new(Fixed(vec![sampled, fresh, unthrottled]));
        let Observed::Rates(rates) = NodeSource::new(agent, "n1".parse().unwrap()).poll().await.unwrap()
        else {
            panic!("no rates")
        };
        assert_eq!(
            rates.iter().map(|it| it.container.to_string()).collect::<Vec<_>>(),
            ["n1/geo", "n1/user"]
        );
        assert_eq!(rates[0].cpu_usage, Some(cores));
        assert_eq!((rates[0].throttled_share, rates[1].throttled_share), (Some(0.5), None));
        assert_eq!(
            (rates[0].cpu_limit, rates[0].interval, rates[0].taken_at),
            (Some(Limit::Max), None, UnixNanos(9))
        );
    }
}
