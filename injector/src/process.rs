//! The processes of an injection: see the crate's own page for who starts and who outlives whom.

pub mod identity;
pub mod janitor;
pub mod supervisor;
pub mod worker;

mod course;
mod giver;
mod messages;
mod scene;
pub(crate) mod sources;
mod supervision;
mod worker_handle;
