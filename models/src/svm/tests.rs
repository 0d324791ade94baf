//! The machine against known answers: what a straight border cannot tell apart, over several seeds.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::*;

struct Examples {
    rows: Vec<Vec<f64>>,
    labels: Vec<bool>,
}

/// Four clouds at the corners of a square; those of opposite corners belong together.
fn exclusive_or(seed: u64, count: usize) -> Examples {
    let mut rng = Pcg64::seed_from_u64(seed);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (right, up) = (rng.random::<bool>(), rng.random::<bool>());
        let corner = |side: bool| if side { 1.0 } else { -1.0 };
        let noise = |rng: &mut Pcg64| -> f64 { 0.3 * Distribution::<f64>::sample(&StandardNormal, rng) };
        rows.push(vec![corner(right) + noise(&mut rng), corner(up) + noise(&mut rng)]);
        labels.push(right != up);
    }
    Examples { rows, labels }
}

/// A ring of radius 3 around a ring of radius 1.
fn rings(seed: u64, count: usize) -> Examples {
    let mut rng = Pcg64::seed_from_u64(seed);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let inner = rng.random::<bool>();
        let angle = rng.random_range(0.0..std::f64::consts::TAU);
        let radius = if inner { 1.0 } else { 3.0 } + rng.random_range(-0.4..0.4);
        rows.push(vec![radius * angle.cos(), radius * angle.sin()]);
        labels.push(inner);
    }
    Examples { rows, labels }
}

fn trained(config: SvmConfig, examples: &Examples) -> Svm {
    let scale = Scale::of_rows(examples.rows[0].len(), &examples.rows);
    let mut svm = Svm::new(config, scale).unwrap();
    svm.fit(&examples.rows, &examples.labels, 20).unwrap();
    svm
}

fn accuracy(decide: impl Fn(&[f64]) -> f64, examples: &Examples) -> f64 {
    let right = examples.rows.iter().zip(&examples.labels);
    let right = right.filter(|(row, label)| (decide(row) > 0.0) == **label).count();
    right as f64 / examples.labels.len() as f64
}

/// The best that a straight line does by hinge loss, as the answer to compare with.
fn linear_accuracy(train: &Examples, test: &Examples) -> f64 {
    let (mut weights, mut bias) = ([0.0, 0.0], 0.0);
    for epoch in 0..20 {
        let step = 0.1 / (1.0 + f64::from(epoch));
        for (row, label) in train.rows.iter().zip(&train.labels) {
            let sign = if *label { 1.0 } else { -1.0 };
            if sign * (dot(&weights, row) + bias) < 1.0 {
                weights[0] += step * sign * row[0];
                weights[1] += step * sign * row[1];
                bias += step * sign;
            }
        }
    }
    accuracy(|row| dot(&weights, row) + bias, test)
}

#[test]
fn solves_what_no_straight_line_can() {
    for problem in [exclusive_or, rings] {
        for seed in 0..5 {
            let (train, test) = (problem(seed, 500), problem(seed + 100, 500));
            let svm = trained(SvmConfig { gamma: 0.5, seed, ..SvmConfig::default() }, &train);
            let curved = accuracy(|row| svm.decision(row).unwrap(), &test);
            let straight = linear_accuracy(&train, &test);
            assert!(curved > 0.97 && straight < 0.75, "seed {seed}: {curved} against {straight}");
            let scores: Vec<f64> = test.rows.iter().map(|row| svm.decision(row).unwrap()).collect();
            assert!(roc_auc(&scores, &test.labels).unwrap() > 0.99);
        }
    }
}

#[test]
fn rare_positives_are_found_when_they_weigh_more() {
    for seed in 0..3 {
        let mut rng = Pcg64::seed_from_u64(seed);
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for index in 0..1_000 {
            let positive = index % 20 == 0;
            let noise: f64 = StandardNormal.sample(&mut rng);
            rows.push(vec![noise + if positive { 1.5 } else { 0.0 }]);
            labels.push(positive);
        }
        let examples = Examples { rows, labels };
        let recall = |positive_weight| {
            let svm = trained(SvmConfig { positive_weight, seed, ..SvmConfig::default() }, &examples);
            let positives =
                (0..1_000).step_by(20).filter(|row| svm.decision(&examples.rows[*row]).unwrap() > 0.0);
            positives.count()
        };
        let (even, weighted) = (recall(1.0), recall(19.0));
        assert!(even < 15 && weighted > 30, "seed {seed}: {even} and {weighted} of 50");
    }
}

