//! The state of a resctrl mount, and what each command does to it: no file system, no processes, no clock.
//!
//! A command that is refused changes nothing, unless its comment says so, and leaves its reason in `last_cmd_status` (section
//! "Info directory"). The reasons are the kernel's own short ones.

mod files;
mod groups;
mod modes;
mod schemata;
mod stop;

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::{
    cpus::Cpus,
    hardware::{Cache, Event, Hardware},
    tasks::{Place, Seen, Tasks},
};
pub use files::Kind;
use stop::Stop;

/// What a counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// A number.
    Value(u64),
    /// The hardware has none at the moment.
    Unavailable,
    /// The hardware refuses.
    Error,
    /// No hardware counter is assigned.
    Unassigned,
}

/// How a group shares its ways (section "Resource alloc and monitor groups", `mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Shareable,
    Exclusive,
}

/// A monitoring group; a control group is one as well.
#[derive(Debug, Clone, Default)]
struct Monitored {
    cpus: Cpus,
    counters: BTreeMap<(u32, Event), Counter>,
}

/// A control group.
#[derive(Debug, Clone)]
struct Group {
    mode: Mode,
    /// Line, domain, mask or bandwidth.
    values: BTreeMap<String, BTreeMap<u32, u64>>,
    own: Monitored,
    monitors: BTreeMap<String, Monitored>,
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    errno: Errno,
    status: String,
}

fn refuse<T>(errno: Errno, status: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { errno, status: status.into() })
}

/// A mounted resctrl.
#[derive(Debug, Clone)]
pub struct Machine {
    hardware: Hardware,
    /// The root's under the empty name.
    groups: BTreeMap<String, Group>,
    tasks: Tasks,
    status: String,
    /// `max_threshold_occupancy`.
    threshold: u64,
    stop: Stop,
}

/// The name of the root group.
const ROOT: &str = "";

/// One line of `schemata`: what it divides.
enum Line<'a> {
    Cache(&'a Cache),
    Bandwidth(&'a crate::hardware::Bandwidth),
}

impl Machine {
    /// The mount as it is at first: the root group has all processors and everything of every resource.
    #[must_use]
    pub fn new(hardware: Hardware) -> Self {
        let own = Monitored { cpus: (0..hardware.cpus).collect(), ..Monitored::default() };
        let root = Group { mode: Mode::Shareable, values: BTreeMap::new(), own, monitors: BTreeMap::new() };
        let mut machine = Self {
            hardware,
            groups: BTreeMap::from([(ROOT.to_owned(), root)]),
            tasks: Tasks::default(),
            status: String::new(),
            threshold: 65_536,
            stop: Stop::default(),
        };
        let values = machine.values_at_first(ROOT).unwrap_or_default();
        if let Some(root) = machine.groups.get_mut(ROOT) {
            root.values = values;
        }
        machine
    }

    /// What it plays.
    #[must_use]
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// Takes note of the tasks that are there now: do this before each command.
    pub fn observe(&mut self, seen: &[Seen]) {
        self.tasks.observe(seen);
    }

    /// Sets a counter of a group. False when there is no such group, domain or event.
    pub fn set_counter(&mut self, place: &Place, domain: u32, event: Event, counter: Counter) -> bool {
        let measured = self.hardware.monitoring.as_ref();
        let known = measured.is_some_and(|m| m.domains.contains(&domain) && m.events.contains(&event));
        let Some(monitored) = self.monitored_mut(place).filter(|_| known) else { return false };
        monitored.counters.insert((domain, event), counter);
        true
    }

    /// The lines of `schemata`, in the order in which they are shown.
    fn lines(&self) -> Vec<(String, Line<'_>)> {
        let bandwidths = self.hardware.bandwidths.iter().map(|b| (b.name.to_owned(), Line::Bandwidth(b)));
        let caches = self.hardware.caches.iter();
        let caches =
            caches.flat_map(|cache| cache.lines().into_iter().map(move |line| (line, Line::Cache(cache))));
        bandwidths.chain(caches).collect()
    }

    fn line(&self, name: &str) -> Option<Line<'_>> {
        self.lines().into_iter().find(|(line, _)| line == name).map(|(_, line)| line)
    }

    fn monitored(&self, place: &Place) -> Option<&Monitored> {
        let group = self.groups.get(&place.control)?;
        match &place.monitor {
            None => Some(&group.own),
            Some(name) => group.monitors.get(name),
        }
    }

    fn monitored_mut(&mut self, place: &Place) -> Option<&mut Monitored> {
        let group = self.groups.get_mut(&place.control)?;
        match &place.monitor {
            None => Some(&mut group.own),
            Some(name) => group.monitors.get_mut(name),
        }
    }

    /// Runs a command: its status replaces that of the one before.
    fn command<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Errno> {
        self.status.clear();
        run(self).map_err(|refusal| {
            self.status = refusal.status;
            refusal.errno
        })
    }
}

#[cfg(test)]
mod tests;
