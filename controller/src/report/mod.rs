//! What people read: text made of results. Must not compute results.

mod demo;
mod step;

pub use demo::demo;
pub use step::step;
