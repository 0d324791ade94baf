//! Who is in which group, what each container needs, and what Ballast wrote last.
//!
//! Must not know how groups are brought in line with it: `arrange` does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
};

use nix::fcntl::Flock;
use tracing::warn;

use super::{
    InForce, Pids, ResctrlControl, ResctrlLimits,
    arrange::{self, Filled, Theirs, Wanted},
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

/// A container: the cgroup that is at a path, not who comes after it there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) path: CgroupPath,
    pub(super) identity: Option<u64>,
}

/// A container that has a group.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) need: Need,
    pub(super) pids: Pids,
    pub(super) group: GroupName,
    /// Why some of its tasks are elsewhere.
    astray: Option<String>,
}

impl Held {
    pub(super) fn new(need: Need, pids: Pids, group: GroupName) -> Self {
        Self { need, pids, group, astray: None }
    }
}

/// Containers that have a group.
pub(super) type Holders = BTreeMap<Member, Held>;

/// A group as it was when Ballast last wrote it.
struct Written {
    schemata: Schemata,
    /// Absent where they could not be told.
    limits: Option<ResctrlLimits>,
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

    /// Who has lost the group needs nothing until something is ordered anew.
    pub(super) fn need_of(&self, member: &Member) -> Need {
        let held = self.holders.get(member).filter(|held| !self.is_lost(held));
        held.map_or(self.hardware.full(), |held| held.need)
    }

    pub(super) fn in_force(&self, member: &Member) -> Result<InForce, KernelError> {
        let Some(held) = self.holders.get(member) else { return self.unlimited(None) };
        let group = self.group(&held.group);
        let schemata = match group.schemata() {
            Err(error) if error.is_gone() => return self.unlimited(Some(format!("{} is gone", held.group))),
            other => other?,
        };
        let as_written = self.written.get(&held.group).filter(|written| written.schemata == schemata);
        let limits = match as_written.and_then(|written| written.limits) {
            Some(limits) => limits,
            None => self.hardware.limits_in(&group, &schemata)?,
        };
        let disturbed = as_written.is_none().then(|| schemata.to_string());
        Ok(InForce { limits, disturbed, ..self.as_held(member, held, limits) })
    }

    /// What an order has put in force, as it was read back then: the order is carried out, whatever a second look would say.
    pub(super) fn ordered(&self, member: &Member) -> Result<InForce, KernelError> {
        let held = self.holders.get(member);
        match held.and_then(|held| Some((held, self.written.get(&held.group)?.limits?))) {
            Some((held, limits)) => Ok(self.as_held(member, held, limits)),
            None => self.in_force(member),
        }
    }

    /// The kernel gives the tasks of a group that is removed to the root group.
    fn unlimited(&self, disturbed: Option<String>) -> Result<InForce, KernelError> {
        let limits = self.hardware.limits_of(self.hardware.full())?;
        Ok(InForce { limits, shared_with: Vec::new(), disturbed, astray: None })
    }

    fn as_held(&self, member: &Member, held: &Held, limits: ResctrlLimits) -> InForce {
        let others = self.members(&held.group).filter(|other| *other != member);
        let shared_with = others.map(|other| other.path.clone()).collect();
        InForce { limits, shared_with, disturbed: None, astray: held.astray.clone() }
    }

    pub(super) fn counters(&self, member: &Member) -> Result<Counters, KernelError> {
        let absent = |reason: &str| Ok(Counters::absent(reason));
        if let Err(reason) = &self.hardware.info.monitoring {
            return absent(&reason.0);
        }
        let Some(held) = self.holders.get(member).filter(|held| !self.is_lost(held)) else {
            return absent("the container has no resctrl group: it is measured while it is limited");
        };
        if self.members(&held.group).count() > 1 {
            return absent("the container shares its resctrl group, which is measured as a whole");
        }
        self.group(&held.group).counters()
    }

