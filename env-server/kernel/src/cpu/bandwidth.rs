//! CFS bandwidth, and what to write to get from one to another. Pure.
//!
//! Must not know which files say it, nor whose limit it is.

use ballast_api::{Cores, Limit};

use super::SMALLEST_QUOTA_US;

/// CFS bandwidth as the kernel keeps it: so much CPU time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuBandwidth {
    /// Absent for no limit.
    pub(super) quota_us: Option<u64>,
    pub(super) period_us: u64,
    /// Of what was not used of the quota, so much is saved for later; absent where the kernel saves nothing
    /// (before Linux 5.14).
    pub(super) burst_us: Option<u64>,
}

/// One write to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    /// The quota, or none.
    Quota(Option<u64>),
    /// The burst.
    Burst(u64),
}

impl CpuBandwidth {
    /// The same in cores.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of a CFS period or quota are far below 2^53"
    )]
    pub fn limit(self) -> Limit<Cores> {
        self.quota_us.map_or(Limit::Max, |quota_us| {
            Limit::At(Cores::saturating(quota_us as f64 / self.period_us as f64))
        })
    }

    /// What is saved for later, at most, in microseconds of CPU time; absent where the kernel saves nothing.
    #[must_use]
    pub fn burst_us(self) -> Option<u64> {
        self.burst_us
    }

    /// Whether this quota is above the other one, as the kernel compares them (`to_ratio`, in 2^-20 of a core). No quota is
    /// above nothing: what has none of its own is held to its ancestors'.
    pub(super) fn is_above(self, other: Self) -> bool {
        let share = |of: Self| {
            let quota_us = u128::from(of.quota_us?);
            Some((quota_us << 20) / u128::from(of.period_us.max(1)))
        };
        share(self).zip(share(other)).is_some_and(|(own, other)| own > other)
    }

    /// The quota nearest to `limit` at this period; the smallest limit when it would be less than the kernel accepts. The
    /// burst is the larger one of this and `own_burst_us`, as far as the quota allows: the kernel never accepts more.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cores are not negative, and a float-to-integer cast saturates"
    )]
    pub(super) fn with_limit(self, limit: Limit<Cores>, own_burst_us: Option<u64>) -> Result<Self, Cores> {
        let quota_us = match limit {
            Limit::Max => None,
            Limit::At(cores) => {
                let quota_us = (cores.get() * self.period_us as f64).round() as u64;
                if quota_us < SMALLEST_QUOTA_US {
                    return Err(Cores::saturating(SMALLEST_QUOTA_US as f64 / self.period_us as f64));
                }
                Some(quota_us)
            }
        };
        let allowed =
            |burst_us: u64| burst_us.max(own_burst_us.unwrap_or(0)).min(quota_us.unwrap_or(u64::MAX));
        Ok(Self { quota_us, burst_us: self.burst_us.map(allowed), ..self })
    }

    /// What leads from this to `wanted`, in an order of which the kernel refuses none: a burst is never above its quota.
    pub(super) fn writes_to(self, wanted: Self) -> Vec<Write> {
        let quota = (wanted.quota_us != self.quota_us).then_some(Write::Quota(wanted.quota_us));
        let burst = wanted.burst_us.filter(|_| wanted.burst_us != self.burst_us).map(Write::Burst);
        let order = if wanted.burst_us < self.burst_us { [burst, quota] } else { [quota, burst] };
        order.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kernel's rule (`tg_set_cfs_bandwidth`): the burst is at most the quota, where there is one.
    fn is_accepted(CpuBandwidth { quota_us, burst_us, .. }: CpuBandwidth) -> bool {
        burst_us.unwrap_or(0) <= quota_us.unwrap_or(u64::MAX)
    }

    /// What is in force after each write.
    fn steps(before: CpuBandwidth, wanted: CpuBandwidth) -> Vec<CpuBandwidth> {
        let mut now = before;
        let step = |write| {
            match write {
                Write::Quota(quota_us) => now.quota_us = quota_us,
                Write::Burst(burst_us) => now.burst_us = Some(burst_us),
            }
            now
        };
        before.writes_to(wanted).into_iter().map(step).collect()
    }

    prop_compose! {
        fn any_limit()(cores in proptest::option::of(0.01f64..8.0)) -> Limit<Cores> {
            cores.map_or(Limit::Max, |cores| Limit::At(Cores::new(cores).unwrap()))
        }
    }

    prop_compose! {
        fn any_bandwidth()(
            quota_us in proptest::option::of(1000u64..800_000),
            burst_us in proptest::option::of(0u64..800_000),
        ) -> CpuBandwidth {
            let burst_us = burst_us.map(|burst_us| burst_us.min(quota_us.unwrap_or(u64::MAX)));
            CpuBandwidth { quota_us, period_us: 100_000, burst_us }
        }
    }

    proptest! {
        /// Through any limits lent one after the other, and wherever it is cut short, to exactly what was there before.
        #[test]
        fn no_write_is_refused_and_all_of_it_comes_back(
            own in any_bandwidth(),
            lent in proptest::collection::vec(any_limit(), 1..5),
            written in any::<prop::sample::Index>(),
        ) {
            let mut now = own;
            for (left, limit) in (0..lent.len()).rev().zip(&lent) {
                let wanted = now.with_limit(*limit, own.burst_us).unwrap();
                let steps = steps(now, wanted);
                prop_assert!(steps.iter().all(|step| is_accepted(*step)), "{now:?} {steps:?}");
                let reached = if left == 0 && !steps.is_empty() { steps.get(written.index(steps.len())) } else { steps.last() };
                now = reached.copied().unwrap_or(now);
                prop_assert!(left == 0 || now == wanted, "{now:?} {wanted:?}");
            }
            let back = now.with_limit(own.limit(), own.burst_us).unwrap();
            prop_assert_eq!(back, own);
            let steps = steps(now, back);
            prop_assert!(steps.iter().all(|step| is_accepted(*step)), "{now:?} {steps:?}");
            prop_assert_eq!(steps.last().copied().unwrap_or(now), own);
        }
    }

    #[test]
    fn quotas_are_compared_as_shares_of_their_periods() {
        let of = |quota_us, period_us| CpuBandwidth { quota_us, period_us, burst_us: None };
        let half = of(Some(50_000), 100_000);
        assert!(of(Some(50_001), 100_000).is_above(half) && of(Some(6_000), 10_000).is_above(half));
        assert!(!half.is_above(half) && !of(Some(5_000), 10_000).is_above(half));
        assert!(!of(None, 100_000).is_above(half) && !half.is_above(of(None, 100_000)));
    }

    #[test]
    fn a_burst_follows_the_quota_down_and_up_to_its_own() {
        let own = CpuBandwidth { quota_us: Some(80_000), period_us: 100_000, burst_us: Some(50_000) };
        let at = |before: CpuBandwidth, cores| {
            before.with_limit(Limit::At(Cores::new(cores).unwrap()), own.burst_us).unwrap()
        };
        let low = at(own, 0.2);
        assert_eq!((low.quota_us, low.burst_us), (Some(20_000), Some(20_000)));
        assert_eq!(own.writes_to(low), [Write::Burst(20_000), Write::Quota(Some(20_000))]);
        let middle = at(low, 0.4);
        assert_eq!(low.writes_to(middle), [Write::Quota(Some(40_000)), Write::Burst(40_000)]);
        assert_eq!(at(middle, 0.6).burst_us, Some(50_000));
        // Somebody saves more meanwhile: it stays.
        let theirs = CpuBandwidth { burst_us: Some(70_000), ..own };
        assert_eq!(at(theirs, 0.8), theirs);
    }
}
