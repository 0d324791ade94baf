//! The simulator as a world: time passes when it is told to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ballast_sim::{SimConfig, SimulatedNode, Simulation, Topology};

use crate::{conformance::World, plans::name};

pub(crate) struct Simulated(Arc<Mutex<Simulation>>);

impl Simulated {
    pub(crate) fn new() -> Self {
        let topology = Topology::shipped("hotel-reservation").unwrap();
        let simulated = Self(Arc::new(Mutex::new(Simulation::new(&topology, SimConfig::default()).unwrap())));
        simulated.advance(Duration::from_secs(2));
        simulated
    }

    pub(crate) fn node(&self) -> SimulatedNode {
        SimulatedNode::new(Arc::clone(&self.0))
    }

    fn advance(&self, time: Duration) {
        self.0.lock().unwrap().advance(time);
    }
}

impl World for Simulated {
    async fn pass(&self, time: Duration) {
        self.advance(time);
    }

    fn refuse_writes(&self, container: &str) -> impl Sized {
        self.0.lock().unwrap().refuse_writes(&name(container), true).unwrap();
        Refused { simulation: &self.0, container: container.to_owned() }
    }
}

struct Refused<'a> {
    simulation: &'a Mutex<Simulation>,
    container: String,
}

impl Drop for Refused<'_> {
    fn drop(&mut self) {
        if let Ok(mut simulation) = self.simulation.lock() {
            let _ = simulation.refuse_writes(&name(&self.container), false);
        }
    }
}
