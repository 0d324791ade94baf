//! The program on real cgroups: doses, endings, and what is left.
//!
//! Needs root and writable cgroups; elsewhere every test says that it was skipped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as its tests do")]

mod campaign;
mod disk;
mod dose;
mod killing;
mod memory_kinds;
mod placing;
mod refusal;
#[path = "../shared/mod.rs"]
mod shared;
mod support;
mod target_gone;
