//! Where the demo plays: real processes or the simulator, behind one trait, so that the same script runs on both.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use async_trait::async_trait;
use ballast_api::{ContainerName, NodeAgent, UnixNanos};
use serde::Serialize;

use super::score::FinishedRequest;
use crate::{store::MetricStore, traces::TraceWindow};

/// What the figures of a demo come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Real processes in real cgroups.
    Real,
    /// The simulator.
    Simulated,
}

/// CPU contention to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Contention {
    /// In whose cgroup.
    pub target: ContainerName,
    /// How much, in percent of the target's CPU limit.
    pub percent_of_limit: f64,
    /// For how long.
    pub duration: Duration,
}

/// A running system under load.
#[async_trait]
pub trait Stage: Send {
    /// Which it is.
    fn mode(&self) -> Mode;
    /// The node that everything runs on.
    fn node(&self) -> Arc<dyn NodeAgent>;
    /// The traces of the last seconds.
    fn traces(&self) -> Arc<Mutex<TraceWindow>>;
    /// The containers' metrics.
    fn metrics(&self) -> Arc<dyn MetricStore>;
    /// The time on this stage.
    fn now(&self) -> UnixNanos;
    /// Lets time pass.
    async fn pass(&mut self, time: Duration) -> Result<()>;
    /// Begins contention; it ends by itself. Answers when it began.
    async fn contend(&mut self, contention: &Contention) -> Result<UnixNanos>;
    /// The requests finished since the last call.
    fn finished(&mut self) -> Result<Vec<FinishedRequest>>;
    /// Ends everything and names what could not be removed.
    async fn strike(self: Box<Self>) -> Result<Vec<String>>;
}
