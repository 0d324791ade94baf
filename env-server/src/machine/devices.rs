//! Which of the machine's devices a container uses.
//!
//! Asks a few of its processes; must not know what is limited on a device.

use std::collections::BTreeMap;

use ballast_api::{PerResource, with_causes};
use ballast_kernel::{
    CgroupPath, CgroupTree, DeviceNumber, DiskControl, DiskCounters, DiskTraffic, Interface, KernelError,
    Representatives, disk::device,
};

use super::Machine;
use crate::controls::{Devices, of_both_caches, why_not};

/// How many processes of a container are asked, one after the other, while they end.
const ASKED: usize = 4;

impl Machine {
    /// The devices that the container at `path` uses, and for each resource that cannot be limited the reason.
    #[must_use]
    pub fn devices_of(&self, path: &CgroupPath) -> (Devices, PerResource<String>) {
        let mut missing = PerResource::default();
        let pids = self.some_processes(path);
        let disk = self.disk_of(path, &pids).map_err(|reason| missing.disk = Some(reason)).ok();
        let network = self.network_of(&pids).map_err(|reason| missing.network = Some(reason)).ok();
        if let Ok(Err(error)) = self.caches_of(path).map(|control| control.refuse_foreign()) {
            missing = of_both_caches(&with_causes(&error)).or(missing);
        }
        (Devices { disk, network }, missing)
    }

    /// Any process of the container shows where all of them have their files and their network.
    fn some_processes(&self, path: &CgroupPath) -> Result<Vec<u32>, String> {
        let group = CgroupTree::new(self.hierarchy.clone()).find(path.as_str());
        let found = group.and_then(|group| group.map(|group| group.representatives()).transpose());
        match found.map_err(|error| with_causes(&error))? {
            Some(Representatives::Hidden) => {
                Err("its processes are in a pid namespace that is not in sight of the \
                                                  env-server, which must run in the machine's own"
                    .to_owned())
            }
            Some(Representatives::Pids(pids)) if !pids.is_empty() => Ok(pids),
            _ => Err("it has no process yet, which would show its devices".to_owned()),
        }
    }

    /// What the first of the processes shows that is there still when it has been asked.
    fn shown<T>(
        &self,
        pids: &Result<Vec<u32>, String>,
        ask: impl Fn(u32) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut answer = Err("its processes end as soon as they begin".to_owned());
        for pid in pids.as_ref()?.iter().take(ASKED) {
            answer = ask(*pid);
            if answer.is_ok() || self.roots.proc.join(pid.to_string()).exists() {
                break;
            }
        }
        answer
    }

    fn network_of(&self, pids: &Result<Vec<u32>, String>) -> Result<Interface, String> {
        self.network.clone()?;
        self.shown(pids, |pid| {
            Interface::of_process(&self.roots.proc, pid).map_err(|error| match error {
                KernelError::NoInterface { reason, .. } => reason.to_string(),
                error => with_causes(&error),
            })
        })
    }

    /// The disk that the container used most since it began; before it used one, that of its root folder. What it used of
    /// late would change from one second to the next, and with each change its rates begin anew.
    fn disk_of(&self, path: &CgroupPath, pids: &Result<Vec<u32>, String>) -> Result<DeviceNumber, String> {
        self.disks()?;
        let device = match self.busiest_disk(path) {
            Some(busiest) => busiest,
            None => self.shown(pids, |pid| self.disk_of_root(pid))?,
        };
        let control = DiskControl::new(&self.hierarchy, path, device);
        let readable = control.ok_or("no cgroup hierarchy has the block controller")?.limits();
        readable.map(|_| device).map_err(|error| why_not(&self.hierarchy, &error))
    }

    fn busiest_disk(&self, path: &CgroupPath) -> Option<DeviceNumber> {
        busiest(&DiskTraffic::new(&self.hierarchy, path).counters().ok()?)
    }

    fn disk_of_root(&self, pid: u32) -> Result<DeviceNumber, String> {
        let sys_dev_block = self.roots.sys.join("dev/block");
        device::disk_of_root(&device::Roots { proc: &self.roots.proc, sys_dev_block: &sys_dev_block }, pid)
    }
}

/// The disk with the most traffic, if there was any.
pub(crate) fn busiest(counters: &BTreeMap<DeviceNumber, DiskCounters>) -> Option<DeviceNumber> {
    let moved = |counters: &DiskCounters| counters.bytes.read.saturating_add(counters.bytes.write);
    let used = counters.iter().filter(|(_, counters)| moved(counters) > 0);
    used.max_by_key(|(_, counters)| moved(counters)).map(|(device, _)| *device)
}
