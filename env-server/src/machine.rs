//! What this machine lets Ballast limit, and which of its devices a container uses.
//!
//! Looks, and changes no limit; must not know what is lent.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use ballast_api::{
    Amounts, BytesPerSecond, Capability, CgroupVersion, Cores, PerResource, Resource, with_causes,
};
use ballast_kernel::{
    CgroupPath, CgroupTree, DeviceNumber, DiskControl, DiskCounters, Hierarchy, Interface, KernelError,
    disk::{
        self,
        device::{self, Disk},
    },
    machine::online_cpus,
    network::{self, Host, Presence, Support},
    resctrl::{
        BandwidthInfo, CacheInfo, InForce, Info, ResctrlControl, ResctrlLimits, ResctrlMount, ResctrlNode,
        bandwidth::Unit,
    },
};
use tracing::{info, warn};

use crate::controls::{Controls, Devices, of_both_caches};

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
    disks: Result<Vec<Disk>, String>,
    network: Result<(), String>,
    host: Host,
    caches: Result<ResctrlNode, String>,
}

impl Machine {
    /// Looks at the machine, and makes the kernel count the traffic of its disks.
    ///
    /// # Errors
    /// When it has no usable control groups, or does not tell its processors.
    pub fn look_at(roots: Roots) -> Result<Self, KernelError> {
        let hierarchy = Hierarchy::find(&roots.proc.join("self/mountinfo"))?;
        let cpus = online_cpus(&roots.sys.join("devices/system/cpu/online"))?;
        Ok(Self::new(hierarchy, roots, Cores::saturating(f64::from(cpus))).with_network())
    }

