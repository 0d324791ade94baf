//! Service mode: campaigns that somebody elsewhere asks for over HTTP, behind the gate of Ballast's services.
//!
//! ```text
//! settings (who may ask, what may be hurt) -> http -> start: rules (pure) -> book -> runner: one `campaign` process for each
//! ```
//!
//! A campaign is lent, as a limit is: it ends when nobody renews it, and with this process. Must not know how an injection is
//! done: a campaign is asked for as a person would, and everything it does is journalled there.

mod book;
mod http;
mod metrics;
mod openapi;
mod order;
mod rules;
mod runner;
mod serve;
mod settings;
mod start;

pub use order::Order;
pub use serve::run;
pub use settings::ServeArgs;
