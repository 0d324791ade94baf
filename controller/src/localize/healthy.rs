//! What is normal: each container's time on the path and CPU utilisation, kept from periods without violation.
//!
//! Must not judge: it only remembers.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{features::ContainerMetrics, path_times::PathTimes};

/// Requests of one type (and samples of one container) after which the memory begins to fade.
const MEMORY: u64 = 1_000;

/// Means over healthy periods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthyProfile {
    requests: BTreeMap<Arc<str>, HealthyRequest>,
    cpu_utilisation: BTreeMap<Arc<str>, Mean>,
}

/// The healthy requests of one type.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthyRequest {
    total_nanos: Mean,
    path_nanos: BTreeMap<Arc<str>, f64>,
}

/// A mean over all samples, until there are [`MEMORY`] of them; then one that forgets the oldest gradually.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mean {
    samples: u64,
    value: f64,
}

impl HealthyProfile {
    /// Remembers a period in which no objective was violated. Windows may overlap: a request seen twice weighs twice,
    /// as all others do.
    pub fn learn(&mut self, requests: &[PathTimes], metrics: &BTreeMap<Arc<str>, ContainerMetrics>) {
        for request in requests {
            self.requests.entry(request.request.clone()).or_default().learn(request);
        }
        for (container, metrics) in metrics {
            if let Some(utilisation) = metrics.cpu_utilisation.filter(|value| value.is_finite()) {
                self.cpu_utilisation.entry(container.clone()).or_default().add(utilisation);
            }
        }
    }

    /// The healthy requests of this type, once there are `at_least` of them.
    #[must_use]
    pub fn request(&self, request: &str, at_least: usize) -> Option<&HealthyRequest> {
        self.requests.get(request).filter(|healthy| healthy.total_nanos.samples >= at_least as u64)
    }

    /// The healthy CPU utilisation of this container, in [0, 1], once it was sampled.
    #[must_use]
    pub fn cpu_utilisation(&self, container: &str) -> Option<f64> {
        self.cpu_utilisation.get(container).map(|mean| mean.value)
    }
}

impl HealthyRequest {
    fn learn(&mut self, request: &PathTimes) {
        self.total_nanos.add(nanos(request.total_nanos));
        let weight = self.total_nanos.weight();
        for container in request.path_nanos.keys() {
            if !self.path_nanos.contains_key(container) {
                // On the path of no request before.
                self.path_nanos.insert(container.clone(), 0.0);
            }
        }
        for (container, mean) in &mut self.path_nanos {
            let now = request.path_nanos.get(container).copied().map_or(0.0, nanos);
            *mean += weight * (now - *mean);
        }
    }

    /// Mean duration, in nanoseconds.
    #[must_use]
    pub fn total_nanos(&self) -> f64 {
        self.total_nanos.value
    }

    /// Mean time of each container on the path, in nanoseconds; zero for those that never were.
    pub fn path_nanos(&self) -> impl Iterator<Item = (&Arc<str>, f64)> {
        self.path_nanos.iter().map(|(container, nanos)| (container, *nanos))
    }
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.samples += 1;
        self.value += self.weight() * (value - self.value);
    }

    /// Of the newest sample.
    #[expect(clippy::cast_precision_loss, reason = "at most MEMORY")]
    fn weight(self) -> f64 {
        1.0 / self.samples.clamp(1, MEMORY) as f64
    }
}

/// As a number to calculate with: exact up to 104 days.
#[expect(clippy::cast_precision_loss, reason = "documented")]
pub(super) fn nanos(nanos: u64) -> f64 {
    nanos as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(total: u64, path: &[(&str, u64)]) -> PathTimes {
        PathTimes {
            request: "GET /".into(),
            total_nanos: total,
            path_nanos: path.iter().map(|(name, nanos)| ((*name).into(), *nanos)).collect(),
            latencies: vec![],
        }
    }

    fn path(profile: &HealthyProfile) -> Vec<(&str, f64)> {
        profile.request("GET /", 0).unwrap().path_nanos().map(|(name, nanos)| (&**name, nanos)).collect()
    }

    #[test]
    fn a_container_off_the_path_of_a_request_spent_no_time_there() {
        let mut profile = HealthyProfile::default();
        profile
            .learn(&[request(100, &[("a", 100)]), request(100, &[("a", 40), ("b", 60)])], &BTreeMap::new());
        assert_eq!(path(&profile), [("a", 70.0), ("b", 30.0)]);
        assert_eq!(profile.request("GET /", 2).unwrap().total_nanos(), 100.0);
        assert!(profile.request("GET /", 3).is_none() && profile.request("GET /x", 0).is_none());
    }

    #[test]
    fn what_is_long_ago_fades() {
        let mut profile = HealthyProfile::default();
        profile.learn(&vec![request(100, &[("a", 100)]); 2_000], &BTreeMap::new());
        profile.learn(&vec![request(200, &[("a", 200)]); 5_000], &BTreeMap::new());
        assert!(path(&profile)[0].1 > 199.0);
    }

    #[test]
    fn utilisation_that_nobody_measured_is_not_zero() {
        let mut profile = HealthyProfile::default();
        let sample = |cpu_utilisation| ContainerMetrics { cpu_utilisation, throttled_share: None };
        profile.learn(&[], &[("a".into(), sample(Some(0.2))), ("b".into(), sample(None))].into());
        profile.learn(&[], &[("a".into(), sample(Some(0.4))), ("b".into(), sample(Some(f64::NAN)))].into());
        assert!((profile.cpu_utilisation("a").unwrap() - 0.3).abs() < 1e-12);
        assert_eq!(profile.cpu_utilisation("b"), None);
    }

    #[test]
    fn survives_the_disk() {
        let mut profile = HealthyProfile::default();
        profile.learn(&[request(100, &[("a", 100)])], &BTreeMap::new());
        let text = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<HealthyProfile>(&text).unwrap(), profile);
    }
}
