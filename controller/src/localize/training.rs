//! Training the localizer on labelled incidents, and scoring it on others.
//!
//! Must not know how incidents are made.

use std::{collections::BTreeMap, sync::Arc};

use ballast_models::svm::{Scale, Svm, SvmConfig, roc_auc};
use serde::{Deserialize, Serialize};

use super::{
    features::{ContainerFeatures, FEATURE_NAMES},
    verdict::{Localizer, LocalizerError},
};

/// How often each example is learned from.
const EPOCHS: usize = 30;

/// The largest weight of a culprit against an innocent.
const MOST_POSITIVE_WEIGHT: f64 = 100.0;

/// One moment of a run, with the truth from the injector's log.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Incident {
    /// The containers and what was seen of them.
    pub features: BTreeMap<Arc<str>, ContainerFeatures>,
    /// Those into which something was injected; none in a healthy moment.
    pub culprits: Vec<Arc<str>>,
}

/// How well a localizer does. Every score is absent where nothing can be said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LocalizerScores {
    /// Share of all containers judged rightly.
    pub accuracy: Option<f64>,
    /// Chance that a culprit scores above an innocent, over all containers.
    pub roc_auc: Option<f64>,
    /// Share of the incidents with a culprit in which the worst container is one.
    pub top_1: Option<f64>,
    /// Share of the incidents with a culprit in which one is among the worst three.
    pub top_3: Option<f64>,
}

/// Trains a new localizer. Culprits weigh as much as all innocents together, whatever `config.positive_weight` says.
///
/// # Errors
/// When a constant cannot work.
pub fn train(incidents: &[Incident], config: SvmConfig) -> Result<Localizer, LocalizerError> {
    let (rows, labels) = examples(incidents);
    let positive_weight = positive_weight(&labels);
    let scale = Scale::of_rows(FEATURE_NAMES.len(), &rows);
    let mut svm = Svm::new(SvmConfig { positive_weight, ..config }, scale)?;
    svm.fit(&rows, &labels, EPOCHS)?;
    Localizer::new(svm)
}

fn examples(incidents: &[Incident]) -> (Vec<[f64; FEATURE_NAMES.len()]>, Vec<bool>) {
    let known = |(_, features): &(&Arc<str>, &ContainerFeatures)| **features != ContainerFeatures::default();
    incidents
        .iter()
        .flat_map(|incident| {
            let label = |container| incident.culprits.contains(container);
            let containers = incident.features.iter().filter(known);
            containers.map(move |(container, features)| (features.to_vector(), label(container)))
        })
        .unzip()
}

#[expect(clippy::cast_precision_loss, reason = "counts of examples")]
fn positive_weight(labels: &[bool]) -> f64 {
    let positives = labels.iter().filter(|label| **label).count();
    ((labels.len() - positives) as f64 / positives.max(1) as f64).clamp(1.0, MOST_POSITIVE_WEIGHT)
}

/// Scores a localizer on incidents that it should not have seen.
#[must_use]
pub fn score(localizer: &Localizer, incidents: &[Incident]) -> LocalizerScores {
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    let (mut top_1, mut top_3) = (Share::default(), Share::default());
    for incident in incidents {
        let ranked: Vec<(f64, bool)> = localizer
            .judge(&incident.features)
            .iter()
            .map(|verdict| (verdict.score, incident.culprits.contains(&verdict.container)))
            .collect();
        if !incident.culprits.is_empty() {
            top_1.add(ranked.iter().take(1).any(|(_, is_culprit)| *is_culprit));
            top_3.add(ranked.iter().take(3).any(|(_, is_culprit)| *is_culprit));
        }
        scores.extend(ranked.iter().map(|(score, _)| *score));
        labels.extend(ranked.iter().map(|(_, is_culprit)| *is_culprit));
    }
    let mut right = Share::default();
    scores.iter().zip(&labels).for_each(|(score, label)| right.add((*score > 0.0) == *label));
    LocalizerScores {
        accuracy: right.get(),
        roc_auc: roc_auc(&scores, &labels),
        top_1: top_1.get(),
        top_3: top_3.get(),
    }
}

#[derive(Default)]
struct Share {
    hits: f64,
    all: f64,
}

impl Share {
    fn add(&mut self, hit: bool) {
        self.hits += f64::from(u8::from(hit));
        self.all += 1.0;
    }

