//! The way into a program of Ballast that serves HTTP, in the order of a request.
//!
//! ```text
//! connections (how many, how slow) -> access (TLS, tokens, roles, pace) -> admission (every request) -> body -> service: a call
//! ```
//!
//! Beside them `flags` (what is configured), `document` (what of it an OpenAPI document says), `metrics`, and `life` (from
//! "listening" to the last connection). Must not know any call but those that every service answers.

pub mod access;
mod admission;
mod body;
pub mod connections;
pub mod document;
mod flags;
pub mod life;
pub mod metrics;
mod page;
mod refusal;
mod service;

pub use access::{Access, AccessSettings, Peer, Role, TlsFiles, TokenFiles};
pub use body::{MAX_BODY_BYTES, json};
pub use flags::AccessFlags;
pub use metrics::Metrics;
pub use refusal::{Refusal, invalid};
pub use service::{SHARED, Service};
