//! What this machine lets Ballast limit.
//!
//! Looks, and changes no limit; must not know what is lent.

mod devices;
mod leftovers;

use std::{path::PathBuf, sync::Arc};

use ballast_api::{
    Amounts, BytesPerSecond, Capability, CgroupVersion, Cores, PerResource, Resource, with_causes,
};
use ballast_kernel::{
    CgroupPath, CgroupTree, Hierarchy, KernelError, cpu,
    disk::{
        self,
        device::{self, Disk},
    },
    machine::online_cpus,
    network::{self, Host, Support},
    resctrl::{
        BandwidthInfo, CacheInfo, InForce, Info, ResctrlControl, ResctrlLimits, ResctrlMount, ResctrlNode,
        bandwidth::Unit,
    },
};
use tracing::{info, warn};

use crate::controls::{Controls, Devices, ShutResctrl};
pub(crate) use devices::busiest;

/// Where the kernel shows what there is. Other folders in tests.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Processes.
    pub proc: PathBuf,
    /// Devices.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// A machine with control groups.
#[derive(Debug, Clone)]
pub struct Machine {
    hierarchy: Hierarchy,
    roots: Roots,
    capacity: Amounts,
    cpu: Result<(), String>,
    /// Those that were there at the last look.
    disks: Result<Vec<Disk>, String>,
    network: Result<(), String>,
    host: Host,
    caches: Result<ResctrlNode, NoCaches>,
}

/// Why caches and memory bandwidth are not controlled.
#[derive(Debug, Clone)]
struct NoCaches {
    reason: String,
    /// Where they could have been: limits of an earlier env-server may be in force there.
    shut: Option<ShutResctrl>,
}

impl NoCaches {
    fn at_all(reason: String) -> Self {
        Self { reason, shut: None }
    }
}

impl Machine {
    /// Looks at the machine, and makes the kernel count the traffic of its disks.
    ///
    /// # Errors
    /// When it has no usable control groups, or does not tell its processors.
    pub fn look_at(roots: Roots) -> Result<Self, KernelError> {
        let hierarchy = Hierarchy::find_any(&roots.proc.join("self/mountinfo"))?;
        let cpus = online_cpus(&roots.sys.join("devices/system/cpu/online"))?;
        Ok(Self::new(hierarchy, roots, Cores::saturating(f64::from(cpus))).with_network())
    }

