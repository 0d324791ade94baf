//! The stage of the simulator: time passes as fast as it can be computed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use async_trait::async_trait;
use ballast_api::{Cores, Limit, NodeAgent, UnixNanos};
use ballast_sim::{Injection, SimConfig, SimulatedNode, Simulation, Topology};

use super::{
    score::FinishedRequest,
    stage::{Contention, Mode, Stage},
};
use crate::{
    collect::{NodeSource, Observed, Source},
    environment::BURNERS,
    store::{MemoryBounds, MemoryStore, MetricStore, StoredRates},
    traces::{TraceWindow, WindowConfig},
};

/// A simulated cluster under load.
pub struct SimulatedStage {
    simulation: Arc<Mutex<Simulation>>,
    node: Arc<SimulatedNode>,
    traces: Arc<Mutex<TraceWindow>>,
    metrics: Arc<MemoryStore>,
    source: NodeSource,
    finished: Vec<FinishedRequest>,
}

impl SimulatedStage {
    /// A node of two cores under `requests_per_second`, all random things drawn from `seed`.
    ///
    /// # Errors
    /// When the topology cannot be simulated.
    pub fn raise(topology: &Topology, requests_per_second: f64, seed: u64) -> Result<Self> {
        let config = SimConfig { seed, requests_per_second, ..SimConfig::default() };
        let name = config.node.clone();
        let simulation = Arc::new(Mutex::new(Simulation::new(topology, config)?));
        let node = Arc::new(SimulatedNode::new(Arc::clone(&simulation)));
        Ok(Self {
            source: NodeSource::new(Arc::clone(&node) as Arc<dyn NodeAgent>, name),
            simulation,
            node,
            traces: Arc::new(Mutex::new(TraceWindow::new(WindowConfig::default()))),
            metrics: Arc::new(MemoryStore::new(MemoryBounds::default())),
            finished: Vec::new(),
        })
    }

    fn simulation(&self) -> MutexGuard<'_, Simulation> {
        self.simulation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&mut self, time: Duration) {
        let mut simulation = self.simulation.lock().unwrap_or_else(PoisonError::into_inner);
        let spans = simulation.advance(time);
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).insert(spans, simulation.now());
        self.finished.extend(simulation.completions().iter().map(|request| FinishedRequest {
            intended: request.intended_start,
            latency_ms: request.latency.as_secs_f64() * 1e3,
            request: request.request_type.to_string(),
            ok: true,
        }));
    }
}

#[async_trait]
impl Stage for SimulatedStage {
    fn mode(&self) -> Mode {
        Mode::Simulated
    }

    fn node(&self) -> Arc<dyn NodeAgent> {
        Arc::clone(&self.node) as Arc<dyn NodeAgent>
    }

    fn traces(&self) -> Arc<Mutex<TraceWindow>> {
        Arc::clone(&self.traces)
    }

    fn metrics(&self) -> Arc<dyn MetricStore> {
        Arc::clone(&self.metrics) as Arc<dyn MetricStore>
    }

    fn now(&self) -> UnixNanos {
        self.simulation().now()
    }

    async fn pass(&mut self, time: Duration) -> Result<()> {
        self.advance(time);
        if let Observed::Rates(rates) = self.source.poll().await? {
            for rates in rates {
                self.metrics.append(&StoredRates { rates, counters: None }).await?;
            }
        }
        Ok(())
    }

    async fn contend(&mut self, contention: &Contention) -> Result<UnixNanos> {
        let mut simulation = self.simulation();
        let capacity = simulation.node_info().capacity.cpu.unwrap_or(Cores::ZERO);
        let states = simulation.container_states();
        let limit =
            states.iter().find(|state| state.name == contention.target).and_then(|state| state.limits.cpu);
        let cores = limit.unwrap_or(Limit::Max).or(capacity).get() * contention.percent_of_limit / 100.0;
        let duration = contention.duration;
        simulation.inject(&contention.target, Injection { cores, threads: BURNERS, duration })?;
        Ok(simulation.now())
    }

    fn finished(&mut self) -> Result<Vec<FinishedRequest>> {
        Ok(std::mem::take(&mut self.finished))
    }

    async fn strike(self: Box<Self>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
