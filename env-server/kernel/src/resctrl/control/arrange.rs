//! Bringing the kernel's groups in line with who needs what: groups first, then limits, then tasks, and what nobody needs
//! last, so that a failure on the way can be undone.
//!
//! Must not choose who shares with whom: `sharing` does.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::{
    Pids,
    books::{Held, Holders, Member},
    gone_is_none,
    hardware::Hardware,
};
use crate::{
    error::KernelError,
    resctrl::{
        group::{Group, GroupName},
        schemata::{PerDomain, Schemata},
        sharing::{Need, Share, share},
    },
};

/// What every container needs, and its processes.
pub(super) type Wanted = BTreeMap<Member, (Need, Pids)>;

/// Groups whose limits were looked at, and written where they had to be: as read back.
pub(super) type Filled = BTreeMap<GroupName, Schemata>;

/// What is to be left alone.
pub(super) struct Theirs {
    /// Groups whose limits somebody else changed: they keep them while no member comes and none of them is touched.
    pub(super) disturbed: BTreeSet<GroupName>,
    /// Names of groups that somebody removed, and that the books still speak of.
    pub(super) lost: BTreeSet<GroupName>,
}

/// Gives every container of `wanted` a group, and removes the groups of `before` that are not needed any more. Tasks are
/// moved of those containers whose group is another than before.
///
/// # Errors
/// When the kernel refuses; then everything is as before.
pub(super) fn arrange(
    hardware: &Hardware,
    before: &Holders,
    wanted: &Wanted,
    touched: &BTreeSet<Member>,
    theirs: &Theirs,
) -> Result<(Holders, Filled), KernelError> {
    let limits = limits_before(hardware, before)?;
    let (created, moves) = (Vec::new(), Vec::new());
    let mut work = Work { hardware, before, touched, theirs, limits, created, moves };
    let after = match work.assign(wanted) {
        Ok(after) => after,
        Err(error) => return Err(work.undo(error)),
    };
    match work.fill(&after) {
        Ok(filled) => {
            work.remove_unused(&after);
            Ok((after, filled))
        }
        Err(error) => Err(work.undo(error)),
    }
}

fn limits_before(
    hardware: &Hardware,
    before: &Holders,
) -> Result<BTreeMap<GroupName, Schemata>, KernelError> {
    let names: BTreeSet<_> = before.values().map(|held| &held.group).collect();
    names.into_iter().map(|name| Ok((name.clone(), group(hardware, name).schemata()?))).collect()
}

fn group(hardware: &Hardware, name: &GroupName) -> Group {
    hardware.groups.existing(name.as_str())
}

struct Work<'a> {
    hardware: &'a Hardware,
    before: &'a Holders,
    touched: &'a BTreeSet<Member>,
    theirs: &'a Theirs,
    /// Of the groups that were there, as they were.
    limits: BTreeMap<GroupName, Schemata>,
    created: Vec<GroupName>,
    /// Begun, and perhaps not finished.
    moves: Vec<Move>,
}

/// Tasks of one container that go from one group to another.
struct Move {
    pids: Pids,
    from: Group,
    to: Group,
}

