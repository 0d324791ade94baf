//! What processors offer: the flavours that the emulator plays.
//!
//! Must not know groups. Section "Info directory".

/// A cache that can be divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// 2 or 3.
    pub level: u32,
    /// Ids of its instances: not always contiguous (section "Cache IDs").
    pub domains: Vec<u32>,
    /// How many ways an instance has.
    pub bits: u32,
    /// The fewest ways of a group.
    pub fewest: u32,
    /// Ways that devices use as well.
    pub shareable: u64,
    /// Whether masks may have gaps.
    pub sparse: bool,
    /// Bytes of an instance.
    pub bytes: u64,
    /// Classes of service, before CDP halves them.
    pub closids: u32,
    /// Mounted with `cdp` or `cdpl2`: code and data apart.
    pub divided: bool,
}

/// A memory bandwidth that can be limited: `MB` or `SMBA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// The name of its line.
    pub name: &'static str,
    /// Ids of the L3 instances.
    pub domains: Vec<u32>,
    /// The smallest value.
    pub minimum: u64,
    /// The largest value, which a new group has.
    pub most: u64,
    /// Values are rounded up to a multiple of it.
    pub step: u64,
    /// Whether the scale is linear: percent. AMD's is not: eighths of a GB/s.
    pub linear: bool,
    /// Classes of service.
    pub closids: u32,
    /// Mounted with `mba_MBps`: any number of MiB/s.
    pub software: bool,
}

/// Something that is counted for each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// Bytes of cache occupied.
    Occupancy,
    /// Bytes moved to and from memory.
    Total,
    /// Those of them that stayed on the node.
    Local,
}

impl Event {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Occupancy, Self::Total, Self::Local];

    /// The name of its file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Occupancy => "llc_occupancy",
            Self::Total => "mbm_total_bytes",
            Self::Local => "mbm_local_bytes",
        }
    }

    /// The event of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// What can be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitoring {
    /// Ids of the L3 instances.
    pub domains: Vec<u32>,
    /// How many groups, control and monitoring, can be measured.
    pub rmids: u32,
    /// What is counted.
    pub events: Vec<Event>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// L2 before L3.
    pub caches: Vec<Cache>,
    /// `SMBA` before `MB`.
    pub bandwidths: Vec<Bandwidth>,
    /// Absent where nothing is measured.
    pub monitoring: Option<Monitoring>,
    /// How many processors are online.
    pub cpus: u32,
    /// Whether values are padded to one width, as kernels before 6.11 do.
    pub padded: bool,
}

/// The names of all flavours.
pub const FLAVOURS: [&str; 9] = [
    "intel",
    "intel-cdp",
    "intel-mbps",
    "intel-l2",
    "intel-both",
    "intel-cdpl2",
    "haswell",
    "amd",
    "amd-cdp",
];

impl Hardware {
    /// The machine of this name, one of [`FLAVOURS`].
    #[must_use]
    pub fn flavour(name: &str) -> Option<Self> {
        match name {
            "intel" => Some(intel()),
            "intel-cdp" => Some(divided(intel())),
            "intel-mbps" => {
                let mut hardware = intel();
                hardware.bandwidths.iter_mut().for_each(|bandwidth| bandwidth.software = true);
                Some(hardware)
            }
            "intel-l2" => Some(intel_l2()),
            "intel-both" => Some(intel_both()),
            "intel-cdpl2" => {
                let mut hardware = intel_both();
                hardware.caches.iter_mut().for_each(|cache| cache.divided = cache.level == 2);
                Some(hardware)
            }
            "haswell" => Some(haswell()),
            "amd" => Some(amd()),
            "amd-cdp" => Some(divided(amd())),
            _ => None,
        }
    }

    /// The options that its mount would show.
    #[must_use]
    pub fn options(&self) -> String {
        let mut options = "rw,relatime".to_owned();
        for cache in self.caches.iter().filter(|cache| cache.divided) {
            options += if cache.level == 3 { ",cdp" } else { ",cdpl2" };
        }
        if self.bandwidths.iter().any(|bandwidth| bandwidth.software) {
            options += ",mba_MBps";
        }
        options
    }

    /// How many groups there can be, the root's among them: the smallest number counts, and CDP halves it.
    #[must_use]
    pub fn closids(&self) -> u32 {
        let caches = self.caches.iter().map(Cache::groups);
        caches.chain(self.bandwidths.iter().map(|bandwidth| bandwidth.closids)).min().unwrap_or(0)
    }
}

