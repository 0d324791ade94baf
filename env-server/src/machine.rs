//! What this machine lets Ballast limit, and which of its devices a container uses.
//!
//! Looks, and changes no limit; must not know what is lent.

use std::{collections::BTreeMap, path::PathBuf};

use ballast_api::{Amounts, Capability, CgroupVersion, Cores, PerResource, Resource, with_causes};
use ballast_kernel::{
    CgroupPath, CgroupTree, DeviceNumber, DiskControl, DiskCounters, Hierarchy, KernelError,
    disk::{
        self,
        device::{self, Disk},
    },
    machine::online_cpus,
};
use tracing::warn;

use crate::controls::{Controls, Devices};

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
}

impl Machine {
    /// Looks at the machine, and makes the kernel count the traffic of its disks.
    ///
    /// # Errors
    /// When it has no usable control groups, or does not tell its processors.
    pub fn look_at(roots: Roots) -> Result<Self, KernelError> {
        let hierarchy = Hierarchy::find(&roots.proc.join("self/mountinfo"))?;
        let cpus = online_cpus(&roots.sys.join("devices/system/cpu/online"))?;
        Ok(Self::new(hierarchy, roots, Cores::saturating(f64::from(cpus))))
    }

    /// A machine whose control groups and processors are known.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, roots: Roots, cores: Cores) -> Self {
        let capacity = Amounts { cpu: Some(cores), ..Amounts::default() };
        let disks = usable_disks(&hierarchy, &roots);
        Self { hierarchy, roots, capacity, disks }
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
        PerResource::from_fn(|resource| {
            let mechanism = match resource {
                Resource::Cpu => Ok(self.cpu_mechanism().to_owned()),
                Resource::Disk => self.disk_mechanism(),
                other => Err(format!("this env-server does not control the {other}")),
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

    /// What can be limited of the container at `path`, at these devices.
    #[must_use]
    pub fn controls(&self, path: &CgroupPath, devices: &Devices) -> Controls {
        Controls::new(&self.hierarchy, path, devices)
    }

    /// The devices that the container at `path` uses, and for each resource that cannot be limited the reason.
    #[must_use]
    pub fn devices_of(&self, path: &CgroupPath) -> (Devices, PerResource<String>) {
        let mut missing = PerResource::default();
        let disk = self.disk_of(path).map_err(|reason| missing.disk = Some(reason)).ok();
        (Devices { disk }, missing)
    }

    /// The disk that the container used most so far; before it used one, that of its root folder.
    fn disk_of(&self, path: &CgroupPath) -> Result<DeviceNumber, String> {
        self.disks.as_ref()?;
        let device = match self.busiest_disk(path) {
            Some(busiest) => busiest,
            None => self.disk_of_root(path)?,
        };
        // The parent may keep the controller to itself.
        let control = DiskControl::new(&self.hierarchy, path, device);
        let readable = control.ok_or("no cgroup hierarchy has the block controller")?.limits();
        readable.map(|_| device).map_err(|error| with_causes(&error))
    }

    fn busiest_disk(&self, path: &CgroupPath) -> Option<DeviceNumber> {
        busiest(&disk::counters(&self.hierarchy, path).ok()?)
    }

    fn disk_of_root(&self, path: &CgroupPath) -> Result<DeviceNumber, String> {
        let group = CgroupTree::new(self.hierarchy.clone()).find(path.as_str());
        let pids = group.ok().flatten().map(|group| group.pids()).transpose();
        let pids = pids.map_err(|error| with_causes(&error))?.unwrap_or_default();
        let pid = pids.first().ok_or("it has no process yet, whose files would tell its disk")?;
        let sys_dev_block = self.roots.sys.join("dev/block");
        device::disk_of_root(&device::Roots { proc: &self.roots.proc, sys_dev_block: &sys_dev_block }, *pid)
    }
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
