//! Files that let somebody in: secrets that nobody else reads, and files that are read again when they change.
//!
//! The same for a node and for those who ask it. Must not know what the files hold.

mod secret;
mod watched;

pub use secret::{read_open, read_secret};
pub use watched::Watched;
