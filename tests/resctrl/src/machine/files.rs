//! The tree of folders and files, and what reading and writing each of them is.
//!
//! Sections "Info directory" and "Resource alloc and monitor groups".

use nix::errno::Errno;

use super::{Counter, Group, Line, Machine, Mode, ROOT};
use crate::{
    cpus::{parse_list, parse_mask, show_list, show_mask},
    hardware::{Cache, Event},
    tasks::Place,
};

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file that is only read.
    ReadOnly,
    /// A file that is read and written.
    Writable,
}

/// A folder of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folder {
    Group(Place),
    /// The `mon_groups` of a control group.
    Monitors(String),
    Data(Place),
    DataOf(Place, u32),
    Info,
    InfoOf(String),
}

const CACHE_FILES: [&str; 6] =
    ["num_closids", "cbm_mask", "min_cbm_bits", "shareable_bits", "bit_usage", "sparse_masks"];
const BANDWIDTH_FILES: [&str; 4] = ["num_closids", "min_bandwidth", "bandwidth_gran", "delay_linear"];

impl Machine {
    /// What a folder holds, in no order that matters.
    ///
    /// # Errors
    /// ENOENT when there is no such folder.
    pub fn list(&self, path: &[&str]) -> Result<Vec<(String, Kind)>, Errno> {
        let folder = self.folder(path).ok_or(Errno::ENOENT)?;
        let named = |kind: Kind| move |name: &str| (name.to_owned(), kind);
        Ok(match folder {
            Folder::Group(place) => self.list_group(&place),
            Folder::Monitors(control) => {
                let monitors = self.groups.get(&control).map(|group| group.monitors.keys());
                monitors.into_iter().flatten().map(|name| (name.clone(), Kind::Folder)).collect()
            }
            Folder::Data(_) => {
                let monitoring = self.hardware.monitoring.iter();
                let domains = monitoring.flat_map(|monitoring| &monitoring.domains);
                domains.map(|domain| (format!("mon_L3_{domain:02}"), Kind::Folder)).collect()
            }
            Folder::DataOf(..) => {
                let events = self.hardware.monitoring.iter().flat_map(|monitoring| &monitoring.events);
                events.map(|event| (event.name().to_owned(), Kind::ReadOnly)).collect()
            }
            Folder::Info => {
                let mut folders: Vec<_> =
                    self.lines().into_iter().map(|(line, _)| (line, Kind::Folder)).collect();
                folders.extend(self.hardware.monitoring.iter().map(|_| ("L3_MON".to_owned(), Kind::Folder)));
                folders.push(("last_cmd_status".to_owned(), Kind::ReadOnly));
                folders
            }
            Folder::InfoOf(resource) => match self.line(&resource) {
                Some(Line::Cache(_)) => CACHE_FILES.map(named(Kind::ReadOnly)).to_vec(),
                Some(Line::Bandwidth(_)) => BANDWIDTH_FILES.map(named(Kind::ReadOnly)).to_vec(),
                None => {
                    let mut files = ["num_rmids", "mon_features"].map(named(Kind::ReadOnly)).to_vec();
                    files.push(named(Kind::Writable)("max_threshold_occupancy"));
                    files
                }
            },
        })
    }

    /// Control groups have limits, measured groups counters; both have tasks and processors.
    fn list_group(&self, place: &Place) -> Vec<(String, Kind)> {
        let mut list: Vec<_> =
            ["tasks", "cpus", "cpus_list"].map(|name| (name.to_owned(), Kind::Writable)).to_vec();
        if place.monitor.is_none() && self.hardware.closids() > 0 {
            list.extend(["schemata", "mode"].map(|name| (name.to_owned(), Kind::Writable)));
            list.push(("size".to_owned(), Kind::ReadOnly));
        }
        if self.hardware.monitoring.is_some() {
            list.push(("mon_data".to_owned(), Kind::Folder));
            list.extend(place.monitor.is_none().then(|| ("mon_groups".to_owned(), Kind::Folder)));
        }
        if *place == Place::default() {
            list.push(("info".to_owned(), Kind::Folder));
            let groups = self.groups.keys().filter(|name| *name != ROOT);
            list.extend(groups.map(|name| (name.clone(), Kind::Folder)));
        }
        list
    }

