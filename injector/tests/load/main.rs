//! `ballast-injector load` against small servers: counts, times, and every way in which it can go wrong; also in campaigns.
//!
//! Loopback only; needs no rights.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as its tests do")]

mod answers;
mod campaign;
mod endings;
mod refusal;
mod server;
#[path = "../shared/mod.rs"]
mod shared;
mod support;
mod times;
