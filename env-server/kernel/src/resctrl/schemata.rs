//! The text of a `schemata` file, and of the `size` file beside it.
//!
//! Pure; must not know which masks or bandwidths are allowed. Lines of resources that Ballast does not set (SMBA, or what
//! a later kernel adds) are kept as they are. Section "Schemata files - general concepts".

use std::{collections::BTreeMap, fmt};

/// One value for each cache domain, by the domain's id. Ids need not be contiguous (section "Cache IDs").
pub type PerDomain<T> = BTreeMap<u32, T>;

/// What stands behind the colon of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Bit masks of cache ways, hexadecimal (`L2`, `L3`, and their `CODE` and `DATA`).
    Masks(PerDomain<u64>),
    /// Bandwidths (`MB`), decimal, in the unit that the mount decides.
    Bandwidths(PerDomain<u64>),
    /// Something else, as it was.
    Other(String),
}

/// The lines of a `schemata` file, in their order. When written, a line says only what is to change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schemata {
    lines: Vec<(String, Values)>,
}

/// Resources whose values are masks.
const CACHES: [&str; 6] = ["L2", "L2CODE", "L2DATA", "L3", "L3CODE", "L3DATA"];

/// The resource whose values are bandwidths.
pub const BANDWIDTH: &str = "MB";

impl Schemata {
    /// Reads a `schemata` file. `None` when it is not one: a line without a colon, or a mask or bandwidth that is no number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut schemata = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (resource, values) = line.split_once(':')?;
            let (resource, values) = (resource.trim(), values.trim());
            if resource.is_empty() || schemata.get(resource).is_some() {
                return None;
            }
            let values = if CACHES.contains(&resource) {
                Values::Masks(per_domain(values, 16)?)
            } else if resource == BANDWIDTH {
                Values::Bandwidths(per_domain(values, 10)?)
            } else {
                Values::Other(values.to_owned())
            };
            schemata.lines.push((resource.to_owned(), values));
        }
        Some(schemata)
    }

    /// Adds a line of masks, in place of one of the same resource.
    #[must_use]
    pub fn with_masks(self, resource: &str, masks: PerDomain<u64>) -> Self {
        self.with(resource, Values::Masks(masks))
    }

    /// Adds the line of bandwidths, in place of one that is there.
    #[must_use]
    pub fn with_bandwidths(self, values: PerDomain<u64>) -> Self {
        self.with(BANDWIDTH, Values::Bandwidths(values))
    }

    fn with(mut self, resource: &str, values: Values) -> Self {
        self.lines.retain(|(name, _)| name != resource);
        self.lines.push((resource.to_owned(), values));
        self
    }

    /// The values of a resource.
    #[must_use]
    pub fn get(&self, resource: &str) -> Option<&Values> {
        self.lines.iter().find(|(name, _)| name == resource).map(|(_, values)| values)
    }

    /// The masks of a cache resource.
    #[must_use]
    pub fn masks(&self, resource: &str) -> Option<&PerDomain<u64>> {
        match self.get(resource)? {
            Values::Masks(masks) => Some(masks),
            _ => None,
        }
    }

    /// The bandwidths.
    #[must_use]
    pub fn bandwidths(&self) -> Option<&PerDomain<u64>> {
        match self.get(BANDWIDTH)? {
            Values::Bandwidths(values) => Some(values),
            _ => None,
        }
    }

    /// Those lines that say something else than `other` does.
    #[must_use]
    pub fn that_differ_from(&self, other: &Self) -> Self {
        let lines = self.lines.iter().filter(|(name, values)| other.get(name) != Some(values));
        Self { lines: lines.cloned().collect() }
    }

    /// The lines of masks and bandwidths: what Ballast may write, and no other.
    #[must_use]
    pub fn known(&self) -> Self {
        let lines = self.lines.iter().filter(|(_, values)| !matches!(values, Values::Other(_)));
        Self { lines: lines.cloned().collect() }
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// As the kernel takes it: a line for each resource, each with its newline.
impl fmt::Display for Schemata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (resource, values) in &self.lines {
            let joined = match values {
                Values::Masks(masks) => join(masks, |mask| format!("{mask:x}")),
                Values::Bandwidths(values) => join(values, ToString::to_string),
                Values::Other(text) => text.clone(),
            };
            writeln!(f, "{resource}:{joined}")?;
        }
        Ok(())
    }
}

fn join(values: &PerDomain<u64>, show: impl Fn(&u64) -> String) -> String {
    values.iter().map(|(domain, value)| format!("{domain}={}", show(value))).collect::<Vec<_>>().join(";")
}