impl Work<'_> {
    /// Finds a group for everybody, making those that are missing. When the hardware has fewer than it said, more share.
    fn assign(&mut self, wanted: &Wanted) -> Result<Holders, KernelError> {
        let needs: Vec<_> = wanted.values().map(|(need, _)| *need).collect();
        let mut capacity = self.hardware.capacity()?.max(self.limits.len()).max(1);
        loop {
            let shares = share(&needs, self.hardware.whole(&needs), capacity);
            match self.names(&shares, wanted) {
                Ok(names) => return Ok(books(wanted, &shares, &names)),
                Err(error @ KernelError::OutOfClosids { .. }) => {
                    let fewer = self.limits.len() + self.created.len();
                    if fewer == 0 || fewer >= capacity {
                        return Err(error);
                    }
                    capacity = fewer;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A group for each share: that where most of its members are, else one that is free, else a new one.
    fn names(&mut self, shares: &[Share], wanted: &Wanted) -> Result<Vec<GroupName>, KernelError> {
        let containers: Vec<_> = wanted.keys().collect();
        let mut free: BTreeSet<_> = self.limits.keys().chain(&self.created).cloned().collect();
        let mut names: Vec<Option<GroupName>> = shares
            .iter()
            .map(|share| {
                let inside = |name: &GroupName| {
                    let there = |member: &&usize| {
                        self.before.get(containers[**member]).is_some_and(|held| held.group == *name)
                    };
                    share.members.iter().filter(there).count()
                };
                // The last of equals is the first in the reverse order.
                let best = free
                    .iter()
                    .rev()
                    .filter(|name| inside(name) > 0)
                    .max_by_key(|name| inside(name))
                    .cloned()?;
                free.take(&best)
            })
            .collect();
        for name in names.iter_mut().filter(|name| name.is_none()) {
            *name = Some(match free.pop_first() {
                Some(name) => name,
                None => self.create()?,
            });
        }
        Ok(names.into_iter().flatten().collect())
    }

    fn create(&mut self) -> Result<GroupName, KernelError> {
        let taken: BTreeSet<_> = self.hardware.groups.names()?.into_iter().collect();
        let is_free = |name: &GroupName| !taken.contains(name.as_str()) && !self.theirs.lost.contains(name);
        let free = (0..).map(GroupName::ours).find(is_free);
        let name = free.unwrap_or_else(|| GroupName::ours(u32::MAX));
        self.hardware.groups.create(&name)?;
        self.created.push(name.clone());
        Ok(name)
    }

    /// Writes limits that are not in force yet, and moves tasks.
    fn fill(&mut self, after: &Holders) -> Result<Filled, KernelError> {
        let mut filled = Filled::new();
        for (name, lines) in self.lines(after)? {
            if self.is_left_alone(&name, after) {
                continue;
            }
            let group = group(self.hardware, &name);
            let now = group.schemata()?;
            let changed = lines.that_differ_from(&now);
            filled.insert(name, if changed.is_empty() { now } else { group.write_schemata(&changed)? });
        }
        for (member, held) in after {
            self.move_in(member, held)?;
        }
        for (member, held) in self.before {
            if !after.contains_key(member) {
                self.hand_over(held, self.hardware.groups.root())?;
            }
        }
        Ok(filled)
    }

    /// All tasks of a newcomer, and of who had another group those that were in it: somebody may have put the rest elsewhere.
    fn move_in(&mut self, member: &Member, held: &Held) -> Result<(), KernelError> {
        let to = group(self.hardware, &held.group);
        match self.before.get(member) {
            Some(before) if before.group == held.group => Ok(()),
            Some(before) => self.hand_over(before, to),
            None => {
                let from = self.hardware.groups.root();
                self.moves.push(Move { pids: held.pids.clone(), from, to: to.clone() });
                to.take(&self.hardware.procs, &gone_is_none(&held.pids)).map(drop)
            }
        }
    }

    fn hand_over(&mut self, from: &Held, to: Group) -> Result<(), KernelError> {
        let step = Move { pids: from.pids.clone(), from: group(self.hardware, &from.group), to };
        let moved = step.from.hand_over(&step.to, &self.hardware.procs, &gone_is_none(&step.pids));
        self.moves.push(step);
        moved.map(drop)
    }

    /// Who leaves a group that somebody else changed changes nothing about it.
    fn is_left_alone(&self, name: &GroupName, after: &Holders) -> bool {
        let members = |holders: &Holders| -> BTreeSet<Member> {
            let inside = holders.iter().filter(|(_, held)| held.group == *name);
            inside.map(|(member, _)| member.clone()).collect()
        };
        let (old, new) = (members(self.before), members(after));
        self.theirs.disturbed.contains(name) && new.is_subset(&old) && new.is_disjoint(self.touched)
    }

    /// The limits of every group. Masks that fit are kept, so that caches stay warm; the others are placed around them.
    fn lines(&self, after: &Holders) -> Result<BTreeMap<GroupName, Schemata>, KernelError> {
        let mut needs = BTreeMap::<&GroupName, Need>::new();
        for held in after.values() {
            needs.entry(&held.group).and_modify(|need| *need = need.and(held.need)).or_insert(held.need);
        }
        let Some(cache) = &self.hardware.cache else {
            let lines = |(name, need): (&GroupName, Need)| {
                (name.clone(), self.hardware.lines(&PerDomain::new(), need))
            };
            return Ok(needs.into_iter().map(lines).collect());
        };
        let forbidden = self.hardware.forbidden()?;
        let mut taken = self.hardware.masks_of_others()?;
        let before: BTreeMap<_, _> =
            self.limits.iter().filter_map(|(name, limits)| Some((name, cache.masks(limits)?))).collect();
        let stays = |name: &GroupName, need: &Need| {
            let fits = |masks: &PerDomain<u64>| masks.values().all(|mask| mask.count_ones() == need.ways);
            before.get(name).filter(|masks| fits(masks) || self.is_left_alone(name, after))
        };
        taken.extend(needs.iter().filter_map(|(name, need)| stays(name, need).cloned()));
        let mut lines = BTreeMap::new();
        for (name, need) in needs {
            let kept = stays(name, &need);
            let masks = cache.place(need.ways, before.get(name), &taken, &forbidden);
            if kept.is_none() {
                taken.push(masks.clone());
            }
            lines.insert(name.clone(), self.hardware.lines(&masks, need));
        }
        Ok(lines)
    }

    /// Removes what nobody needs. What cannot be removed now is found by the next sweep.
    fn remove_unused(&self, after: &Holders) {
        for name in self.limits.keys().chain(&self.created) {
            if after.values().any(|held| held.group == *name) {
                continue;
            }
            match group(self.hardware, name).remove() {
                Ok(()) => info!(group = %name, "resctrl group removed"),
                Err(error) => warn!(group = %name, %error, "resctrl group left behind"),
            }
        }
    }

    /// Puts limits back as they were, and those tasks that were moved, and answers the error again.
    fn undo(&self, error: KernelError) -> KernelError {
        let mut failures = Vec::new();
        for (name, limits) in &self.limits {
            let group = group(self.hardware, name);
            let restored = group
                .schemata()
                .and_then(|now| group.write_schemata(&limits.known().that_differ_from(&now.known())));
            failures.extend(restored.err());
        }
        for Move { pids, from, to } in self.moves.iter().rev() {
            failures.extend(to.hand_over(from, &self.hardware.procs, &gone_is_none(pids)).err());
        }
        // The kernel gives the tasks of a group that is removed to the root group.
        failures.extend(self.created.iter().filter_map(|name| group(self.hardware, name).remove().err()));
        for failure in failures {
            warn!(error = %failure, "change of resctrl groups not undone");
        }
        error
    }
}

fn books(wanted: &Wanted, shares: &[Share], names: &[GroupName]) -> Holders {
    let mut books = Holders::new();
    let containers: Vec<_> = wanted.iter().collect();
    for (share, group) in shares.iter().zip(names) {
        for member in &share.members {
            let (name, (need, pids)) = containers[*member];
            books.insert(name.clone(), Held::new(*need, pids.clone(), group.clone()));
        }
    }
    books
}