    /// Gives the containers what is ordered, all or none.
    pub(super) fn order(&mut self, orders: &[(&ResctrlControl, ResctrlLimits)]) -> Result<(), KernelError> {
        let mut wanted = self.wanted();
        let foreign = self.hardware.foreign_tasks()?;
        for (ResctrlControl { member, pids, .. }, limits) in orders {
            let need = self.hardware.need(*limits, self.need_of(member))?;
            // Who was at this path before is gone.
            wanted.retain(|other, _| other.path != member.path);
            if need != self.hardware.full() {
                self.hardware.refuse(&foreign, &member.path, pids)?;
                wanted.insert(member.clone(), (need, pids.clone()));
            }
        }
        let touched = orders.iter().map(|(control, _)| control.member.clone()).collect();
        self.arrange(wanted, &touched)
    }

    /// Takes the group from those containers of a path whose identity `leaves`.
    pub(super) fn release(
        &mut self,
        path: &CgroupPath,
        leaves: impl Fn(Option<u64>) -> bool,
    ) -> Result<(), KernelError> {
        let mut wanted = self.wanted();
        let leaves = |member: &Member| member.path == *path && leaves(member.identity);
        let touched: BTreeSet<_> = wanted.keys().filter(|member| leaves(member)).cloned().collect();
        wanted.retain(|member, _| !touched.contains(member));
        if touched.is_empty() { Ok(()) } else { self.arrange(wanted, &touched) }
    }

    pub(super) fn gather(&mut self, member: &Member) -> Result<(), KernelError> {
        let Some(held) = self.holders.get(member).filter(|held| !self.is_lost(held)) else { return Ok(()) };
        let refused = self.hardware.refuse(&self.hardware.foreign_tasks()?, &member.path, &held.pids);
        let (group, pids) = (self.group(&held.group), gone_is_none(&held.pids));
        if let Some(held) = self.holders.get_mut(member) {
            held.astray = refused.as_ref().err().map(ToString::to_string);
        }
        refused?;
        group.take(&self.hardware.procs, &pids).map(drop)
    }

    /// Somebody else's removal of a group is not undone in passing: its members stay without one until something is ordered
    /// for them.
    fn arrange(&mut self, mut wanted: Wanted, touched: &BTreeSet<Member>) -> Result<(), KernelError> {
        let (mut left, before): (Holders, Holders) =
            self.holders.clone().into_iter().partition(|(_, held)| self.is_lost(held));
        left.retain(|member, _| wanted.contains_key(member) && !touched.contains(member));
        wanted.retain(|member, _| !left.contains_key(member));
        let lost = left.values().map(|held| held.group.clone()).collect();
        let theirs = Theirs { disturbed: self.disturbed(), lost };
        let (after, filled) = arrange::arrange(&self.hardware, &before, &wanted, touched, &theirs)?;
        self.holders = after;
        self.holders.extend(left);
        self.remember(filled);
        Ok(())
    }

    fn remember(&mut self, filled: Filled) {
        let groups: BTreeSet<_> = self.holders.values().map(|held| held.group.clone()).collect();
        self.written.retain(|name, _| groups.contains(name));
        for (name, schemata) in filled {
            let limits = self.hardware.limits_in(&self.group(&name), &schemata);
            let limits = limits.inspect_err(|error| warn!(group = %name, %error, "limits not told yet")).ok();
            self.written.insert(name, Written { schemata, limits });
        }
    }

    /// Whether somebody has removed its group.
    fn is_lost(&self, held: &Held) -> bool {
        self.hardware.groups.find(&held.group).is_none()
    }

    /// Groups whose limits are not those that Ballast wrote. One that cannot be read is told by whoever needs it.
    fn disturbed(&self) -> BTreeSet<GroupName> {
        let is_other = |(name, written): &(&GroupName, &Written)| {
            self.group(name).schemata().is_ok_and(|schemata| schemata != written.schemata)
        };
        self.written.iter().filter(is_other).map(|(name, _)| name.clone()).collect()
    }

    fn wanted(&self) -> Wanted {
        let wanted = |(member, held): (&Member, &Held)| (member.clone(), (held.need, held.pids.clone()));
        self.holders.iter().map(wanted).collect()
    }

    fn members(&self, group: &GroupName) -> impl Iterator<Item = &Member> {
        self.holders.iter().filter(move |(_, held)| held.group == *group).map(|(member, _)| member)
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