/// Values such as `0=ff;1=ff`, with the blanks that some kernels pad them with; `None` for anything else.
fn per_domain(text: &str, radix: u32) -> Option<PerDomain<u64>> {
    let mut values = PerDomain::new();
    for part in text.split(';') {
        let (domain, value) = part.split_once('=')?;
        let value = value.trim();
        // `from_str_radix` would take a sign.
        if !value.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        let value = u64::from_str_radix(value, radix).ok()?;
        if values.insert(domain.trim().parse().ok()?, value).is_some() {
            return None;
        }
    }
    Some(values)
}

/// Reads a `size` file: the `schemata` file with bytes in place of masks (section "Resource alloc and monitor groups").
/// Lines that hold something else are left out.
#[must_use]
pub fn parse_sizes(text: &str) -> BTreeMap<String, PerDomain<u64>> {
    let line = |line: &str| {
        let (resource, values) = line.split_once(':')?;
        Some((resource.trim().to_owned(), per_domain(values, 10)?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    #[test]
    fn reads_what_kernels_write() {
        let text = "    MB:0= 100;1=  50\n    L3:0=fffff;1=000ff\nSMBA:0=2048;1=  64\n";
        let schemata = Schemata::parse(text).unwrap();
        assert_eq!(schemata.bandwidths().unwrap(), &PerDomain::from([(0, 100), (1, 50)]));
        assert_eq!(schemata.masks("L3").unwrap(), &PerDomain::from([(0, 0xf_ffff), (1, 0xff)]));
        assert_eq!(schemata.get("SMBA"), Some(&Values::Other("0=2048;1=  64".to_owned())));
        assert_eq!(schemata.to_string(), "MB:0=100;1=50\nL3:0=fffff;1=ff\nSMBA:0=2048;1=  64\n");
    }

    #[test]
    fn refuses_what_no_kernel_writes() {
        for bad in
            ["L3", "L3:", "L3:0", "L3:0=", "L3:0=g", "L3:0=-1", "L3:0=+1", "MB:0=1f", "L3:0=1;0=1", ":0=1"]
        {
            let parsed = Schemata::parse(bad);
            // An empty value is no number; `from_str_radix` says so.
            assert_eq!(parsed, None, "{bad:?}");
        }
        assert_eq!(Schemata::parse("L3:0=1\nL3:0=1"), None, "twice the same resource");
    }

    #[test]
    fn tells_which_lines_differ() {
        let before = Schemata::parse("L3:0=f\nMB:0=50\n").unwrap();
        let after = before.clone().with_masks("L3", PerDomain::from([(0, 3)]));
        assert_eq!(after.that_differ_from(&before).to_string(), "L3:0=3\n");
        assert!(before.that_differ_from(&before).is_empty());
        assert_eq!(Schemata::parse("SMBA:0=1\nL3:0=1").unwrap().known().to_string(), "L3:0=1\n");
    }

    #[test]
    fn reads_sizes() {
        let sizes = parse_sizes("    L3:0=1048576;8=524288\n    MB:0=100;8=100\nL2:uninitialized\n");
        assert_eq!(sizes["L3"], PerDomain::from([(0, 1_048_576), (8, 524_288)]));
        assert!(!sizes.contains_key("L2"));
    }

    fn values() -> impl Strategy<Value = PerDomain<u64>> {
        btree_map(any::<u32>(), any::<u64>(), 1..6)
    }

    fn schemata() -> impl Strategy<Value = Schemata> {
        let caches = btree_map(proptest::sample::select(CACHES.to_vec()), values(), 0..3);
        let others = btree_map("[A-Z]{4}", "[0-9=;a-z]{0,9}", 0..3);
        (caches, proptest::option::of(values()), others).prop_map(|(caches, bandwidths, others)| {
            let mut schemata = Schemata::default();
            for (resource, masks) in caches {
                schemata = schemata.with_masks(resource, masks);
            }
            if let Some(values) = bandwidths {
                schemata = schemata.with_bandwidths(values);
            }
            for (resource, text) in others {
                schemata = schemata.with(&resource, Values::Other(text));
            }
            schemata
        })
    }

    proptest! {
        #[test]
        fn what_is_rendered_reads_back(schemata in schemata()) {
            prop_assert_eq!(Schemata::parse(&schemata.to_string()), Some(schemata));
        }

        #[test]
        fn any_text_is_read_without_panic_and_keeps_its_meaning(text in "(L3|MB|X|:|=|;|[0-9a-f]| |\\n|\\PC){0,30}") {
            let _ = parse_sizes(&text);
            if let Some(schemata) = Schemata::parse(&text) {
                prop_assert_eq!(Schemata::parse(&schemata.to_string()), Some(schemata));
            }
        }
    }
}
