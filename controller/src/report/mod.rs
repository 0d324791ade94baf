//! What people read: text made of results. Must not compute results.

mod demo;
mod node;
mod step;
mod table;

pub use demo::demo;
pub use node::nodes;
pub use step::step;
