//! Writing and showing `schemata`: which masks and bandwidths are refused, and what is made of those that are not.
//!
//! Sections "Schemata files - general concepts", "Cache Bit Masks (CBM)" and "Memory bandwidth Allocation and monitoring".

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::{Group, Line, Machine, Mode, ROOT, Refusal, refuse};
use crate::hardware::{Bandwidth, Cache};

/// A value that is to be set: line, domain, value.
type Staged = BTreeMap<(String, u32), u64>;

impl Machine {
    /// Takes whole lines, each with its newline ("Reading/writing the schemata file"). All are checked before the first is
    /// set; but with `mba_MBps` bandwidths are set as they are read.
    pub(super) fn write_schemata(&mut self, group: &str, text: &str) -> Result<(), Refusal> {
        let mut staged = Staged::new();
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            let Some((name, values)) = line.split_once(':') else {
                return refuse(Errno::EINVAL, "Missing ':'");
            };
            let name = name.trim();
            if values.is_empty() {
                return refuse(Errno::EINVAL, format!("Missing '{name}' value"));
            }
            self.stage(group, name, values, &mut staged)?;
        }
        for ((line, domain), value) in staged {
            self.set(group, &line, domain, value);
        }
        Ok(())
    }

    fn set(&mut self, group: &str, line: &str, domain: u32, value: u64) {
        if let Some(group) = self.groups.get_mut(group) {
            group.values.entry(line.to_owned()).or_default().insert(domain, value);
        }
    }

    fn stage(&mut self, group: &str, name: &str, values: &str, staged: &mut Staged) -> Result<(), Refusal> {
        // A trailing ';' is accepted, as in the documentation's own example.
        for part in values.split_terminator(';') {
            let parsed =
                part.split_once('=').and_then(|(id, value)| Some((id.parse::<u32>().ok()?, value.trim())));
            let (value, software) = match (self.line(name), parsed) {
                (None, _) => {
                    return refuse(Errno::EINVAL, format!("Unknown or unsupported resource name '{name}'"));
                }
                (_, None) => return refuse(Errno::EINVAL, "Missing '=' or non-numeric domain"),
                (Some(Line::Cache(cache)), Some((domain, text))) => {
                    known_domain(&cache.domains, domain)?;
                    let mask = check_mask(cache, text)?;
                    self.check_overlap(group, cache, domain, mask)?;
                    (mask, false)
                }
                (Some(Line::Bandwidth(bandwidth)), Some((domain, text))) => {
                    known_domain(&bandwidth.domains, domain)?;
                    (check_bandwidth(bandwidth, text)?, bandwidth.software)
                }
            };
            let domain = parsed.map(|(domain, _)| domain).unwrap_or_default();
            if software {
                self.set(group, name, domain, value);
            } else if staged.insert((name.to_owned(), domain), value).is_some() {
                return refuse(Errno::EINVAL, format!("Duplicate domain {domain}"));
            }
        }
        Ok(())
    }

    /// A mask may not touch an exclusive group's, nor an exclusive group's mask anybody's (Example 4 of the documentation).
    fn check_overlap(&self, group: &str, cache: &Cache, domain: u32, mask: u64) -> Result<(), Refusal> {
        if self.overlaps(group, cache, domain, mask, true) {
            return refuse(Errno::EINVAL, "Overlaps with exclusive group");
        }
        let exclusive = self.groups.get(group).is_some_and(|group| group.mode == Mode::Exclusive);
        if exclusive && self.overlaps(group, cache, domain, mask, false) {
            return refuse(Errno::EINVAL, "Overlaps with other group");
        }
        Ok(())
    }

    /// Whether a mask touches the ways of another group, or, unless only exclusive groups count, those of devices. Code and
    /// data are ways of one cache.
    pub(super) fn overlaps(
        &self,
        group: &str,
        cache: &Cache,
        domain: u32,
        mask: u64,
        exclusive: bool,
    ) -> bool {
        let others = self
            .groups
            .iter()
            .filter(|(name, other)| name.as_str() != group && (!exclusive || other.mode == Mode::Exclusive));
        let touched = others.fold(0, |touched, (_, other)| touched | other.ways(cache, domain));
        let devices = if exclusive { 0 } else { cache.shareable };
        mask & (touched | devices) != 0
    }

    /// What a new group may do: all ways that are shareable or unused, and all bandwidth (Example 4: a new group does not
    /// overlap with an exclusive one).
    pub(super) fn values_at_first(
        &self,
        group: &str,
    ) -> Result<BTreeMap<String, BTreeMap<u32, u64>>, Refusal> {
        let mut values = BTreeMap::<String, BTreeMap<u32, u64>>::new();
        for (name, line) in self.lines() {
            let of_line = values.entry(name.clone()).or_default();
            match line {
                Line::Bandwidth(bandwidth) => {
                    let most = if bandwidth.software { u64::from(u32::MAX) } else { bandwidth.most };
                    of_line.extend(bandwidth.domains.iter().map(|domain| (*domain, most)));
                }
                Line::Cache(cache) => {
                    for domain in &cache.domains {
                        let mask = self.free_ways(group, cache, *domain);
                        if mask.count_ones() < cache.fewest {
                            return refuse(Errno::ENOSPC, format!("No space on {name}:{domain}"));
                        }
                        of_line.insert(*domain, mask);
                    }
                }
            }
        }
        Ok(values)
    }

    fn free_ways(&self, group: &str, cache: &Cache, domain: u32) -> u64 {
        let exclusive =
            self.groups.iter().filter(|(name, other)| *name != group && other.mode == Mode::Exclusive);
        let taken = exclusive.fold(0, |taken, (_, other)| taken | other.ways(cache, domain));
        let free = cache.mask() & !taken;
        if cache.sparse {
            return free;
        }
        // The first run of ones.
        let first = free & free.wrapping_neg();
        free & !free.wrapping_add(first)
    }

    /// The file `schemata`: every line of the group. Kernels before 6.11 pad the values to one width.
    pub(super) fn show_schemata(&self, group: &Group) -> String {
        let padded = self.hardware.padded;
        self.render(group, |line, value| match line {
            Line::Cache(cache) if padded => {
                format!("{value:0width$x}", width = digits(cache.bits.div_ceil(4)))
            }
            Line::Cache(_) => format!("{value:x}"),
            Line::Bandwidth(_) if padded => format!("{value:4}"),
            Line::Bandwidth(_) => value.to_string(),
        })
    }

    /// The file `size`: bytes in place of masks.
    pub(super) fn show_size(&self, group: &Group) -> String {
        self.render(group, |line, value| match line {
            Line::Cache(cache) => {
                (cache.bytes / u64::from(cache.bits) * u64::from(value.count_ones())).to_string()
            }
            Line::Bandwidth(_) => value.to_string(),
        })
    }

    fn render(&self, group: &Group, show: impl Fn(&Line<'_>, u64) -> String) -> String {
        let lines = self.lines();
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, line) in lines {
            let values = group.values.get(&name).into_iter().flatten();
            let values: Vec<_> =
                values.map(|(domain, value)| format!("{domain}={}", show(&line, *value))).collect();
            text += &format!("{name:>width$}:{}\n", values.join(";"));
        }
        text
    }

    /// The file `bit_usage` of a cache (section "Info directory").
    pub(super) fn show_bit_usage(&self, line: &str, cache: &Cache) -> String {
        let domain = |domain: &u32| {
            let ways = |mode| {
                let groups = self.groups.values().filter(|group| group.mode == mode);
                groups
                    .filter_map(|group| group.values.get(line)?.get(domain))
                    .fold(0, |ways, mask| ways | mask)
            };
            let (shared, exclusive) = (ways(Mode::Shareable), ways(Mode::Exclusive));
            let sign = |bit: u32| match (cache.shareable >> bit & 1 == 1, shared >> bit & 1 == 1) {
                (true, true) => 'X',
                (true, false) => 'H',
                (false, true) => 'S',
                (false, false) if exclusive >> bit & 1 == 1 => 'E',
                (false, false) => '0',
            };
            format!("{domain}={}", (0..cache.bits).rev().map(sign).collect::<String>())
        };
        cache.domains.iter().map(domain).collect::<Vec<_>>().join(";") + "\n"
    }
}

