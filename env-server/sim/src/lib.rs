//! The seeded cluster simulator. Same seed, same bytes out. Never touches a kernel.
//!
//! A discrete-event simulation, request by request, of a [`Topology`] on one node:
//! - users arrive in a Poisson stream, whether or not earlier requests were answered;
//! - operations compute, call each other and read stores, as their steps say;
//! - each container's CPU is bounded by a CFS quota, and all share the node's cores;
//! - experimenters inject CPU contention, controllers lend limits.
//!
//! Out come the spans of every request, and counters as cAdvisor shows them. Modelled is the CPU alone so far: not
//! caches, memory bandwidth, disks, or the size of what is sent; nor failures, retries and timeouts.

pub mod config;
pub mod injection;
pub mod lending;
pub mod topology;

mod agent;
mod cpu;
mod latency;
mod program;
mod random;
mod requests;
mod sampling;
mod simulation;
mod time;
mod timers;

pub use agent::SimulatedNode;
pub use config::{SimConfig, SimError};
pub use injection::Injection;
pub use latency::{Completion, InFlight};
pub use requests::LOAD_GENERATOR;
pub use simulation::Simulation;
pub use topology::{Topology, TopologyError};
