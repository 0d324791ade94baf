//! Service mode as the master sees it: the real program, real cgroups, and what is left when any of it is killed. Needs root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as its tests do")]

mod campaigns;
mod gone;
mod killing;
mod refusal;
#[path = "../shared/mod.rs"]
mod shared;
mod support;
