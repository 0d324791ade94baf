//! Real microservices to control: a topology file becomes processes in cgroups, under an open-loop load.
//!
//! Must not know of controllers, limits that move, or injections: it is what they act upon.

pub mod dataset;
pub mod load;
pub mod refusal;
pub mod service;
pub mod stop;
pub mod supervisor;
pub mod telemetry;
pub mod topology;
