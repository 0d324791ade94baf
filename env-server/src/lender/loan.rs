//! What one container is lent, and what it gets back.
//!
//! Must not know of other containers.

use std::time::Duration;

use ballast_api::Limits;

use crate::{controls::Devices, discovery::Place, journal::Entry};

/// Limits that are not the container's own.
pub(super) struct Loan {
    /// Where the limits were taken from, and go back to.
    pub(super) devices: Devices,
    /// The container's own limits of the resources that plans have touched, as long as they are not back.
    pub(super) baseline: Limits,
    /// The container's own burst, once a plan has touched the CPU: what is lent of it may hold it down.
    pub(super) cpu_burst_us: Option<u64>,
    /// What is in force instead, as read back; nothing where that is not known.
    pub(super) lent: Limits,
    /// When to restore the baseline, or to try again.
    pub(super) due: Duration,
    pub(super) failed_attempts: u32,
    /// Its cgroup is known to be gone.
    pub(super) is_orphan: bool,
}

impl Loan {
    /// What an earlier env-server has left: due now.
    pub(super) fn of(entry: Entry, now: Duration) -> (Place, Self) {
        let Entry { cgroup: path, identity, devices, baseline, cpu_burst_us } = entry;
        let lent = Limits::default();
        let loan =
            Self { devices, baseline, cpu_burst_us, lent, due: now, failed_attempts: 0, is_orphan: false };
        (Place { path, identity }, loan)
    }

    /// As it is written down.
    pub(super) fn entry(&self, place: &Place) -> Entry {
        Entry {
            cgroup: place.path.clone(),
            identity: place.identity,
            devices: self.devices,
            baseline: self.baseline,
            cpu_burst_us: self.cpu_burst_us,
        }
    }

    /// Where something is to be given back.
    pub(super) fn owed(&self) -> Devices {
        let Devices { disk, network } = self.devices;
        let Limits { disk: bytes, disk_operations: operations, .. } = self.baseline;
        Devices {
            disk: disk.filter(|_| bytes.is_some() || operations.is_some()),
            network: network.filter(|_| self.baseline.network.is_some()),
        }
    }
}
