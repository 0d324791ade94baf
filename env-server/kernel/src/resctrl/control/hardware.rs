//! What one machine can limit, and limits as ways and bandwidth values.
//!
//! Must not know which container has which group.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use ballast_api::{Amounts, Bytes, BytesPerSecond, Limit, Resource};

use super::{
    Pids, ResctrlLimits,
    cache::{self, Cache},
    gone_is_none,
};
use crate::{
    error::KernelError,
    file,
    path::CgroupPath,
    resctrl::{
        bandwidth::{Machine, NO_PEAK, Scale, Unit},
        group::{Group, GroupName, Groups},
        info::{Absent, Info, ResctrlMount},
        schemata::{PerDomain, Schemata},
        sharing::Need,
        tasks::Procs,
    },
};

/// How many tasks an error names.
const NAMED: usize = 8;

pub(super) struct Hardware {
    pub(super) info: Info,
    pub(super) groups: Groups,
    pub(super) procs: Procs,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) bandwidth: Option<Bandwidth>,
}

/// The memory bandwidth that is limited.
#[derive(Clone)]
pub(super) struct Bandwidth {
    scale: Scale,
    machine: Machine,
    domains: Vec<u32>,
}

impl Hardware {
    pub(super) fn probe(
        mount: &ResctrlMount,
        procs: Procs,
        peak: Option<BytesPerSecond>,
    ) -> Result<Self, KernelError> {
        let (mut info, groups) = (Info::read(mount)?, Groups::new(&mount.point));
        let root = groups.root();
        // A machine that only monitors has no schemata.
        let schemata =
            if info.cache.is_ok() || info.bandwidth.is_ok() { root.schemata()? } else { Schemata::default() };
        let cache = cache::probe(&mut info, &root, &schemata)?;
        let bandwidth = bandwidth(&mut info, &schemata, peak);
        Ok(Self { info, groups, procs, cache: cache.map(Arc::new), bandwidth })
    }

    /// The need of who has no limit.
    pub(super) fn full(&self) -> Need {
        Need {
            ways: self.cache.as_ref().map_or(0, |cache| cache.all()),
            bandwidth: self.bandwidth.as_ref().map_or(0, |bandwidth| bandwidth.scale.full),
        }
    }

    /// What needs are weighed against: all ways, and the bandwidth that the memory delivers. Where that is not known and any
    /// number of MiB/s can be written, twice the largest limit stands for it.
    pub(super) fn whole(&self, needs: &[Need]) -> Need {
        let full = self.full();
        let whole = self.bandwidth.as_ref().map_or(0, |bandwidth| bandwidth.scale.whole(bandwidth.machine));
        let limited = needs.iter().map(|need| need.bandwidth).filter(|value| *value < full.bandwidth);
        let bandwidth = match whole {
            u32::MAX => limited.max().map_or(whole, |largest| largest.saturating_mul(2)),
            whole => whole,
        };
        Need { ways: full.ways, bandwidth }
    }

    /// How much there is; absent where it is not known.
    pub(super) fn amounts(&self) -> Amounts {
        let whole = |cache: &Arc<Cache>| Bytes::saturating(f64::from(cache.all()) * cache.bytes_per_ways());
        Amounts {
            llc: self.cache.as_ref().map(whole),
            memory_bandwidth: self.bandwidth.as_ref().and_then(|bandwidth| bandwidth.machine.peak),
            ..Amounts::default()
        }
    }

    /// What `limits` ask of the hardware; what they do not name stays as it is in `before`. Where nothing can be limited, no
    /// limit is nothing to do: a baseline must be given back also by who has less configured than who lent.
    pub(super) fn need(&self, limits: ResctrlLimits, before: Need) -> Result<Need, KernelError> {
        let unavailable =
            |resource, reason: &str| KernelError::LimitUnavailable { resource, reason: reason.to_owned() };
        let mut need = before;
        match (limits.llc, &self.cache) {
            (None, _) | (Some(Limit::Max), None) => {}
            (Some(limit), Some(cache)) => need.ways = cache.ways(limit),
            (Some(Limit::At(_)), None) => {
                return Err(unavailable(Resource::Llc, reason(&self.info.cache)));
            }
        }
        match (limits.memory_bandwidth, &self.bandwidth) {
            (None, _) | (Some(Limit::Max), None) => {}
            (Some(limit), Some(bandwidth)) => {
                need.bandwidth = (bandwidth.scale.value(limit, bandwidth.machine))
                    .map_err(|reason| unavailable(Resource::MemoryBandwidth, reason))?;
            }
            (Some(Limit::At(_)), None) => {
                return Err(unavailable(Resource::MemoryBandwidth, reason(&self.info.bandwidth)));
            }
        }
        Ok(need)
    }