    /// A machine whose control groups and processors are known.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, roots: Roots, cores: Cores) -> Self {
        let capacity = Amounts { cpu: Some(cores), ..Amounts::default() };
        let disks = usable_disks(&hierarchy, &roots);
        let untried = || "it was not tried".to_owned();
        let (network, caches) = (Err(untried()), Err(untried()));
        Self { hierarchy, roots, capacity, disks, network, host: Host::default(), caches }
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
            Err(KernelError::NoResctrl { reason, .. }) => Self { caches: Err(reason), ..self },
            Err(error) => Self { caches: Err(with_causes(&error)), ..self },
        }
    }

    /// The same with the resctrl that is mounted there.
    #[must_use]
    pub fn with_resctrl(self, mount: &ResctrlMount, peak: Option<BytesPerSecond>) -> Self {
        let node = ResctrlNode::open(mount, self.roots.proc.clone(), peak);
        let caches = node.map_err(|error| with_causes(&error));
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
        let caches = self.caches.as_ref().map(ResctrlNode::info).map_err(Clone::clone);
        PerResource::from_fn(|resource| {
            let mechanism = match resource {
                Resource::Cpu => Ok(self.cpu_mechanism().to_owned()),
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

    fn cpu_mechanism(&self) -> &'static str {
        match self.hierarchy.version() {
            CgroupVersion::V2 => "cgroup v2 cpu.max",
            _ => "cgroup v1 cpu.cfs_quota_us",
        }
    }

    fn disk_mechanism(&self) -> Result<String, String> {
        let names: Vec<_> = self.disks.as_ref()?.iter().map(|disk| disk.name.as_str()).collect();
        let interface = match self.hierarchy.disk_root() {
            Some((CgroupVersion::V2, _)) => "cgroup v2 io.max",
            _ => "cgroup v1 blkio.throttle",
        };
        Ok(format!("{interface} on {}", names.join(", ")))
    }

    fn network_mechanism(&self) -> Result<String, String> {
        self.network.clone()?;
        Ok("HTB on the host side of the container's veth, egress by way of an ifb".to_owned())
    }

    /// Removes what limits of containers that are gone have left. Not while a limit is being written.
    pub fn sweep(&self) {
        if self.network.is_err() {
            return;
        }
        match network::sweep() {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => info!(interfaces = removed.join(", "), "left over, removed"),
            Err(error) => warn!(error = with_causes(&error), "leftovers of network limits stay"),
        }
    }

    /// Joins those who limit networks on this host, for as long as the answer is kept. Who is alone first removes what nobody
    /// knows of any more: every limit of Ballast but those on the interfaces in `lent`.
    #[must_use]
    pub fn join_network(&self, lent: &[Interface]) -> Option<Presence> {
        if self.network.is_err() {
            return None;
        }
        match Presence::begin(&self.roots.proc, || network::sweep_limits(lent)) {
            Ok((presence, swept)) => {
                match swept {
                    None => {
                        info!("another env-server limits networks here: what no journal knows of is left")
                    }
                    Some(Ok(freed)) if freed.is_empty() => {}
                    Some(Ok(freed)) => {
                        warn!(interfaces = freed.join(", "), "limits that no journal knows of, removed")
                    }
                    Some(Err(error)) => {
                        warn!(error = with_causes(&error), "limits that no journal knows of stay")
                    }
                }
                Some(presence)
            }
            Err(error) => {
                warn!(error = with_causes(&error), "limits that no journal knows of stay");
                None
            }
        }
    }

    /// What can be limited of the container at `path`, at these devices.
    #[must_use]
    pub fn controls(&self, path: &CgroupPath, devices: &Devices) -> Controls {
        Controls::new(&self.hierarchy, &self.host, path, devices, self.caches_of(path))
    }

    fn caches_of(&self, path: &CgroupPath) -> Option<ResctrlControl> {
        let (tree, of) = (CgroupTree::new(self.hierarchy.clone()), path.clone());
        let pids = move || tree.find(of.as_str())?.map_or(Ok(Vec::new()), |group| group.pids());
        Some(self.caches.as_ref().ok()?.container(path.clone(), Arc::new(pids)))
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

    /// The devices that the container at `path` uses, and for each resource that cannot be limited the reason.
    #[must_use]
    pub fn devices_of(&self, path: &CgroupPath) -> (Devices, PerResource<String>) {
        let mut missing = PerResource::default();
        let pid = self.first_process(path);
        let disk = self.disk_of(path, &pid).map_err(|reason| missing.disk = Some(reason)).ok();
        let network = self.network_of(&pid).map_err(|reason| missing.network = Some(reason)).ok();
        if let Some(Err(error)) = self.caches_of(path).map(|control| control.refuse_foreign()) {
            missing = of_both_caches(&with_causes(&error)).or(missing);
        }
        (Devices { disk, network }, missing)
    }

    /// Any one process of the container: it shows where all of them have their files and their network.
    fn first_process(&self, path: &CgroupPath) -> Result<u32, String> {
        let group = CgroupTree::new(self.hierarchy.clone()).find(path.as_str());
        let pids = group.ok().flatten().map(|group| group.pids()).transpose();
        let pids = pids.map_err(|error| with_causes(&error))?.unwrap_or_default();
        pids.first().copied().ok_or_else(|| "it has no process yet, which would show its devices".to_owned())
    }

    fn network_of(&self, pid: &Result<u32, String>) -> Result<Interface, String> {
        self.network.clone()?;
        Interface::of_process(&self.roots.proc, pid.clone()?).map_err(|error| match error {
            KernelError::NoInterface { reason, .. } => reason.to_string(),
            error => with_causes(&error),
        })
    }

    /// The disk that the container used most so far; before it used one, that of its root folder.
    fn disk_of(&self, path: &CgroupPath, pid: &Result<u32, String>) -> Result<DeviceNumber, String> {
        self.disks.as_ref()?;
        let device = match self.busiest_disk(path) {
            Some(busiest) => busiest,
            None => self.disk_of_root(pid.clone()?)?,
        };
        // The parent may keep the controller to itself.
        let control = DiskControl::new(&self.hierarchy, path, device);
        let readable = control.ok_or("no cgroup hierarchy has the block controller")?.limits();
        readable.map(|_| device).map_err(|error| with_causes(&error))
    }

    fn busiest_disk(&self, path: &CgroupPath) -> Option<DeviceNumber> {
        busiest(&disk::counters(&self.hierarchy, path).ok()?)
    }

    fn disk_of_root(&self, pid: u32) -> Result<DeviceNumber, String> {
        let sys_dev_block = self.roots.sys.join("dev/block");
        device::disk_of_root(&device::Roots { proc: &self.roots.proc, sys_dev_block: &sys_dev_block }, pid)
    }
}

fn cache_mechanism(info: Info) -> Result<String, String> {
    let groups = info.groups();
    let CacheInfo { lines, mask, fewest, .. } = info.cache.map_err(|absent| absent.0)?;
    let (ways, name) = (mask.count_ones(), lines.join(" and "));
    Ok(format!("resctrl {name}: {ways} ways, at least {fewest} for a container; {groups} groups"))
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

/// The disk with the most traffic, if there was any.
pub(crate) fn busiest(counters: &BTreeMap<DeviceNumber, DiskCounters>) -> Option<DeviceNumber> {
    let moved = |counters: &DiskCounters| counters.bytes.read.saturating_add(counters.bytes.write);
    let used = counters.iter().filter(|(_, counters)| moved(counters) > 0);
    used.max_by_key(|(_, counters)| moved(counters)).map(|(device, _)| *device)
}

fn usable_disks(hierarchy: &Hierarchy, roots: &Roots) -> Result<Vec<Disk>, String> {
    if hierarchy.disk_root().is_none() {
        return Err("no cgroup hierarchy with the block controller (blkio or io) is mounted".to_owned());
    }
    let disks = device::disks(&roots.sys.join("block")).map_err(|error| with_causes(&error))?;
    for disk in &disks {
        if let Err(error) = disk::start_counting(hierarchy, disk.number) {
            warn!(disk = disk.name, error = with_causes(&error), "disk traffic is not counted");
        }
    }
    if disks.is_empty() { Err("this machine has no disk".to_owned()) } else { Ok(disks) }
}
