//! The network kinds on real interfaces, in network namespaces of each test's own: doses, endings, and what is left.
//!
//! Needs root, writable cgroups and the programs ip and tc; elsewhere every test says that it was skipped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as its tests do")]

mod bandwidth;
mod competition;
#[allow(dead_code, reason = "it serves the kill loop too")]
mod container;
mod delay;
mod killing;
mod loss;
mod refusal;
#[path = "../shared/mod.rs"]
mod shared;
mod stage;
#[path = "../injection/support.rs"]
#[allow(dead_code, reason = "it serves the tests of the other kinds too")]
mod support;
mod traffic;