    /// The folder at a path.
    pub(super) fn folder(&self, path: &[&str]) -> Option<Folder> {
        if let ["info", rest @ ..] = path {
            return match rest {
                [] => Some(Folder::Info),
                ["L3_MON"] if self.hardware.monitoring.is_some() => Some(Folder::InfoOf("L3_MON".to_owned())),
                [line] => self.line(line).map(|_| Folder::InfoOf((*line).to_owned())),
                _ => None,
            };
        }
        let (control, rest) = match path {
            [name, rest @ ..] if *name != ROOT && self.groups.contains_key(*name) => (*name, rest),
            _ => (ROOT, path),
        };
        let measured = self.hardware.monitoring.as_ref();
        let (monitor, rest) = match rest {
            ["mon_groups"] if measured.is_some() => return Some(Folder::Monitors(control.to_owned())),
            ["mon_groups", name, rest @ ..] => (Some((*name).to_owned()), rest),
            _ => (None, rest),
        };
        let place = Place { control: control.to_owned(), monitor };
        self.monitored(&place)?;
        match rest {
            [] => Some(Folder::Group(place)),
            ["mon_data"] if measured.is_some() => Some(Folder::Data(place)),
            ["mon_data", domain] => {
                let id = domain.strip_prefix("mon_L3_")?.parse().ok()?;
                let exact = measured?.domains.contains(&id) && format!("mon_L3_{id:02}") == *domain;
                exact.then_some(Folder::DataOf(place, id))
            }
            _ => None,
        }
    }

    /// What is at a path.
    #[must_use]
    pub fn kind(&self, path: &[&str]) -> Option<Kind> {
        if self.folder(path).is_some() {
            return Some(Kind::Folder);
        }
        let (name, parent) = path.split_last()?;
        self.list(parent).ok()?.into_iter().find(|(entry, _)| entry == name).map(|(_, kind)| kind)
    }

    /// What reading a file shows.
    ///
    /// # Errors
    /// ENOENT when there is no such file.
    pub fn read(&self, path: &[&str]) -> Result<String, Errno> {
        let (name, parent) = path.split_last().ok_or(Errno::EISDIR)?;
        if !matches!(self.kind(path), Some(Kind::ReadOnly | Kind::Writable)) {
            return Err(Errno::ENOENT);
        }
        match self.folder(parent).ok_or(Errno::ENOENT)? {
            Folder::Group(place) => self.read_of_group(&place, name),
            Folder::DataOf(place, domain) => {
                let event = Event::named(name).ok_or(Errno::ENOENT)?;
                Ok(show_counter(self.counter(&place, domain, event)))
            }
            Folder::InfoOf(resource) => self.read_info(&resource, name),
            Folder::Info if self.status.is_empty() => Ok("ok\n".to_owned()),
            Folder::Info => Ok(format!("{}\n", self.status)),
            Folder::Data(_) | Folder::Monitors(_) => Err(Errno::ENOENT),
        }
    }

    fn read_of_group(&self, place: &Place, name: &str) -> Result<String, Errno> {
        let group = self.groups.get(&place.control).ok_or(Errno::ENOENT)?;
        let cpus = &self.monitored(place).ok_or(Errno::ENOENT)?.cpus;
        Ok(match name {
            "tasks" => {
                // A control group shows the tasks of its monitoring groups as well.
                let inside = |other: &Place| {
                    other.control == place.control
                        && (place.monitor.is_none() || other.monitor == place.monitor)
                };
                self.tasks.inside(inside).map(|task| format!("{task}\n")).collect()
            }
            "cpus" => show_mask(cpus, self.hardware.cpus) + "\n",
            "cpus_list" => show_list(cpus) + "\n",
            "schemata" => self.show_schemata(group),
            "size" => self.show_size(group),
            "mode" => show_mode(group),
            _ => return Err(Errno::ENOENT),
        })
    }