    fn get(&self) -> Option<f64> {
        (self.all > 0.0).then(|| self.hits / self.all)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::localize::culprit;

    /// Eleven containers, of which one is throttled and grows on the path, or (one time in three) a network delay makes
    /// it grow alone. Every third feature of the counters is missing.
    fn incidents(seed: u64, count: usize) -> Vec<Incident> {
        let mut rng = Pcg64::seed_from_u64(seed);
        (0..count).map(|index| incident(&mut rng, index % 4 != 0, index % 3 == 0)).collect()
    }

    fn incident(rng: &mut Pcg64, injected: bool, delay: bool) -> Incident {
        let guilty = injected.then(|| rng.random_range(0..11));
        let mut features = BTreeMap::new();
        for index in 0..11 {
            let is_culprit = guilty == Some(index);
            let mut draw = |low: f64, high: f64| rng.random_range(low..high);
            let by_cpu = is_culprit && !delay;
            let counters = draw(0.0, 1.0) > 0.3;
            let growth = if is_culprit { draw(0.4, 3.0) } else { draw(-0.1, 0.15) };
            let found = ContainerFeatures {
                relative_importance: Some(if is_culprit { draw(0.5, 1.0) } else { draw(-0.4, 0.8) }),
                congestion_intensity: Some(draw(1.5, if is_culprit { 9.0 } else { 5.0 })),
                cpu_utilisation: counters.then(|| if by_cpu { draw(0.8, 1.0) } else { draw(0.1, 0.6) }),
                cpu_growth: counters.then(|| if by_cpu { draw(0.3, 0.7) } else { draw(-0.1, 0.1) }),
                throttled_share: counters.then(|| if by_cpu { draw(0.4, 1.0) } else { draw(0.0, 0.2) }),
                path_growth: Some(growth),
                growth_share: Some(if is_culprit { draw(0.5, 1.0) } else { draw(0.0, 0.3) }),
            };
            features.insert(Arc::from(format!("c{index}")), found);
        }
        let culprits = guilty.map(|index| format!("c{index}").into()).into_iter().collect();
        Incident { features, culprits }
    }

    #[test]
    fn finds_the_culprit_and_accuses_nobody_in_healthy_moments() {
        for seed in 0..4 {
            let localizer = train(&incidents(seed, 200), SvmConfig { seed, ..SvmConfig::default() }).unwrap();
            let unseen = incidents(seed + 100, 200);
            let scores = score(&localizer, &unseen);
            assert!(
                scores.top_1.unwrap() > 0.95 && scores.roc_auc.unwrap() > 0.98,
                "seed {seed}: {scores:?}"
            );
            let healthy = unseen.iter().filter(|incident| incident.culprits.is_empty());
            let accused = healthy.filter(|incident| culprit(&localizer.judge(&incident.features)).is_some());
            assert!(accused.count() <= 5, "seed {seed}");
        }
    }

    #[test]
    fn labels_without_meaning_teach_nothing() {
        let mut meaningless = incidents(1, 300);
        for (index, incident) in meaningless.iter_mut().enumerate() {
            incident.culprits = vec![format!("c{}", (index * 7) % 11).into()];
        }
        let (train_on, test_on) = meaningless.split_at(150);
        let localizer = train(train_on, SvmConfig::default()).unwrap();
        let auc = score(&localizer, test_on).roc_auc.unwrap();
        assert!((0.35..0.65).contains(&auc), "{auc}");
    }

    #[test]
    fn the_worst_come_first_and_the_unknown_are_not_judged() {
        let localizer = train(&incidents(1, 100), SvmConfig::default()).unwrap();
        let mut incident = incidents(2, 1).remove(0);
        incident.features.insert("silent".into(), ContainerFeatures::default());
        let verdicts = localizer.judge(&incident.features);
        assert_eq!(verdicts.len(), 11);
        assert!(verdicts.windows(2).all(|pair| pair[0].score >= pair[1].score));
        assert_eq!((localizer.judge(&BTreeMap::new()), culprit(&[])), (vec![], None));
    }

    #[test]
    fn without_examples_nobody_is_accused() {
        let localizer = train(&[], SvmConfig::default()).unwrap();
        assert_eq!(culprit(&localizer.judge(&incidents(1, 2)[1].features)), None);
        assert_eq!(score(&localizer, &[]).top_1, None);
    }

    #[test]
    fn learning_on_the_fly_moves_the_verdict() {
        let mut localizer = train(&[], SvmConfig::default()).unwrap();
        for incident in incidents(1, 300) {
            let examples: Vec<_> = incident
                .features
                .iter()
                .map(|(container, features)| (*features, incident.culprits.contains(container)))
                .collect();
            localizer.learn(&examples).unwrap();
        }
        assert!(score(&localizer, &incidents(2, 100)).roc_auc.unwrap() > 0.9);
    }
}