    /// The limits that a need stands for.
    pub(super) fn limits_of(&self, need: Need) -> Result<ResctrlLimits, KernelError> {
        let llc = self.cache.as_ref().map(|cache| {
            if need.ways >= cache.all() {
                Limit::Max
            } else {
                cache.limit(f64::from(need.ways) * cache.bytes_per_ways())
            }
        });
        Ok(ResctrlLimits { llc, memory_bandwidth: self.bandwidth_limit(&[need.bandwidth])? })
    }

    /// The limits in force in a group. Ballast writes the same for every domain, and for code and data; should somebody have
    /// changed one, what all of them allow together is the limit.
    pub(super) fn limits_in(&self, group: &Group, schemata: &Schemata) -> Result<ResctrlLimits, KernelError> {
        let odd =
            || file::unexpected(&group.folder().join("schemata"), &schemata.to_string(), "a group's limits");
        let llc = match &self.cache {
            None => None,
            Some(cache) => {
                let ways = cache.ways_in(schemata).ok_or_else(odd)?;
                Some(cache.limit_of(&ways, &self.forbidden()?))
            }
        };
        let values = schemata.bandwidths().into_iter().flat_map(PerDomain::values);
        let values: Result<Vec<_>, _> = values.map(|value| u32::try_from(*value)).collect();
        Ok(ResctrlLimits { llc, memory_bandwidth: self.bandwidth_limit(&values.map_err(|_| odd())?)? })
    }

    fn bandwidth_limit(&self, values: &[u32]) -> Result<Option<Limit<BytesPerSecond>>, KernelError> {
        let Some(bandwidth) = &self.bandwidth else { return Ok(None) };
        let limit = bandwidth.scale.limit_over(values, bandwidth.machine);
        limit.map(Some).map_err(|reason| KernelError::LimitUnavailable {
            resource: Resource::MemoryBandwidth,
            reason: reason.to_owned(),
        })
    }

    /// The lines that put a need in force: these masks, and one bandwidth for all domains.
    pub(super) fn lines(&self, masks: &PerDomain<u64>, need: Need) -> Schemata {
        let mut schemata = Schemata::default();
        if let Some(cache) = &self.cache {
            for line in &cache.info.lines {
                schemata = schemata.with_masks(line, masks.clone());
            }
        }
        if let Some(bandwidth) = &self.bandwidth {
            let value = u64::from(need.bandwidth);
            schemata =
                schemata.with_bandwidths(bandwidth.domains.iter().map(|domain| (*domain, value)).collect());
        }
        schemata
    }

    /// How many groups Ballast may have: as many as there are classes of service, less the root's and those of others.
    pub(super) fn capacity(&self) -> Result<usize, KernelError> {
        let others = self.foreign_groups()?.len();
        Ok(usize::try_from(self.info.groups()).unwrap_or(usize::MAX).saturating_sub(others))
    }

    /// Ways that others hold exclusively, by domain. Ballast's own groups are never exclusive.
    pub(super) fn forbidden(&self) -> Result<PerDomain<u64>, KernelError> {
        let mut forbidden = PerDomain::new();
        for (mode, masks) in self.others()? {
            if matches!(mode.as_str(), "exclusive" | "pseudo-locked") {
                for (domain, mask) in masks {
                    *forbidden.entry(domain).or_default() |= mask;
                }
            }
        }
        Ok(forbidden)
    }

