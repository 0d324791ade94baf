//! Each feature on cases whose answer is known, and absent where nothing can be told.

use proptest::prelude::*;

use super::*;

fn request(kind: &str, path: &[(&str, u64)]) -> PathTimes {
    PathTimes {
        request: kind.into(),
        total_nanos: path.iter().map(|(_, nanos)| nanos).sum(),
        path_nanos: path.iter().map(|(name, nanos)| ((*name).into(), *nanos)).collect(),
        latencies: path.iter().map(|(name, nanos)| ((*name).into(), *nanos)).collect(),
    }
}

fn of(requests: &[PathTimes]) -> BTreeMap<Arc<str>, ContainerFeatures> {
    features(requests, &BTreeMap::new(), &HealthyProfile::default())
}

fn importance(requests: &[PathTimes], container: &str) -> Option<f64> {
    of(requests)[container].relative_importance
}

#[test]
fn who_makes_the_path_long_has_importance_one_and_who_runs_against_it_minus_one() {
    let requests: Vec<_> =
        (0..30).map(|i| request("x", &[("a", 1_000 + 30 * i), ("b", 500 - 10 * i)])).collect();
    assert!((importance(&requests, "a").unwrap() - 1.0).abs() < 1e-9);
    assert!((importance(&requests, "b").unwrap() + 1.0).abs() < 1e-9);
}

#[test]
fn pearson_of_a_known_sample() {
    // a = 1 2 3 4, b = 2 1 4 3, total = 3 3 7 7, repeated: covariance 1, deviations sqrt(1.25) and 2.
    let pairs = [(1_000, 2_000), (2_000, 1_000), (3_000, 4_000), (4_000, 3_000)];
    let requests: Vec<_> =
        (0..40).map(|i| pairs[i % 4]).map(|(a, b)| request("x", &[("a", a), ("b", b)])).collect();
    assert!((importance(&requests, "a").unwrap() - 2.0 / (1.25f64.sqrt() * 2.0)).abs() < 1e-9);
}

#[test]
fn a_long_request_type_does_not_make_its_servants_important() {
    // In each type "a" varies against the total, but the long type has more of it.
    let mixed = (0..40).map(|i| match i % 2 {
        0 => request("short", &[("a", 100 - i), ("b", 100 + 3 * i)]),
        _ => request("long", &[("a", 9_100 - i), ("b", 100 + 3 * i)]),
    });
    assert!(importance(&mixed.collect::<Vec<_>>(), "a").unwrap() < -0.9);
}

#[test]
fn under_twenty_samples_or_without_variance_nothing_is_said() {
    let growing = |count: u64| (0..count).map(|i| request("x", &[("a", 100 + i)])).collect::<Vec<_>>();
    let steady: Vec<_> = (0..40).map(|i| request("x", &[("a", 100), ("b", i)])).collect();
    assert_eq!((importance(&growing(19), "a"), of(&growing(19))["a"].congestion_intensity), (None, None));
    assert!(importance(&growing(20), "a").is_some() && of(&growing(20))["a"].congestion_intensity.is_some());
    assert_eq!(importance(&steady, "a"), None);
    assert!(of(&[]).is_empty());
}

#[test]
fn congestion_is_the_99th_over_the_50th_percentile() {
    let requests: Vec<_> = (1..=100).map(|i| request("x", &[("a", i)])).collect();
    assert_eq!(of(&requests)["a"].congestion_intensity, Some(99.0 / 50.0));
    let idle: Vec<_> = (1..=100).map(|_| request("x", &[("a", 0)])).collect();
    assert_eq!(of(&idle)["a"].congestion_intensity, None);
}

