//! From cAdvisor's counters (or the env-server's own samples) to rates in the stores.
//!
//! Must not know what the rates are used for.

pub mod cadvisor;
pub mod cadvisor_source;
pub mod collector;
mod exposition;
pub mod naming;
pub mod node_source;
pub(crate) mod outage;
pub mod rates;
pub mod source;

pub use cadvisor_source::CadvisorSource;
pub use collector::Collector;
pub use naming::Naming;
pub use node_source::NodeSource;
pub use rates::{ContainerRates, NoRates, rates};
pub use source::{Observed, Source, SourceError, choose_source};
