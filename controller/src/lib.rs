//! The master: watches traces and containers, finds the container at fault, and moves its limits.
//!
//! Reaches nodes through `ballast_api` alone. Must not know kernels.

pub mod audit;
pub mod cli;
pub mod collect;
pub mod demo;
pub mod environment;
pub mod inject;
pub mod localize;
pub mod operate;
pub mod plan;
pub mod policies;
pub mod report;
pub mod slo;
pub mod store;
pub mod traces;
pub mod train;