#[test]
fn growth_is_told_against_the_same_request_type() {
    let mut healthy = HealthyProfile::default();
    healthy.learn(&vec![request("x", &[("a", 60), ("b", 40)]); 20], &BTreeMap::new());
    healthy.learn(&vec![request("y", &[("a", 600), ("c", 400)]); 20], &BTreeMap::new());
    // Only "x" comes now; "b" takes 150 more, "d" is new with 50, "a" shrank; "z" is of an unknown type.
    let mut requests = vec![request("x", &[("a", 50), ("b", 190), ("d", 50)]); 30];
    requests.push(request("z", &[("a", 1_000_000)]));
    let features = features(&requests, &BTreeMap::new(), &healthy);
    let near = |container: &str, growth: f64, share: f64| {
        let ContainerFeatures { path_growth, growth_share, .. } = features[container];
        assert!((path_growth.unwrap() - growth).abs() < 1e-9, "{container} {path_growth:?}");
        assert!((growth_share.unwrap() - share).abs() < 1e-9, "{container} {growth_share:?}");
    };
    near("a", -0.1, 0.0);
    near("b", 1.5, 0.75);
    near("d", 0.5, 0.25);
    assert!(!features.contains_key("c"));
}

#[test]
fn without_a_healthy_period_no_growth_is_told() {
    let mut healthy = HealthyProfile::default();
    let requests = vec![request("x", &[("a", 100)]); 30];
    healthy.learn(&requests[..19], &BTreeMap::new());
    assert_eq!(features(&requests, &BTreeMap::new(), &healthy)["a"].path_growth, None);
    healthy.learn(&requests[..1], &BTreeMap::new());
    let ContainerFeatures { path_growth, growth_share, .. } =
        features(&requests, &BTreeMap::new(), &healthy)["a"];
    assert_eq!((path_growth, growth_share), (Some(0.0), None));
}

#[test]
fn counters_come_through_and_grow_against_their_healthy_mean() {
    let sample = |value| BTreeMap::from([(Arc::from("a"), value)]);
    let mut healthy = HealthyProfile::default();
    healthy.learn(&[], &sample(ContainerMetrics { cpu_utilisation: Some(0.25), throttled_share: None }));
    let now = ContainerMetrics { cpu_utilisation: Some(0.75), throttled_share: Some(0.5) };
    let features = features(&[], &sample(now), &healthy)["a"];
    assert_eq!((features.cpu_utilisation, features.cpu_growth), (Some(0.75), Some(0.5)));
    assert_eq!(features.throttled_share, Some(0.5));
}

#[test]
fn the_vector_has_a_number_for_each_name_and_nan_for_the_absent() {
    let full = ContainerFeatures {
        relative_importance: Some(0.5),
        congestion_intensity: Some(std::f64::consts::E),
        cpu_utilisation: Some(0.6),
        cpu_growth: Some(0.1),
        throttled_share: Some(0.2),
        path_growth: Some(0.0),
        growth_share: Some(0.3),
    };
    assert_eq!(full.to_vector(), [0.5, 1.0, 0.6, 0.1, 0.2, 0.0, 0.3]);
    assert!(ContainerFeatures::default().to_vector().iter().all(|value| value.is_nan()));
}

proptest! {
    #[test]
    fn features_stay_in_their_ranges(
        times in prop::collection::vec((0u64..3, 0u64..1_000_000, 0u64..1_000_000_000_000), 0..60),
        healthy_count in 0usize..60
    ) {
        let requests: Vec<_> = times.iter()
            .map(|(kind, a, b)| request(&kind.to_string(), &[("a", *a), ("b", *b)]))
            .collect();
        let mut healthy = HealthyProfile::default();
        healthy.learn(&requests[..healthy_count.min(requests.len())], &BTreeMap::new());
        for found in features(&requests, &BTreeMap::new(), &healthy).values() {
            prop_assert!(found.relative_importance.is_none_or(|ri| (-1.0..=1.0).contains(&ri)));
            prop_assert!(found.congestion_intensity.is_none_or(|ci| ci >= 1.0));
            prop_assert!(found.growth_share.is_none_or(|share| (0.0..=1.0).contains(&share)));
            prop_assert!(found.path_growth.is_none_or(f64::is_finite));
        }
    }
}
