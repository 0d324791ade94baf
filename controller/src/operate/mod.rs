//! Long-lived control: the configuration, one step, and the loop around it.

mod controller;
mod evidence;
mod intake;
mod metrics;
mod node_client;
mod node_files;
mod report;
mod service;
mod settings;
mod view;

pub use controller::Controller;
pub use evidence::{limit_cores, node_metrics, stored_metrics};
pub use intake::start as start_intake;
pub use metrics::{Metrics, MetricsError, open_redis, start_metrics};
pub use node_client::NodeClient;
pub use node_files::NodeFiles;
pub use report::{Acting, Opinion, StepReport};
pub use service::control;
pub use settings::{ConfigError, MEMORY, MetricsConfig, ObjectiveConfig, RunConfig, Settings, objectives_of};
pub use view::{NodeView, view};
