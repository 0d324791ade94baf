//! What stops an injection before its time: a machine short of memory, or overloaded, or a service that got too slow.
//!
//! Looks and tells; must not know what is stopped.

mod probe;

use std::{fs, path::Path, sync::mpsc::Sender, thread, time::Duration};

use clap::Args;

use crate::{clocks, error::InjectorError, process::sources::Event, unit::Unit};
use probe::Probe;

/// How often the machine is looked at: memory may run out within a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the service is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// When to stop early.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Guards (each ends the injection at once, with exit code 10)")]
pub struct Guards {
    /// Stop when less memory than this is available; 0B for never
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = bytes)]
    min_memory: f64,
    /// Stop when the load average of the last minute is above this
    #[arg(long, value_name = "LOAD", value_parser = load)]
    max_load: Option<f64>,
    /// Ask this URL twice a second, and stop when it fails or is slower than --probe-within, --probe-misses times in a row
    #[arg(long, value_name = "URL", value_parser = probe::url, requires = "probe_within")]
    probe: Option<String>,
    /// The time in which the probe must be answered, with a status below 400: 200ms
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "probe")]
    probe_within: Option<Duration>,
    /// So many misses in a row are too many
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=1000))]
    probe_misses: u32,
}

fn bytes(text: &str) -> Result<f64, String> {
    let bytes = Unit::Bytes.parse(text).filter(|bytes| *bytes >= 0.0);
    bytes.ok_or_else(|| format!("write {}", Unit::Bytes.example()))
}

fn load(text: &str) -> Result<f64, String> {
    let load = text.parse().ok().filter(|load: &f64| load.is_finite() && *load > 0.0);
    load.ok_or_else(|| "write a number above 0 such as 16".to_owned())
}

impl Guards {
    /// As on the command line.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--min-memory={}B", self.min_memory)];
        arguments.extend(self.max_load.map(|load| format!("--max-load={load}")));
        if let (Some(url), Some(within)) = (&self.probe, self.probe_within) {
            let within = humantime::format_duration(within);
            arguments.push(format!("--probe={url}"));
            arguments.push(format!("--probe-within={within}"));
            arguments.push(format!("--probe-misses={}", self.probe_misses));
        }
        arguments
    }

    /// Refuses where one has tripped already; a service that does not answer now, once, is not well.
    ///
    /// # Errors
    /// [`InjectorError::Impossible`] with the reason.
    pub fn check(&self) -> Result<(), InjectorError> {
        match self.tripped().or_else(|| self.probe(1)?.ask()) {
            Some(reason) => Err(InjectorError::Impossible { what: "begin under this guard", reason }),
            None => Ok(()),
        }
    }

    /// Looks from now on, and tells the first that trips.
    pub(crate) fn watch(&self, events: &Sender<Event>) {
        if let Some(mut probe) = self.probe(self.probe_misses) {
            let events = events.clone();
            thread::spawn(move || every(ASK_EVERY, &events, || probe.ask()));
        }
        let (guards, events) = (self.clone(), events.clone());
        thread::spawn(move || every(LOOK_EVERY, &events, || guards.tripped()));
    }

    fn probe(&self, most_misses: u32) -> Option<Probe> {
        Some(Probe::new(self.probe.clone()?, self.probe_within?, most_misses))
    }

    /// Why to stop, as the machine is now.
    fn tripped(&self) -> Option<String> {
        let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
        self.short_of_memory(&read("/proc/meminfo")).or_else(|| self.overloaded(&read("/proc/loadavg")))
    }

    fn short_of_memory(&self, meminfo: &str) -> Option<String> {
        let available = available_bytes(meminfo)?;
        let show = |bytes| Unit::Bytes.show(bytes);
        (available < self.min_memory).then(|| {
            format!("{} of memory are available, fewer than {}", show(available), show(self.min_memory))
        })
    }

    fn overloaded(&self, loadavg: &str) -> Option<String> {
        let most = self.max_load?;
        let load: f64 = loadavg.split_ascii_whitespace().next()?.parse().ok()?;
        (load > most).then(|| format!("the load average is {load}, above {most}"))
    }
}

/// Asks again and again until there is an answer, and tells it. Ends with the process.
fn every(pause: Duration, events: &Sender<Event>, mut ask: impl FnMut() -> Option<String>) {
    loop {
        if let Some(reason) = ask() {
            let _ = events.send(Event::Guard(reason));
            return;
        }
        clocks::sleep_until(clocks::monotonic() + pause);
    }
}

/// `MemAvailable` of proc_meminfo(5): what can be had without swapping.
fn available_bytes(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guards(min_memory: f64, max_load: Option<f64>) -> Guards {
        Guards { min_memory, max_load, probe: None, probe_within: None, probe_misses: 1 }
    }

    #[test]
    fn memory_below_the_floor_trips() {
        let meminfo = "MemTotal:  2000 kB\nMemFree:  1 kB\nMemAvailable:     1000 kB\n";
        let reason = guards(2e6, None).short_of_memory(meminfo).unwrap();
        assert!(reason.contains("1000.000 KiB of memory are available, fewer than 1.907 MiB"), "{reason}");
        assert_eq!(guards(1e6, None).short_of_memory(meminfo), None);
        assert_eq!(guards(1e6, None).short_of_memory("MemAvailable: much\n"), None);
    }

    #[test]
    fn load_above_the_bound_trips() {
        let loadavg = "3.51 1.33 1.40 1/76 30643\n";
        assert!(guards(0.0, Some(3.5)).overloaded(loadavg).unwrap().contains("3.51, above 3.5"));
        assert_eq!(guards(0.0, Some(3.6)).overloaded(loadavg), None);
        assert_eq!(guards(0.0, None).overloaded(loadavg), None);
    }

    #[test]
    fn the_machine_of_this_test_has_memory() {
        assert!(guards(1.0, None).check().is_ok());
        assert!(guards(f64::MAX, None).check().unwrap_err().to_string().contains("under this guard"));
    }

    #[test]
    fn a_service_that_is_down_already_is_not_injected_on() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let probe = Some(format!("http://{nobody}/"));
        let probe_within = Some(Duration::from_secs(1));
        let guards = Guards { probe, probe_within, probe_misses: 100, ..guards(0.0, None) };
        let refused = guards.check().unwrap_err().to_string();
        assert!(refused.contains("under this guard") && refused.contains("missed 1s"), "{refused}");
    }
}