impl Group {
    /// The ways that it may use.
    pub(super) fn ways(&self, cache: &Cache, domain: u32) -> u64 {
        let lines =
            cache.lines().into_iter().filter_map(|line| self.values.get(&line)?.get(&domain).copied());
        lines.fold(0, |ways, mask| ways | mask)
    }
}

fn digits(count: u32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// The kernel gives no reason for an unknown domain.
fn known_domain(domains: &[u32], domain: u32) -> Result<(), Refusal> {
    if domains.contains(&domain) { Ok(()) } else { refuse(Errno::EINVAL, "") }
}

/// "Cache Bit Masks (CBM)": hexadecimal, within the cache, in one run unless the hardware takes sparse masks, and with at
/// least `min_cbm_bits` ones in its first run.
fn check_mask(cache: &Cache, text: &str) -> Result<u64, Refusal> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let Some(mask) = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')) else {
        return refuse(Errno::EINVAL, format!("Non-hex character in the mask {text}"));
    };
    if (cache.fewest > 0 && mask == 0) || mask > cache.mask() {
        return refuse(Errno::EINVAL, "Mask out of range");
    }
    let run = mask.checked_shr(mask.trailing_zeros()).unwrap_or(0);
    let (first, ones) = (run.trailing_ones(), run.count_ones());
    if !cache.sparse && first != ones {
        return refuse(Errno::EINVAL, format!("The mask {mask:x} has non-consecutive 1-bits"));
    }
    if first < cache.fewest {
        return refuse(Errno::EINVAL, format!("Need at least {} bits in the mask", cache.fewest));
    }
    Ok(mask)
}

/// "Memory bandwidth Allocation and monitoring": between the minimum and the most, rounded up to the next step. The software
/// controller takes any number.
fn check_bandwidth(bandwidth: &Bandwidth, text: &str) -> Result<u64, Refusal> {
    let Some(value) = text.parse::<u32>().ok().filter(|_| !text.starts_with('+')) else {
        return refuse(Errno::EINVAL, format!("Invalid MB value {text}"));
    };
    let value = u64::from(value);
    if bandwidth.software {
        return Ok(value);
    }
    if value < bandwidth.minimum || value > bandwidth.most {
        let (minimum, most) = (bandwidth.minimum, bandwidth.most);
        return refuse(Errno::EINVAL, format!("MB value {value} out of range [{minimum},{most}]"));
    }
    Ok(value.next_multiple_of(bandwidth.step))
}

/// The root group, which is always there.
pub(super) fn is_root(group: &str) -> bool {
    group == ROOT
}
