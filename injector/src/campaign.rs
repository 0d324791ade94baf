//! Campaigns: many injections, planned or drawn by chance, each an injection of its own with its own clean-up.
//!
//! ```text
//! file or flags -> Plan -> schedule (pure, from a seed) -> one process of this program for each -> ground truth
//! ```
//!
//! Must not know how an injection is done: it is asked for as a person would, on the command line.

mod bounds;
pub mod cli;
mod console;
mod draw;
mod file;
mod judge;
mod overlap;
mod range;
pub mod run;
mod schedule;

/// A campaign to begin with.
pub const EXAMPLE: &str = include_str!("campaign/example.toml");

pub use bounds::{MOST_INJECTIONS, MOST_TEXT};
pub use console::print_schedule;
pub use file::{Chance, Fixed, Plan};
pub use schedule::{Scheduled, schedule};
