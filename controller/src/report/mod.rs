//! What people read: text made of results. Must not compute results.

mod demo;
mod node;
mod step;

pub use demo::demo;
pub use node::node;
pub use step::step;
