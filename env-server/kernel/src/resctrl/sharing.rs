//! Who shares a control group with whom when there are fewer groups than containers that need one.
//!
//! Pure; must not know group names or files. Hardware has few classes of service (section "Notes on cache occupancy
//! monitoring and control": creating a group fails when it is out of CLOSIDs).

use std::collections::BTreeMap;

/// What a container needs, in the steps of the hardware. A group's need is the largest of its members' in each resource, so
/// that none is limited to less than it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Need {
    /// Ways of the cache.
    pub ways: u32,
    /// The value of the `MB` line.
    pub bandwidth: u32,
}

impl Need {
    /// Enough for both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { ways: self.ways.max(other.ways), bandwidth: self.bandwidth.max(other.bandwidth) }
    }

    fn at_most(self, whole: Self) -> Self {
        Self { ways: self.ways.min(whole.ways), bandwidth: self.bandwidth.min(whole.bandwidth) }
    }
}

/// Containers that have one group together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// What the group gets.
    pub need: Need,
    /// Their places in the list of needs, ascending; never empty.
    pub members: Vec<usize>,
}

/// Divides containers into at most `groups` groups, in the order of their first members. Everybody has a group alone where
/// there are enough. Else two groups become one, again and again, those first for which this is the least generous: the sum
/// over their members of what they get beyond their need, as shares of the `whole` machine, so that equal needs come first; of
/// equals the first. A need beyond the whole is one of the whole. No group at all when `groups` is zero.
#[must_use]
pub fn share(needs: &[Need], whole: Need, groups: usize) -> Vec<Share> {
    if groups == 0 {
        return Vec::new();
    }
    let mut shares = alone_or_with_equals(needs, groups);
    while shares.len() > groups {
        let Some((left, right)) = cheapest_pair(&shares, whole) else { break };
        let absorbed = shares.remove(right);
        let kept = &mut shares[left];
        kept.need = kept.need.and(absorbed.need);
        kept.members.extend(absorbed.members);
        kept.members.sort_unstable();
    }
    shares
}

/// A share for each container, or one for each need where even those are not too few: joining equals costs nothing, and of
/// many containers most are equal after the hardware's rounding.
fn alone_or_with_equals(needs: &[Need], groups: usize) -> Vec<Share> {
    let alone = |(index, need): (usize, &Need)| Share { need: *need, members: vec![index] };
    let mut equals = BTreeMap::<Need, Share>::new();
    for (index, need) in needs.iter().enumerate() {
        let share = equals.entry(*need).or_insert(Share { need: *need, members: Vec::new() });
        share.members.push(index);
    }
    if equals.len() < groups {
        return needs.iter().enumerate().map(alone).collect();
    }
    let mut shares: Vec<_> = equals.into_values().collect();
    shares.sort_unstable_by_key(|share| share.members.first().copied());
    shares
}

/// The pair (left before right) that costs least to join.
fn cheapest_pair(shares: &[Share], whole: Need) -> Option<(usize, usize)> {
    let pairs = (0..shares.len()).flat_map(|left| (left + 1..shares.len()).map(move |right| (left, right)));
    pairs.min_by_key(|(left, right)| cost_of_joining(&shares[*left], &shares[*right], whole))
}

/// What joining adds to what the members get beyond their need, in units of `1 / (whole ways * whole bandwidth)`: each member
/// gets as much more as its group does.
fn cost_of_joining(left: &Share, right: &Share, whole: Need) -> u128 {
    let joined = left.need.and(right.need).at_most(whole);
    let added = |share: &Share| {
        let need = share.need.at_most(whole);
        let more = u128::from(joined.ways - need.ways) * u128::from(whole.bandwidth.max(1))
            + u128::from(joined.bandwidth - need.bandwidth) * u128::from(whole.ways.max(1));
        more * share.members.len() as u128
    };
    added(left) + added(right)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const FULL: Need = Need { ways: 20, bandwidth: 100 };

    fn need(ways: u32, bandwidth: u32) -> Need {
        Need { ways, bandwidth }
    }

    fn members(shares: &[Share]) -> Vec<Vec<usize>> {
        shares.iter().map(|share| share.members.clone()).collect()
    }

    #[test]
    fn everybody_is_alone_where_there_are_enough_groups() {
        let needs = [need(1, 10), need(1, 10), need(5, 50)];
        assert_eq!(members(&share(&needs, FULL, 3)), [vec![0], vec![1], vec![2]]);
        assert!(share(&[], FULL, 3).is_empty());
        assert!(share(&needs, FULL, 0).is_empty());
    }

    #[test]
    fn equal_needs_share_first_then_the_nearest() {
        let needs = [need(4, 40), need(19, 100), need(4, 40), need(5, 40), need(18, 90)];
        assert_eq!(members(&share(&needs, FULL, 4)), [vec![0, 2], vec![1], vec![3], vec![4]]);
        // 5 ways for two who wanted 4 is a tenth too much, 19 and 100 for who wanted 18 and 90 is 15 hundredths.
        assert_eq!(members(&share(&needs, FULL, 3)), [vec![0, 2, 3], vec![1], vec![4]]);
        let two = share(&needs, FULL, 2);
        assert_eq!(members(&two), [vec![0, 2, 3], vec![1, 4]]);
        assert_eq!((two[0].need, two[1].need), (need(5, 40), need(19, 100)));
    }

    #[test]
    fn bandwidth_counts_also_where_no_limit_is_a_number_beyond_all_memory() {
        // In MiB/s on a machine that delivers 1000: 100 is nearer to 110 than to 900 or to no limit, whatever the ways.
        let whole = need(20, 1000);
        let needs = [need(4, 100), need(4, 900), need(5, 110), need(4, u32::MAX)];
        assert_eq!(members(&share(&needs, whole, 3)), [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(members(&share(&needs, whole, 2)), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn one_group_gets_the_largest_of_each_need() {
        let all = share(&[need(20, 10), need(1, 100)], FULL, 1);
        assert_eq!(all, [Share { need: need(20, 100), members: vec![0, 1] }]);
    }

    proptest! {
        #[test]
        fn everybody_has_one_group_with_enough_and_there_are_never_too_many(
            needs in proptest::collection::vec((1u32..=20, 1u32..=100).prop_map(|(w, b)| need(w, b)), 0..14),
            groups in 1usize..8,
        ) {
            let shares = share(&needs, FULL, groups);
            prop_assert_eq!(shares.len(), needs.len().min(groups), "no group is left unused either");
            let mut seen: Vec<_> = shares.iter().flat_map(|share| share.members.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..needs.len()).collect::<Vec<_>>());
            for share in &shares {
                let exact = share.members.iter().map(|member| needs[*member]).reduce(Need::and);
                prop_assert_eq!(Some(share.need), exact);
            }
            prop_assert_eq!(shares.clone(), share(&needs, FULL, groups), "the same again");
            let distinct: BTreeSet<_> = needs.iter().collect();
            if distinct.len() <= groups {
                let even = |share: &Share| share.members.iter().all(|member| needs[*member] == share.need);
                prop_assert!(shares.iter().all(even), "only equals share while that is enough");
            }
        }
    }
}
