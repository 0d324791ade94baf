//! Making and removing groups.
//!
//! Section "Resource alloc and monitor groups", and "Notes on cache occupancy monitoring and control" for running out of
//! CLOSIDs and RMIDs.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::{Group, Machine, Mode, Monitored, ROOT, Refusal, files::Folder, refuse};
use crate::tasks::Place;

impl Machine {
    /// Makes a folder: a control group in the root, a monitoring group in a `mon_groups`, and nothing anywhere else.
    ///
    /// # Errors
    /// As the kernel: EEXIST, EPERM, EINVAL for a name with a newline, ENOSPC when out of CLOSIDs, RMIDs or ways.
    pub fn mkdir(&mut self, path: &[&str]) -> Result<(), Errno> {
        self.count_change()?;
        let Some((name, parent)) = path.split_last() else { return Err(Errno::EEXIST) };
        let siblings = self.list(parent)?;
        if siblings.iter().any(|(sibling, _)| sibling == name) {
            return Err(Errno::EEXIST);
        }
        if name.contains('\n') {
            return Err(Errno::EINVAL);
        }
        match self.folder(parent) {
            Some(Folder::Group(place)) if place == Place::default() && self.hardware.closids() > 0 => {
                self.command(|machine| machine.make_control(name))
            }
            // A folder of this name in itself would be taken for the one that the kernel made.
            Some(Folder::Monitors(control)) if *name != "mon_groups" => {
                self.command(|machine| machine.make_monitor(&control, name))
            }
            _ => Err(Errno::EPERM),
        }
    }

    fn make_control(&mut self, name: &str) -> Result<(), Refusal> {
        if self.groups.len() >= usize::try_from(self.hardware.closids()).unwrap_or(usize::MAX) {
            return refuse(Errno::ENOSPC, "Out of CLOSIDs");
        }
        self.check_rmids()?;
        let values = self.values_at_first(name)?;
        let own = Monitored::default();
        self.groups
            .insert(name.to_owned(), Group { mode: Mode::Shareable, values, own, monitors: BTreeMap::new() });
        Ok(())
    }

    fn make_monitor(&mut self, control: &str, name: &str) -> Result<(), Refusal> {
        self.check_rmids()?;
        if let Some(group) = self.groups.get_mut(control) {
            group.monitors.insert(name.to_owned(), Monitored::default());
        }
        Ok(())
    }

    fn check_rmids(&self) -> Result<(), Refusal> {
        let used: usize = self.groups.values().map(|group| 1 + group.monitors.len()).sum();
        let full = |rmids: u32| used >= usize::try_from(rmids).unwrap_or(usize::MAX);
        if self.hardware.monitoring.as_ref().is_some_and(|monitoring| full(monitoring.rmids)) {
            return refuse(Errno::ENOSPC, "Out of RMIDs");
        }
        Ok(())
    }

    /// Removes a group, full or not: its tasks and processors go to the root group, those of a monitoring group to its
    /// control group.
    ///
    /// # Errors
    /// As the kernel: ENOENT, and EPERM for what is no group or the root's.
    pub fn rmdir(&mut self, path: &[&str], now: u64) -> Result<(), Errno> {
        self.count_change()?;
        match self.folder(path).ok_or(Errno::ENOENT)? {
            Folder::Group(Place { control, monitor: None }) if control != ROOT => {
                self.remove_control(&control, now);
                Ok(())
            }
            Folder::Group(Place { control, monitor: Some(monitor) }) => {
                self.remove_monitor(&control, &monitor, now);
                Ok(())
            }
            _ => Err(Errno::EPERM),
        }
    }

    fn remove_control(&mut self, name: &str, now: u64) {
        self.tasks.move_all(|place| place.control == name, &Place::default(), now);
        let cpus = self.groups.remove(name).map(|group| group.own.cpus).unwrap_or_default();
        if let Some(root) = self.groups.get_mut(ROOT) {
            root.own.cpus.extend(cpus);
        }
    }

    fn remove_monitor(&mut self, control: &str, name: &str, now: u64) {
        let left = Place { control: control.to_owned(), monitor: Some(name.to_owned()) };
        let parent = Place { control: control.to_owned(), monitor: None };
        self.tasks.move_all(|place| *place == left, &parent, now);
        if let Some(group) = self.groups.get_mut(control) {
            group.monitors.remove(name);
        }
    }
}
