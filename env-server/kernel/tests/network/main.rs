//! Network limits on the kernel itself: rates that datagrams and TCP really get, and nothing left behind. Needs root.
//!
//! Each test plays the host in a network namespace of its own: the machine's interfaces are never touched.
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod datagrams;
mod finding;
mod limits;
mod netem;
mod others;
mod rates;
mod remembered;
mod stage;
mod transfer;
