//! Writing `mode`, `cpus`, `cpus_list` and `tasks`.
//!
//! Section "Resource alloc and monitor groups".

use nix::errno::Errno;

use super::{Line, Machine, Mode, Place, Refusal, refuse, schemata::is_root};
use crate::cpus::Cpus;

impl Machine {
    /// `mode`: a group becomes exclusive only when its ways are nobody else's, nor a device's. Pseudo-locking is left out.
    pub(super) fn write_mode(&mut self, group: &str, text: &str) -> Result<(), Refusal> {
        let mode = match text.strip_suffix('\n').unwrap_or(text) {
            "shareable" => Mode::Shareable,
            "exclusive" => Mode::Exclusive,
            _ => return refuse(Errno::EINVAL, "Unknown or unsupported mode"),
        };
        let changes = self.groups.get(group).is_some_and(|group| group.mode != mode);
        if changes && mode == Mode::Exclusive {
            self.check_exclusive(group)?;
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.mode = mode;
        }
        Ok(())
    }

    fn check_exclusive(&self, name: &str) -> Result<(), Refusal> {
        if self.hardware.caches.is_empty() {
            return refuse(Errno::EINVAL, "Cannot be exclusive without CAT/CDP");
        }
        for (line, kind) in self.lines() {
            let Line::Cache(cache) = kind else { continue };
            let values = self.groups.get(name).and_then(|group| group.values.get(&line));
            for (domain, mask) in values.into_iter().flatten() {
                if self.overlaps(name, cache, *domain, *mask, false) {
                    return refuse(Errno::EINVAL, "Schemata overlaps");
                }
            }
        }
        Ok(())
    }

    /// `cpus`: what a group gains, others lose; what it gives up, the root group (or its control group) gains.
    pub(super) fn write_cpus(&mut self, place: &Place, parsed: Option<Cpus>) -> Result<(), Refusal> {
        let Some(cpus) = parsed else { return refuse(Errno::EINVAL, "Bad CPU list/mask") };
        if cpus.iter().any(|cpu| *cpu >= self.hardware.cpus) {
            return refuse(Errno::EINVAL, "Can only assign online CPUs");
        }
        match &place.monitor {
            None => self.set_control_cpus(&place.control, &cpus),
            Some(monitor) => self.set_monitor_cpus(&place.control, monitor, &cpus),
        }
    }

    fn set_control_cpus(&mut self, name: &str, cpus: &Cpus) -> Result<(), Refusal> {
        let before = self.groups.get(name).map(|group| group.own.cpus.clone()).unwrap_or_default();
        let dropped: Cpus = before.difference(cpus).copied().collect();
        if is_root(name) && !dropped.is_empty() {
            return refuse(Errno::EINVAL, "Can't drop CPUs from default group");
        }
        for (other, group) in &mut self.groups {
            if other == name {
                group.own.cpus.clone_from(cpus);
                group.monitors.values_mut().for_each(|monitor| monitor.cpus.clear());
            } else {
                if is_root(other) {
                    group.own.cpus.extend(&dropped);
                }
                group.own.cpus.retain(|cpu| !cpus.contains(cpu));
                group
                    .monitors
                    .values_mut()
                    .for_each(|monitor| monitor.cpus.retain(|cpu| !cpus.contains(cpu)));
            }
        }
        Ok(())
    }

    fn set_monitor_cpus(&mut self, control: &str, name: &str, cpus: &Cpus) -> Result<(), Refusal> {
        let Some(group) = self.groups.get_mut(control) else { return refuse(Errno::ENOENT, "") };
        if !cpus.is_subset(&group.own.cpus) {
            return refuse(Errno::EINVAL, "Can only add CPUs to mongroup that belong to parent");
        }
        for (other, monitor) in &mut group.monitors {
            if other == name {
                monitor.cpus.clone_from(cpus);
            } else {
                monitor.cpus.retain(|cpu| !cpus.contains(cpu));
            }
        }
        Ok(())
    }

    /// `tasks`: ids with commas between them, one after the other; the first that fails ends it, and those before it stay
    /// moved. 0 is the writer. A monitoring group takes only tasks of its control group.
    pub(super) fn write_tasks(
        &mut self,
        place: &Place,
        text: &str,
        writer: u32,
        now: u64,
    ) -> Result<(), Refusal> {
        for part in text.split('\n').next().unwrap_or_default().split_terminator(',') {
            let part = part.trim();
            let Ok(task) = part.parse::<i32>() else {
                return refuse(Errno::EINVAL, format!("Task list parsing error pid {part}"));
            };
            let Ok(task) = u32::try_from(task) else {
                return refuse(Errno::EINVAL, format!("Invalid pid {task}"));
            };
            self.move_task(place, if task == 0 { writer } else { task }, now)?;
        }
        Ok(())
    }

    fn move_task(&mut self, place: &Place, task: u32, now: u64) -> Result<(), Refusal> {
        let Some(before) = self.tasks.place(task) else {
            return refuse(Errno::ESRCH, format!("No task {task}\nError while processing task {task}"));
        };
        if place.monitor.is_some() && before.control != place.control {
            return refuse(Errno::EINVAL, "Can't move task to different control group");
        }
        self.tasks.move_to(task, place, now);
        Ok(())
    }
}