    fn read_info(&self, resource: &str, name: &str) -> Result<String, Errno> {
        match self.line(resource) {
            Some(Line::Cache(cache)) => Ok(self.read_cache(resource, cache, name)),
            Some(Line::Bandwidth(bandwidth)) => Ok(format!(
                "{}\n",
                match name {
                    "num_closids" => u64::from(bandwidth.closids),
                    "min_bandwidth" => bandwidth.minimum,
                    "bandwidth_gran" => bandwidth.step,
                    _ => u64::from(bandwidth.linear),
                }
            )),
            None => {
                let monitoring = self.hardware.monitoring.as_ref().ok_or(Errno::ENOENT)?;
                Ok(match name {
                    "num_rmids" => format!("{}\n", monitoring.rmids),
                    "max_threshold_occupancy" => format!("{}\n", self.threshold),
                    _ => monitoring.events.iter().map(|event| format!("{}\n", event.name())).collect(),
                })
            }
        }
    }

    fn read_cache(&self, line: &str, cache: &Cache, name: &str) -> String {
        match name {
            "num_closids" => format!("{}\n", cache.groups()),
            "cbm_mask" => format!("{:x}\n", cache.mask()),
            "min_cbm_bits" => format!("{}\n", cache.fewest),
            "shareable_bits" => format!("{:x}\n", cache.shareable),
            "bit_usage" => self.show_bit_usage(line, cache),
            _ => format!("{}\n", u32::from(cache.sparse)),
        }
    }

    /// A control group counts what its monitoring groups count as well. What one of them lacks, the sum lacks.
    fn counter(&self, place: &Place, domain: u32, event: Event) -> Counter {
        let group = self.groups.get(&place.control);
        let parts = group.into_iter().flat_map(|group| match &place.monitor {
            Some(name) => group.monitors.get(name).into_iter().collect::<Vec<_>>(),
            None => group.monitors.values().chain([&group.own]).collect(),
        });
        let counters =
            parts.map(|part| part.counters.get(&(domain, event)).copied().unwrap_or(Counter::Value(0)));
        counters.fold(Counter::Value(0), |sum, counter| match (sum, counter) {
            (Counter::Value(sum), Counter::Value(value)) => Counter::Value(sum.wrapping_add(value)),
            (Counter::Value(_), absent) => absent,
            (absent, _) => absent,
        })
    }

    /// What writing a file does. `writer` is who writes, `now` the moment in ticks since boot.
    ///
    /// # Errors
    /// As the kernel: EINVAL for what is no valid value, ESRCH for a task that is not there, E2BIG for more than a page.
    pub fn write(&mut self, path: &[&str], bytes: &[u8], writer: u32, now: u64) -> Result<(), Errno> {
        self.count_change()?;
        let (name, parent) = path.split_last().ok_or(Errno::EISDIR)?;
        if self.kind(path) != Some(Kind::Writable) {
            return Err(Errno::ENOENT);
        }
        if bytes.len() > 4096 {
            return Err(Errno::E2BIG);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
        let place = match self.folder(parent) {
            Some(Folder::Group(place)) => place,
            _ => return self.write_threshold(text),
        };
        match *name {
            // These two want a newline at the end, and without it not even the status is touched.
            "schemata" | "mode" if !text.ends_with('\n') => Err(Errno::EINVAL),
            "schemata" => self.command(|machine| machine.write_schemata(&place.control, text)),
            "mode" => self.command(|machine| machine.write_mode(&place.control, text)),
            "cpus" => self.command(|machine| machine.write_cpus(&place, parse_mask(text))),
            "cpus_list" => self.command(|machine| machine.write_cpus(&place, parse_list(text))),
            _ => self.command(|machine| machine.write_tasks(&place, text, writer, now)),
        }
    }

    fn write_threshold(&mut self, text: &str) -> Result<(), Errno> {
        let bytes: u32 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
        self.threshold = u64::from(bytes);
        Ok(())
    }
}

fn show_mode(group: &Group) -> String {
    match group.mode {
        Mode::Shareable => "shareable\n".to_owned(),
        Mode::Exclusive => "exclusive\n".to_owned(),
    }
}

fn show_counter(counter: Counter) -> String {
    match counter {
        Counter::Value(value) => format!("{value}\n"),
        Counter::Unavailable => "Unavailable\n".to_owned(),
        Counter::Error => "Error\n".to_owned(),
        Counter::Unassigned => "Unassigned\n".to_owned(),
    }
}