    /// The masks of groups that are not Ballast's, the root's among them.
    pub(super) fn masks_of_others(&self) -> Result<Vec<PerDomain<u64>>, KernelError> {
        Ok(self.others()?.into_iter().map(|(_, masks)| masks).collect())
    }

    /// Mode and masks of groups that are not Ballast's. One that is being set up for pseudo-locking has no masks yet, and a
    /// pseudo-locked one only those of its own cache.
    fn others(&self) -> Result<Vec<(String, PerDomain<u64>)>, KernelError> {
        let Some(cache) = &self.cache else { return Ok(Vec::new()) };
        let mut others = Vec::new();
        for group in self.foreign_groups()?.into_iter().chain([self.groups.root()]) {
            match group.mode().and_then(|mode| Ok((mode, group.schemata()?))) {
                // Its owner has removed it since it was listed.
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
                Ok((mode, _)) if mode == "pseudo-locksetup" => {}
                Ok((mode, schemata)) => {
                    others.extend(cache.masks(&schemata).map(|masks| (mode, masks)));
                }
            }
        }
        Ok(others)
    }

    fn foreign_groups(&self) -> Result<Vec<Group>, KernelError> {
        let names = self.groups.names()?.into_iter().filter(|name| !GroupName::is_ours(name));
        Ok(names.map(|name| self.groups.existing(&name)).collect())
    }

    /// Tasks that are in a control or monitoring group of somebody else.
    pub(super) fn foreign_tasks(&self) -> Result<ForeignTasks, KernelError> {
        let mut foreign = Vec::new();
        for group in self.foreign_groups()?.into_iter().chain(self.groups.root().monitoring_groups()?) {
            match group.tasks() {
                Err(error) if error.is_gone() => {}
                other => foreign.push((group.folder().to_owned(), other?)),
            }
        }
        Ok(ForeignTasks(foreign))
    }

    /// Refuses a container with a task among them.
    pub(super) fn refuse(
        &self,
        foreign: &ForeignTasks,
        path: &CgroupPath,
        pids: &Pids,
    ) -> Result<(), KernelError> {
        if foreign.0.iter().all(|(_, tasks)| tasks.is_empty()) {
            return Ok(());
        }
        let threads = self.procs.threads(&gone_is_none(pids)()?)?;
        for (group, inside) in &foreign.0 {
            let tasks: Vec<_> = threads.intersection(inside).copied().take(NAMED).collect();
            if !tasks.is_empty() {
                let (container, group) = (path.to_string(), group.clone());
                return Err(KernelError::ForeignGroup { container, group, tasks });
            }
        }
        Ok(())
    }
}

/// The folders of groups that are not Ballast's, and the tasks in each.
pub(super) struct ForeignTasks(Vec<(PathBuf, BTreeSet<u32>)>);

fn reason<T>(found: &Result<T, Absent>) -> &str {
    found.as_ref().err().map_or("resctrl does not say how large it is", |absent| absent.0.as_str())
}

fn bandwidth(info: &mut Info, schemata: &Schemata, peak: Option<BytesPerSecond>) -> Option<Bandwidth> {
    let found = info.bandwidth.as_ref().ok()?;
    let values = schemata.bandwidths().filter(|values| !values.is_empty());
    let Some(values) = values else {
        info.bandwidth = Err(Absent("resctrl's root group has no MB line".to_owned()));
        return None;
    };
    if found.unit == Unit::Percent && peak.is_none_or(|peak| peak == BytesPerSecond::ZERO) {
        info.bandwidth = Err(Absent(NO_PEAK.to_owned()));
        return None;
    }
    let largest = values.values().max().and_then(|value| u32::try_from(*value).ok());
    let full = match found.unit {
        Unit::Percent => 100,
        // The folder `info` does not say which value is the largest. The root group has it, unless somebody limited that.
        Unit::EighthsOfGigabyte => largest.unwrap_or(u32::MAX),
        Unit::Mebibytes => u32::MAX,
    };
    let scale = Scale { unit: found.unit, minimum: found.minimum, step: found.step, full };
    let machine = Machine { domains: u32::try_from(values.len()).unwrap_or(u32::MAX), peak };
    Some(Bandwidth { scale, machine, domains: values.keys().copied().collect() })
}
