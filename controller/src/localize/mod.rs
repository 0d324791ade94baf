//! Who makes the requests late: critical path, features of each container, verdict.
//!
//! Must not know where traces and metrics come from, nor what is done about a culprit.

pub mod critical_path;
pub mod features;
pub mod healthy;
pub mod path_times;
pub mod training;
pub mod verdict;

pub use critical_path::{Section, critical_path};
pub use features::{ContainerFeatures, ContainerMetrics, FEATURE_NAMES, features};
pub use healthy::HealthyProfile;
pub use path_times::PathTimes;
pub use verdict::{Localizer, LocalizerError, Verdict, culprit};