impl Cache {
    /// All ways.
    #[must_use]
    pub fn mask(&self) -> u64 {
        (1 << self.bits) - 1
    }

    /// Classes of service as the folder `info` shows them.
    #[must_use]
    pub fn groups(&self) -> u32 {
        if self.divided { self.closids / 2 } else { self.closids }
    }

    /// The names of its lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let level = self.level;
        if self.divided {
            vec![format!("L{level}DATA"), format!("L{level}CODE")]
        } else {
            vec![format!("L{level}")]
        }
    }
}

/// Two sockets of a recent Xeon: 20 ways, two of them used by devices.
fn intel() -> Hardware {
    let domains = vec![0, 1];
    Hardware {
        caches: vec![Cache {
            level: 3,
            domains: domains.clone(),
            bits: 20,
            fewest: 1,
            shareable: 0xc_0000,
            sparse: false,
            bytes: 20 << 20,
            closids: 8,
            divided: false,
        }],
        bandwidths: vec![Bandwidth {
            name: "MB",
            domains: domains.clone(),
            minimum: 10,
            most: 100,
            step: 10,
            linear: true,
            closids: 8,
            software: false,
        }],
        monitoring: Some(Monitoring { domains, rmids: 32, events: Event::ALL.to_vec() }),
        cpus: 8,
        padded: false,
    }
}

/// A small Xeon without an L3 that can be divided.
fn intel_l2() -> Hardware {
    let mut hardware = Hardware { bandwidths: Vec::new(), monitoring: None, ..intel() };
    for cache in &mut hardware.caches {
        *cache = Cache {
            level: 2,
            domains: vec![0, 2, 4, 6],
            bits: 8,
            bytes: 2 << 20,
            closids: 4,
            shareable: 0,
            ..cache.clone()
        };
    }
    hardware
}

/// A Xeon of which the L2 can be divided too, into fewer classes than the L3.
fn intel_both() -> Hardware {
    let (l2, mut hardware) = (intel_l2().caches, intel());
    hardware.caches.splice(0..0, l2.into_iter().map(|cache| Cache { closids: 8, ..cache }));
    hardware.caches.iter_mut().filter(|cache| cache.level == 3).for_each(|cache| cache.closids = 15);
    hardware
}

/// The first that could divide its cache: at least two ways, four classes, occupancy only.
fn haswell() -> Hardware {
    let monitoring = Monitoring { domains: vec![0], rmids: 16, events: vec![Event::Occupancy] };
    let mut hardware =
        Hardware { bandwidths: Vec::new(), monitoring: Some(monitoring), padded: true, ..intel() };
    for cache in &mut hardware.caches {
        *cache = Cache { domains: vec![0], fewest: 2, closids: 4, ..cache.clone() };
    }
    hardware
}

/// One socket of an EPYC: caches with gaps between their ids, masks with gaps and also empty ones (the kernel sets
/// `min_cbm_bits` to 0 there), bandwidth in eighths of a GB/s, slow memory.
fn amd() -> Hardware {
    let domains = vec![0, 1, 8, 9];
    let bandwidth = |name| Bandwidth {
        name,
        domains: domains.clone(),
        minimum: 0,
        most: 2048,
        step: 1,
        linear: false,
        closids: 16,
        software: false,
    };
    Hardware {
        caches: vec![Cache {
            level: 3,
            domains: domains.clone(),
            bits: 16,
            fewest: 0,
            shareable: 0,
            sparse: true,
            bytes: 32 << 20,
            closids: 16,
            divided: false,
        }],
        bandwidths: vec![bandwidth("SMBA"), bandwidth("MB")],
        monitoring: Some(Monitoring { domains, rmids: 64, events: Event::ALL.to_vec() }),
        cpus: 16,
        padded: true,
    }
}

fn divided(mut hardware: Hardware) -> Hardware {
    hardware.caches.iter_mut().for_each(|cache| cache.divided = true);
    hardware
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flavour_is_a_machine() {
        for name in FLAVOURS {
            assert!(Hardware::flavour(name).unwrap().closids() >= 4, "{name}");
        }
        assert_eq!(Hardware::flavour("vax"), None);
    }

    #[test]
    fn dividing_code_and_data_halves_the_groups() {
        let closids = |name| Hardware::flavour(name).unwrap().closids();
        assert_eq!((closids("intel"), closids("intel-cdp")), (8, 4));
        assert_eq!(Hardware::flavour("intel-cdp").unwrap().options(), "rw,relatime,cdp");
        assert_eq!(Hardware::flavour("intel-mbps").unwrap().options(), "rw,relatime,mba_MBps");
    }
}