#[test]
fn a_step_goes_down_the_gradient_of_the_objective() {
    let examples = rings(3, 40);
    let config = SvmConfig { fourier_features: 8, l2: 0.05, positive_weight: 2.0, ..SvmConfig::default() };
    let mut svm = trained(config, &examples);
    for (row, label) in examples.rows.iter().zip(&examples.labels) {
        let features = svm.features(row).unwrap();
        let sign = if *label { 1.0 } else { -1.0 };
        let objective = |plane: &Hyperplane| {
            let class_weight = if *label { 2.0 } else { 1.0 };
            let hinge = (1.0 - sign * plane.distance(&features)).max(0.0);
            0.05 * dot(&plane.weights, &plane.weights) / 2.0 + class_weight * hinge
        };
        let (before, step) = (svm.current.clone(), svm.step_size());
        svm.step(&features, *label);
        for index in 0..8 {
            let shifted = |by: f64| {
                let mut plane = before.clone();
                plane.weights[index] += by;
                objective(&plane)
            };
            let gradient = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            let moved = svm.current.weights[index] - before.weights[index];
            assert!((moved + step * gradient).abs() < 1e-6, "{moved} against {}", -step * gradient);
        }
    }
}

#[test]
fn the_hinge_has_a_slope_below_margin_one_only() {
    assert_eq!([-3.0, 0.0, 0.999].map(hinge_slope), [-1.0; 3]);
    assert_eq!([1.0, 1.001, 5.0].map(hinge_slope), [0.0; 3]);
}

#[test]
fn learning_bit_by_bit_is_learning_at_once() {
    let examples = rings(1, 100);
    let fresh = || Svm::new(SvmConfig::default(), Scale::of_rows(2, &examples.rows)).unwrap();
    let (mut whole, mut parts) = (fresh(), fresh());
    whole.partial_fit(&examples.rows, &examples.labels).unwrap();
    for (rows, labels) in examples.rows.chunks(7).zip(examples.labels.chunks(7)) {
        parts.partial_fit(rows, labels).unwrap();
    }
    assert_eq!(whole, parts);
    assert_eq!(whole.updates(), 100);
}

#[test]
fn it_follows_examples_that_change_their_meaning() {
    let examples = rings(1, 400);
    let mut svm = trained(SvmConfig { gamma: 0.5, ..SvmConfig::default() }, &examples);
    let swapped: Vec<bool> = examples.labels.iter().map(|label| !label).collect();
    for _ in 0..80 {
        svm.partial_fit(&examples.rows, &swapped).unwrap();
    }
    let swapped = Examples { rows: examples.rows, labels: swapped };
    assert!(accuracy(|row| svm.decision(row).unwrap(), &swapped) > 0.95);
}

#[test]
fn the_same_seed_gives_the_same_machine() {
    let examples = rings(1, 50);
    let config = |seed| SvmConfig { seed, ..SvmConfig::default() };
    assert_eq!(trained(config(4), &examples), trained(config(4), &examples));
    assert_ne!(trained(config(4), &examples), trained(config(5), &examples));
}

#[test]
fn refuses_what_cannot_work() {
    let scale = Scale::of_rows(2, &[[0.0, 1.0]]);
    for config in [
        SvmConfig { gamma: 0.0, ..SvmConfig::default() },
        SvmConfig { l2: -1.0, ..SvmConfig::default() },
        SvmConfig { positive_weight: f64::NAN, ..SvmConfig::default() },
        SvmConfig { fourier_features: 0, ..SvmConfig::default() },
    ] {
        assert!(matches!(Svm::new(config, scale.clone()), Err(SvmError::Config { .. })), "{config:?}");
    }
    let mut svm = Svm::new(SvmConfig::default(), scale).unwrap();
    assert_eq!(svm.decision(&[1.0]), Err(SvmError::Width { expected: 2, got: 1 }));
    assert_eq!(svm.partial_fit(&[[1.0, 2.0]], &[]), Err(SvmError::Labels { rows: 1, labels: 0 }));
    assert!(svm.partial_fit(&[vec![1.0, 2.0], vec![1.0]], &[true, false]).is_err());
    assert_eq!((svm.updates(), svm.decision(&[f64::NAN, f64::INFINITY])), (0, Ok(0.0)));
}
