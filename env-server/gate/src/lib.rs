//! The way into a program of Ballast that serves HTTP, in the order of a request.
//!
//! ```text
//! connections (how many, how slow) -> access (TLS, tokens, roles, pace) -> admission (every request) -> body -> a call
//! ```
//!
//! Beside them `flags` (what is configured), `document` (what of it an OpenAPI document says) and `metrics`. Must not know any
//! call.

pub mod access;
mod admission;
mod body;
pub mod connections;
pub mod document;
mod flags;
pub mod metrics;
mod page;
mod refusal;

pub use access::{Access, AccessSettings, Peer, Role, TlsFiles, TokenFiles};
pub use admission::{OPEN, guard};
pub use body::{MAX_BODY_BYTES, json};
pub use flags::AccessFlags;
pub use metrics::Metrics;
pub use refusal::{Refusal, invalid};
