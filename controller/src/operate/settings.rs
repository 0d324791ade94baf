//! What an operator configures, in TOML. Unknown keys are refused, and every problem is told at once.

use std::{path::PathBuf, time::Duration};

use ballast_api::NodeName;
use serde::Deserialize;

use super::NodeFiles;
use crate::{
    plan::GuardConfig,
    slo::{Detector, Objective, ObjectiveError},
};

/// The configuration of `ballast run`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Base URL of the env-server.
    pub node: String,
    /// File of the token that the env-server asks for.
    pub token_file: Option<PathBuf>,
    /// PEM file of the CA that vouches for the env-server, for `https`.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the controller's certificate, for mutual TLS.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// Where spans are received, as OTLP over HTTP.
    #[serde(default = "default_otlp")]
    pub otlp_listen: std::net::SocketAddr,
    /// Where the trained policy and localizer lie (a folder that `ballast train --out` wrote).
    pub policy: PathBuf,
    /// What users expect.
    #[serde(rename = "objective")]
    pub objectives: Vec<ObjectiveConfig>,
    /// Decide and explain, but change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// How long limits hold without renewal, in seconds. Renewed each second.
    #[serde(default = "default_lease_seconds")]
    pub lease_seconds: f64,
    /// Bounds of what a plan may do.
    #[serde(default)]
    pub guards: GuardConfig,
    /// Where container metrics come from and go to.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Append every decision, with its evidence, to this file.
    pub audit: Option<PathBuf>,
}

/// One promise to users.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// The root operation of the traces it is about.
    pub request: String,
    /// In (0, 100].
    pub percentile: f64,
    /// In milliseconds.
    pub target_ms: f64,
}

/// Where container metrics come from and go to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Base URL of a cAdvisor on the node; without one, the env-server's own samples serve.
    pub cadvisor: Option<String>,
    /// The cgroup parents whose children are containers, for cAdvisor.
    pub cgroup_parents: Vec<String>,
    /// `memory`, or the URL of a Redis that gets a copy.
    pub store: String,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { cadvisor: None, cgroup_parents: Vec::new(), store: MEMORY.to_owned() }
    }
}

/// The store that needs no server.
pub const MEMORY: &str = "memory";

fn default_otlp() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 4318).into()
}

fn default_lease_seconds() -> f64 {
    10.0
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No TOML, or not of this shape.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// Of this shape, but some values cannot be.
    #[error("{}", .0.join("; "))]
    Values(Vec<String>),
}

impl std::str::FromStr for RunConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)?;
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Values(problems)) }
    }
}

impl RunConfig {
    /// What the controller needs of it, for the node of that name.
    ///
    /// # Errors
    /// When the objectives contradict each other; a configuration that was parsed has been checked for that.
    pub fn settings(&self, node: NodeName) -> Result<Settings, ConfigError> {
        let detector = detector(self.objectives.iter().map(Objective::from).collect())?;
        let lease = Duration::try_from_secs_f64(self.lease_seconds).unwrap_or_default();
        Ok(Settings { node, detector, lease, guards: self.guards })
    }

    /// What lets the controller in to the node.
    #[must_use]
    pub fn node_files(&self) -> NodeFiles {
        NodeFiles {
            token_file: self.token_file.clone(),
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.guards.problems();
        if self.objectives.is_empty() {
            problems.push("there is no [[objective]]: without one nothing can be violated".to_owned());
        }
        if let Err(ConfigError::Values(more)) =
            detector(self.objectives.iter().map(Objective::from).collect())
        {
            problems.extend(more);
        }
        if !(self.lease_seconds >= 2.0 && self.lease_seconds <= 3600.0) {
            let given = self.lease_seconds;
            problems.push(format!("lease_seconds must be in 2..=3600 (two steps at least), not {given}"));
        }
        if !self.otlp_listen.ip().is_loopback() {
            problems.push(format!(
                "otlp_listen is {}: only loopback addresses are served, because nobody is authenticated there",
                self.otlp_listen
            ));
        }
        if self.metrics.cadvisor.is_some() && self.metrics.cgroup_parents.is_empty() {
            problems.push(
                "metrics.cadvisor needs metrics.cgroup_parents, to know whose children count".to_owned(),
            );
        }
        problems
    }
}

impl From<&ObjectiveConfig> for Objective {
    fn from(config: &ObjectiveConfig) -> Self {
        Self {
            request: config.request.clone(),
            percentile: config.percentile,
            // A target that is no time at all is refused by the detector, as zero is.
            target: Duration::try_from_secs_f64(config.target_ms / 1e3).unwrap_or_default(),
        }
    }
}

fn detector(objectives: Vec<Objective>) -> Result<Detector, ConfigError> {
    let told = |problems: Vec<ObjectiveError>| problems.iter().map(ToString::to_string).collect();
    Detector::new(objectives).map_err(|problems| ConfigError::Values(told(problems)))
}

/// What the controller itself must be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name, for the containers' full names in the stores.
    pub node: NodeName,
    /// What users expect.
    pub detector: Detector,
    /// How long limits hold without renewal.
    pub lease: Duration,
    /// Bounds of what a plan may do.
    pub guards: GuardConfig,
}

/// The objectives that a topology states.
#[must_use]
pub fn objectives_of(topology: &ballast_sim::Topology) -> Vec<Objective> {
    let objective_of = |request: &ballast_sim::topology::RequestType| Objective {
        request: request.name.clone(),
        percentile: request.objective.percentile,
        target: Duration::from_secs_f64(request.objective.target_ms / 1e3),
    };
    topology.requests.iter().map(objective_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        node = "http://127.0.0.1:7400"
        policy = "policy"
        [[objective]]
        request = "GET /hotels"
        percentile = 99.0
        target_ms = 200.0
    "#;

    fn told(text: &str) -> String {
        text.parse::<RunConfig>().unwrap_err().to_string()
    }

    #[test]
    fn a_short_configuration_is_enough() {
        let config: RunConfig = GOOD.parse().unwrap();
        let settings = config.settings(NodeName::new("n1").unwrap()).unwrap();
        assert_eq!(settings.detector.objectives()[0].target, Duration::from_millis(200));
        assert!(!config.dry_run);
    }

    #[test]
    fn the_shipped_example_is_valid() {
        let config: RunConfig = include_str!("../../../deploy/ballast.toml").parse().unwrap();
        assert!(!config.objectives.is_empty());
    }

    #[test]
    fn unknown_keys_are_named() {
        assert!(told(&format!("leese_seconds = 3\n{GOOD}")).contains("leese_seconds"));
        assert!(told(&format!("{GOOD}\n[guards]\nmin_core = 1.0")).contains("min_core"));
    }

    #[test]
    fn every_bad_value_is_told_at_once() {
        let bad = GOOD.replace("99.0", "101.0");
        let bad = format!("{bad}\n[[objective]]\nrequest = \"x\"\npercentile = 50.0\ntarget_ms = -5.0");
        let told = told(&format!(
            "lease_seconds = -1.0\notlp_listen = \"0.0.0.0:4318\"\n{bad}\n[guards]\nmin_cores = -2.0"
        ));
        for word in ["percentile", "target", "lease_seconds", "loopback", "min_cores"] {
            assert!(told.contains(word), "{told}");
        }
    }
}
