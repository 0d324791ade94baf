//! The cache that is divided: bytes as ways, ways as masks, and back.
//!
//! Must not know which container has which group, nor bandwidths.

use ballast_api::{Bytes, Limit};

use crate::{
    error::KernelError,
    resctrl::{
        group::Group,
        info::{Absent, CacheInfo, Info},
        mask,
        schemata::{PerDomain, Schemata},
    },
};

/// The cache that is divided.
pub(super) struct Cache {
    pub(super) info: CacheInfo,
    /// Of each domain.
    bytes_per_way: PerDomain<f64>,
}

/// The cache with its size, from what the root group's ways hold. Without a size the cache counts as absent.
pub(super) fn probe(
    info: &mut Info,
    root: &Group,
    schemata: &Schemata,
) -> Result<Option<Cache>, KernelError> {
    let Ok(found) = &info.cache else { return Ok(None) };
    let line = &found.lines[0];
    let (sizes, masks) = (root.sizes()?.remove(line).unwrap_or_default(), schemata.masks(line));
    let per_way = |(domain, mask): (&u32, &u64)| {
        #[expect(clippy::cast_precision_loss, reason = "a cache has far less than 2^53 bytes")]
        let bytes = *sizes.get(domain)? as f64;
        (bytes > 0.0 && *mask != 0).then(|| (*domain, bytes / f64::from(mask.count_ones())))
    };
    let bytes_per_way: Option<PerDomain<f64>> = masks.and_then(|masks| masks.iter().map(per_way).collect());
    match bytes_per_way.filter(|domains| !domains.is_empty()) {
        Some(bytes_per_way) => Ok(Some(Cache { info: found.clone(), bytes_per_way })),
        None => {
            let reason = format!("resctrl's root group does not say how many bytes its ways of {line} hold");
            info.cache = Err(Absent(reason));
            Ok(None)
        }
    }
}

impl Cache {
    pub(super) fn all(&self) -> u32 {
        self.info.mask.count_ones()
    }

    /// What one way of every domain holds together.
    pub(super) fn bytes_per_ways(&self) -> f64 {
        self.bytes_per_way.values().sum()
    }

    pub(super) fn ways(&self, limit: Limit<Bytes>) -> u32 {
        match limit {
            Limit::Max => self.all(),
            // A limit that was read must give the same ways again, however its bytes were rounded.
            Limit::At(bytes) => mask::ways_for(
                bytes.get() * (1.0 - 1e-12),
                self.bytes_per_ways(),
                self.info.fewest,
                self.all(),
            ),
        }
    }

    pub(super) fn limit(&self, bytes: f64) -> Limit<Bytes> {
        Limit::At(Bytes::saturating(bytes))
    }

    /// The ways that a group may use, by domain: with CDP those for code and those for data together.
    pub(super) fn masks(&self, schemata: &Schemata) -> Option<PerDomain<u64>> {
        let mut union = PerDomain::new();
        for line in &self.info.lines {
            for (domain, mask) in schemata.masks(line)? {
                *union.entry(*domain).or_default() |= mask;
            }
        }
        Some(union)
    }

    /// How many ways a group may use, by domain: with CDP the fewer of those for code and those for data, which is what
    /// everything it reads may use.
    pub(super) fn ways_in(&self, schemata: &Schemata) -> Option<PerDomain<u32>> {
        let mut fewest = PerDomain::<u32>::new();
        for line in &self.info.lines {
            for (domain, mask) in schemata.masks(line)? {
                let ways = mask.count_ones();
                fewest.entry(*domain).and_modify(|fewest| *fewest = ways.min(*fewest)).or_insert(ways);
            }
        }
        Some(fewest)
    }

    /// No limit when every domain's ways are as many as one can have.
    pub(super) fn limit_of(&self, ways: &PerDomain<u32>, forbidden: &PerDomain<u64>) -> Limit<Bytes> {
        let widest =
            |domain| mask::widest(self.info.mask, forbidden.get(domain).copied().unwrap_or(0)).count_ones();
        if ways.iter().all(|(domain, ways)| *ways >= widest(domain)) {
            return Limit::Max;
        }
        let bytes = |(domain, ways): (&u32, &u32)| {
            f64::from(*ways) * self.bytes_per_way.get(domain).copied().unwrap_or(0.0)
        };
        self.limit(ways.iter().map(bytes).sum())
    }

    /// A mask for each domain: of `before` where it still fits, else placed anew among `others`. A domain without so many
    /// free ways in a row gets what it has.
    pub(super) fn place(
        &self,
        ways: u32,
        before: Option<&PerDomain<u64>>,
        others: &[PerDomain<u64>],
        forbidden: &PerDomain<u64>,
    ) -> PerDomain<u64> {
        let of_domain = |domain: &u32| {
            let forbidden = forbidden.get(domain).copied().unwrap_or(0);
            let widest = mask::widest(self.info.mask, forbidden);
            let ways = ways.min(widest.count_ones());
            let kept = before.and_then(|before| before.get(domain)).copied();
            if let Some(kept) = kept.filter(|kept| kept.count_ones() == ways && kept & forbidden == 0) {
                return kept;
            }
            let masks: Vec<_> = others.iter().filter_map(|masks| masks.get(domain)).copied().collect();
            let shareable = self.info.shareable;
            let neighbours = mask::Neighbours { masks: &masks, shareable, forbidden };
            mask::place(self.info.mask, ways, neighbours).unwrap_or(widest)
        };
        self.bytes_per_way.keys().map(|domain| (*domain, of_domain(domain))).collect()
    }
}
