//! Who is in which group, what each container needs, and what Ballast wrote last.
//!
//! Must not know how groups are brought in line with it: `arrange` does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
};

use nix::fcntl::Flock;

use super::{
    InForce, Pids, ResctrlControl, ResctrlLimits,
    arrange::{self, Wanted},
    gone_is_none,
    hardware::Hardware,
};
use crate::{
    error::KernelError,
    path::CgroupPath,
    resctrl::{
        group::{Group, GroupName},
        monitor::Counters,
        schemata::Schemata,
        sharing::Need,
    },
};

/// A container that has a group.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) need: Need,
    pub(super) pids: Pids,
    pub(super) group: GroupName,
}

/// Containers that have a group.
pub(super) type Holders = BTreeMap<CgroupPath, Held>;

/// A group as it was when Ballast last wrote it.
struct Written {
    schemata: Schemata,
    limits: ResctrlLimits,
}

pub(super) struct Books {
    pub(super) hardware: Hardware,
    holders: Holders,
    written: BTreeMap<GroupName, Written>,
    /// Keeps others away.
    _lock: Flock<File>,
}

impl Books {
    pub(super) fn new(hardware: Hardware, lock: Flock<File>) -> Self {
        Self { hardware, holders: Holders::new(), written: BTreeMap::new(), _lock: lock }
    }

    pub(super) fn holds(&self, group: &str) -> bool {
        self.holders.values().any(|held| held.group.as_str() == group)
    }

    pub(super) fn need_of(&self, path: &CgroupPath) -> Need {
        self.holders.get(path).map_or(self.hardware.full(), |held| held.need)
    }

    pub(super) fn in_force(&self, path: &CgroupPath) -> Result<InForce, KernelError> {
        let Some(held) = self.holders.get(path) else {
            let limits = self.hardware.limits_of(self.hardware.full())?;
            return Ok(InForce { limits, shared_with: Vec::new(), disturbed: false });
        };
        let others = self.members(&held.group).filter(|other| *other != path);
        let shared_with = others.cloned().collect();
        let group = self.group(&held.group);
        let schemata = group.schemata()?;
        let as_written = self.written.get(&held.group).filter(|written| written.schemata == schemata);
        Ok(match as_written {
            Some(written) => InForce { limits: written.limits, shared_with, disturbed: false },
            None => {
                let limits = self.hardware.limits_in(&group, &schemata)?;
                InForce { limits, shared_with, disturbed: true }
            }
        })
    }

    pub(super) fn counters(&self, path: &CgroupPath) -> Result<Counters, KernelError> {
        if let Err(reason) = &self.hardware.info.monitoring {
            return Ok(Counters::absent(&reason.0));
        }
        let Some(held) = self.holders.get(path) else {
            return Ok(Counters::absent(
                "the container has no resctrl group: it is measured while it is limited",
            ));
        };
        if self.members(&held.group).count() > 1 {
            return Ok(Counters::absent(
                "the container shares its resctrl group, which is measured as a whole",
            ));
        }
        self.group(&held.group).counters()
    }

    /// Gives the containers what is ordered, all or none.
    pub(super) fn order(&mut self, orders: &[(&ResctrlControl, ResctrlLimits)]) -> Result<(), KernelError> {
        let mut wanted = self.wanted();
        let foreign = self.hardware.foreign_tasks()?;
        for (control, limits) in orders {
            let need = self.hardware.need(*limits, self.need_of(&control.path))?;
            if need == self.hardware.full() {
                wanted.remove(&control.path);
            } else {
                self.hardware.refuse(&foreign, &control.path, &control.pids)?;
                wanted.insert(control.path.clone(), (need, control.pids.clone()));
            }
        }
        let touched = orders.iter().map(|(control, _)| &control.path).collect();
        self.arrange(&wanted, &touched)
    }

    pub(super) fn release(&mut self, path: &CgroupPath) -> Result<(), KernelError> {
        let mut wanted = self.wanted();
        match wanted.remove(path) {
            Some(_) => self.arrange(&wanted, &BTreeSet::from([path])),
            None => Ok(()),
        }
    }

    pub(super) fn gather(&self, path: &CgroupPath) -> Result<(), KernelError> {
        let Some(held) = self.holders.get(path) else { return Ok(()) };
        self.hardware.refuse(&self.hardware.foreign_tasks()?, path, &held.pids)?;
        self.group(&held.group).take(&self.hardware.procs, &gone_is_none(&held.pids)).map(drop)
    }

    fn arrange(&mut self, wanted: &Wanted, touched: &BTreeSet<&CgroupPath>) -> Result<(), KernelError> {
        let disturbed = self.disturbed();
        self.holders = arrange::arrange(&self.hardware, &self.holders, wanted, touched, &disturbed)?;
        let mut groups: BTreeSet<_> = self.holders.values().map(|held| held.group.clone()).collect();
        self.written.retain(|name, _| groups.contains(name));
        groups.retain(|name| {
            !disturbed.contains(name) || self.members(name).any(|member| touched.contains(member))
        });
        for name in groups {
            let group = self.group(&name);
            let schemata = group.schemata()?;
            let limits = self.hardware.limits_in(&group, &schemata)?;
            self.written.insert(name, Written { schemata, limits });
        }
        Ok(())
    }

    /// Groups whose limits are not those that Ballast wrote. One that cannot be read is told by whoever needs it.
    fn disturbed(&self) -> BTreeSet<GroupName> {
        let is_other = |(name, written): &(&GroupName, &Written)| {
            self.group(name).schemata().is_ok_and(|schemata| schemata != written.schemata)
        };
        self.written.iter().filter(is_other).map(|(name, _)| name.clone()).collect()
    }

    fn wanted(&self) -> Wanted {
        self.holders.iter().map(|(path, held)| (path.clone(), (held.need, held.pids.clone()))).collect()
    }

    fn members(&self, group: &GroupName) -> impl Iterator<Item = &CgroupPath> {
        self.holders.iter().filter(move |(_, held)| held.group == *group).map(|(path, _)| path)
    }

    fn group(&self, name: &GroupName) -> Group {
        self.hardware.groups.existing(name.as_str())
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").field("containers", &self.holders.keys()).finish_non_exhaustive()
    }
}