    /// A machine whose control groups and processors are known.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, roots: Roots, cores: Cores) -> Self {
        let capacity = Amounts { cpu: Some(cores), ..Amounts::default() };
        let cpu = cpu::probe(&hierarchy);
        let disks = disk::probe(&hierarchy).and_then(|()| {
            let disks = device::disks(&roots.sys.join("block")).map_err(|error| with_causes(&error))?;
            count(&hierarchy, &disks, &[]);
            Ok(disks)
        });
        let untried = || "it was not tried".to_owned();
        let (network, caches) = (Err(untried()), Err(NoCaches::at_all(untried())));
        Self { hierarchy, roots, capacity, cpu, disks, network, host: Host::default(), caches }
    }

    /// Makes the kernel count the traffic of disks that were attached since the last look.
    pub fn notice_disks(&mut self) {
        if let Ok(known) = &mut self.disks
            && let Ok(disks) = device::disks(&self.roots.sys.join("block"))
        {
            count(&self.hierarchy, &disks, known);
            *known = disks;
        }
    }

    /// Tries whether the kernel can limit networks, in a network namespace made for that.
    #[must_use]
    pub fn with_network(self) -> Self {
        let Support { egress, ingress } = network::probe(&self.roots.proc);
        Self { network: egress.and(ingress), ..self }
    }

    /// Takes over the caches and the memory bandwidth, where resctrl is mounted: what an earlier env-server left there is
    /// removed. `peak` is the most that the node's memory delivers, in bytes per second.
    #[must_use]
    pub fn with_caches(self, peak: Option<BytesPerSecond>) -> Self {
        let mount = ResctrlMount::find(&self.roots.proc.join("self/mountinfo"));
        match mount {
            Ok(mount) => self.with_resctrl(&mount, peak),
            Err(KernelError::NoResctrl { reason, .. }) => {
                Self { caches: Err(NoCaches::at_all(reason)), ..self }
            }
            Err(error) => Self { caches: Err(NoCaches::at_all(with_causes(&error))), ..self },
        }
    }

    /// The same with the resctrl that is mounted there.
    #[must_use]
    pub fn with_resctrl(self, mount: &ResctrlMount, peak: Option<BytesPerSecond>) -> Self {
        let shut = ShutResctrl::new(mount.clone(), self.roots.proc.clone());
        let node = ResctrlNode::open(mount, self.roots.proc.clone(), peak);
        let caches = node.map_err(|error| NoCaches { reason: with_causes(&error), shut: Some(shut) });
        if let Err(NoCaches { reason, .. }) = &caches {
            warn!(reason, "resctrl is mounted, and cannot be taken over");
        }
        let found = caches.as_ref().map(ResctrlNode::capacity).unwrap_or_default();
        let Amounts { llc, memory_bandwidth, .. } = found;
        let capacity = Amounts { llc, memory_bandwidth, ..self.capacity };
        Self { capacity, caches, ..self }
    }

    /// Where its control groups are.
    #[must_use]
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// What there is of each resource; absent where it is not known.
    #[must_use]
    pub fn capacity(&self) -> &Amounts {
        &self.capacity
    }

    /// What can be done with each resource: all five are there.
    #[must_use]
    pub fn capabilities(&self) -> PerResource<Capability> {
        let caches = self.caches.as_ref().map(ResctrlNode::info).map_err(|none| none.reason.clone());
        PerResource::from_fn(|resource| {
            let mechanism = match resource {
                Resource::Cpu => self.cpu_mechanism(),
                Resource::Disk => self.disk_mechanism(),
                Resource::Network => self.network_mechanism(),
                Resource::Llc => caches.clone().and_then(cache_mechanism),
                Resource::MemoryBandwidth => caches.clone().and_then(bandwidth_mechanism),
            };
            Some(match mechanism {
                Ok(mechanism) => Capability::Available { mechanism },
                Err(reason) => Capability::Unavailable { reason },
            })
        })
    }

    fn cpu_mechanism(&self) -> Result<String, String> {
        self.cpu.clone()?;
        let file = match self.hierarchy.version() {
            CgroupVersion::V2 => "cgroup v2 cpu.max",
            _ => "cgroup v1 cpu.cfs_quota_us",
        };
        Ok(file.to_owned())
    }

    fn disk_mechanism(&self) -> Result<String, String> {
        let names: Vec<_> = self.disks()?.iter().map(|disk| disk.name.as_str()).collect();
        let interface = match self.hierarchy.disk_root() {
            Some((CgroupVersion::V2, _)) => "cgroup v2 io.max",
            _ => "cgroup v1 blkio.throttle",
        };
        Ok(format!("{interface} on {}", names.join(", ")))
    }

    fn disks(&self) -> Result<&[Disk], String> {
        let disks = self.disks.as_ref()?;
        if disks.is_empty() { Err("this machine has no disk".to_owned()) } else { Ok(disks) }
    }

    fn network_mechanism(&self) -> Result<String, String> {
        self.network.clone()?;
        Ok("HTB on the host side of the container's veth, egress by way of an ifb".to_owned())
    }

    /// What can be limited of the container at `path`, at these devices.
    #[must_use]
    pub fn controls(&self, path: &CgroupPath, devices: &Devices) -> Controls {
        Controls::new(&self.hierarchy, &self.host, path, devices, self.caches_of(path))
    }

    fn caches_of(&self, path: &CgroupPath) -> Result<ResctrlControl, Option<ShutResctrl>> {
        let node = self.caches.as_ref().map_err(|none| none.shut.clone())?;
        let identity = self.hierarchy.identity(path);
        let (hierarchy, of) = (self.hierarchy.clone(), path.clone());
        let pids = move || {
            // The processes of who comes after it at the same path are not its own.
            if hierarchy.identity(&of) != identity {
                return Ok(Vec::new());
            }
            let group = CgroupTree::new(hierarchy.clone()).find(of.as_str())?;
            group.map_or(Ok(Vec::new()), |group| group.pids())
        };
        Ok(node.container(path.clone(), identity, Arc::new(pids)))
    }

    /// Limits caches and memory bandwidth of several containers in one arrangement, all or none. Answers what is in force,
    /// in the order of the orders.
    ///
    /// # Errors
    /// The kernel's; then nothing is changed.
    pub fn order_caches(
        &self,
        orders: &[(&ResctrlControl, ResctrlLimits)],
    ) -> Result<Vec<InForce>, KernelError> {
        match &self.caches {
            Ok(node) if !orders.is_empty() => node.set_limits(orders),
            _ => Ok(Vec::new()),
        }
    }
}

fn cache_mechanism(info: Info) -> Result<String, String> {
    let groups = info.groups();
    let CacheInfo { lines, mask, fewest, left_whole, .. } = info.cache.map_err(|absent| absent.0)?;
    let (ways, name, fewest) = (mask.count_ones(), lines.join(" and "), fewest.max(1));
    let others = left_whole.map(|level| format!("; the {level} is left whole")).unwrap_or_default();
    Ok(format!("resctrl {name}: {ways} ways, at least {fewest} for a container; {groups} groups{others}"))
}

fn bandwidth_mechanism(info: Info) -> Result<String, String> {
    let groups = info.groups();
    let BandwidthInfo { unit, minimum, step, .. } = info.bandwidth.map_err(|absent| absent.0)?;
    let unit = match unit {
        Unit::Percent => "percent",
        Unit::EighthsOfGigabyte => "eighths of a GB/s",
        Unit::Mebibytes => "MiB/s",
    };
    Ok(format!("resctrl MB in {unit}: at least {minimum}, in steps of {step}; {groups} groups"))
}

/// Makes the kernel count the traffic of those disks that are not among the known ones.
fn count(hierarchy: &Hierarchy, disks: &[Disk], known: &[Disk]) {
    for disk in disks.iter().filter(|disk| !known.contains(disk)) {
        info!(disk = disk.name, number = %disk.number, "disk found");
        if let Err(error) = disk::start_counting(hierarchy, disk.number) {
            warn!(disk = disk.name, error = with_causes(&error), "disk traffic is not counted");
        }
    }
}

#[cfg(test)]
mod tests;
