//! The reward of one step.

use ballast_api::PerResource;

/// The weight of the objective against utilisation, FIRM's alpha.
pub const REWARD_ALPHA: f64 = 0.5;

/// `alpha * SM * |R| + (1 - alpha) * sum(usage / limit)` over the controlled resources R (FIRM, equation 3), where the
/// second sum counts only while the objective is met.
///
/// The paper adds it always. Then a container that is starved (utilisation 1, `SM` a half) earns more than one that is
/// well fed (utilisation 0.3, `SM` 1), and the learner starves it. Here each violated state earns less than
/// `alpha * |R|`, each state that keeps the objective at least that.
#[must_use]
pub fn reward(slo_maintenance: f64, utilisation: &PerResource<f64>) -> f64 {
    let controlled = utilisation.iter().count();
    // At most five resources: exact.
    #[expect(clippy::cast_precision_loss, reason = "at most five")]
    let kept = REWARD_ALPHA * slo_maintenance.clamp(0.0, 1.0) * controlled as f64;
    if slo_maintenance < 1.0 {
        return kept;
    }
    let used: f64 = utilisation.iter().map(|(_, share)| share.clamp(0.0, 1.0)).sum();
    kept + (1.0 - REWARD_ALPHA) * used
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpu(share: f64) -> PerResource<f64> {
        PerResource { cpu: Some(share), ..PerResource::default() }
    }

    #[test]
    fn a_met_objective_earns_more_the_better_the_limit_is_used() {
        assert_eq!(reward(1.0, &cpu(0.0)), 0.5);
        assert_eq!(reward(1.0, &cpu(1.0)), 1.0);
        assert_eq!(reward(0.5, &cpu(1.0)), 0.25);
    }

    #[test]
    fn absent_resources_do_not_count() {
        assert_eq!(reward(1.0, &PerResource::default()), 0.0);
    }

    proptest! {
        #[test]
        fn a_violated_objective_never_pays(
            violated in 0.0..0.999_999f64, starved in 0.0..5.0f64, idle in 0.0..1.0f64,
        ) {
            prop_assert!(reward(violated, &cpu(starved)) < reward(1.0, &cpu(idle)));
        }
    }
}
