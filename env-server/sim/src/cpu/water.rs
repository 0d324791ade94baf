//! Max-min fair sharing of a node's cores among containers of equal weight, as CFS does among cgroups.
//!
//! Pure. Must not know quotas or tasks.

/// Divides `cores` among `demands` (all in cores): nobody gets more than asked, and what one does not need goes to the
/// others in equal parts ("water-filling", Bertsekas and Gallager, Data Networks, 6.5.2).
pub(super) fn fill(cores: f64, demands: &[f64], rates: &mut [f64]) {
    rates.copy_from_slice(demands);
    if demands.iter().sum::<f64>() <= cores {
        return;
    }
    // Raise the level until those below it are content; each pass contents at least one, so it ends.
    let mut level = 0.0;
    loop {
        let content = demands.iter().filter(|demand| **demand <= level);
        let (content, used) = content.fold((0, 0.0), |(n, sum), demand| (n + 1, sum + demand));
        let others = demands.len() - content;
        if others == 0 {
            break;
        }
        let raised = (cores - used) / crate::time::float(others as u64);
        if raised <= level {
            break;
        }
        level = raised;
    }
    for rate in rates {
        *rate = rate.min(level);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(cores: f64, demands: &[f64]) -> Vec<f64> {
        let mut rates = vec![0.0; demands.len()];
        fill(cores, demands, &mut rates);
        rates
    }

    #[test]
    fn enough_for_all_means_each_gets_what_it_asks() {
        assert_eq!(filled(4.0, &[1.0, 0.0, 3.0]), [1.0, 0.0, 3.0]);
    }

    #[test]
    fn what_the_small_leave_the_large_share() {
        assert_eq!(filled(2.0, &[8.0, 0.5, 8.0, 0.0]), [0.75, 0.5, 0.75, 0.0]);
        assert_eq!(filled(10.0, &[2.0, 2.6, 4.0, 5.0]), [2.0, 2.6, 2.7, 2.7]);
        assert_eq!(filled(2.0, &[1.0, 1.0, 1.0, 1.0]), [0.5; 4]);
    }

    proptest! {
        #[test]
        fn it_is_fair_and_wastes_nothing(
            cores in 0.1..16.0,
            demands in proptest::collection::vec(prop_oneof![Just(0.0), 0.0..8.0, (0..9_u8).prop_map(f64::from)], 1..20),
        ) {
            let rates = filled(cores, &demands);
            let given: f64 = rates.iter().sum();
            prop_assert!((given - cores.min(demands.iter().sum())).abs() < 1e-9);
            let highest = rates.iter().copied().fold(0.0, f64::max);
            for (rate, demand) in rates.iter().zip(&demands) {
                prop_assert!(*rate <= *demand && *rate >= 0.0);
                // Who got less than it asked got as much as anybody.
                prop_assert!(rate == demand || (rate - highest).abs() < 1e-9);
            }
        }
    }
}
