//! A node's side of Ballast: shows its containers, lends them limits, and undoes what it did.
//!
//! Must not know why a limit is asked for: the controller decides, this program acts and takes back.

pub mod cli;
pub mod controls;
pub mod discovery;
pub mod failure;
pub mod http;
pub mod journal;
pub mod lender;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod privileges;
pub mod rates;
pub mod serve;
pub mod settings;
pub mod start;
pub mod state_dir;

#[cfg(test)]
mod fake;

pub use failure::Failure;
pub use node::LinuxNode;
pub use serve::run;
