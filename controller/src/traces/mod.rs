//! Traces: OTLP in, spans grouped into requests, a sliding window of the complete ones.
//!
//! Must not know what traces are used for.

mod latency;
pub mod otlp;
pub mod receiver;
pub mod trace;
pub mod window;

pub use latency::percentile;
pub use trace::{Node, Trace};
pub use window::{TraceWindow, WindowConfig, WindowCounts};
