//! One container of the node: its devices, its controls, its last two samples.
//!
//! Must not know what it is lent.

use ballast_api::PerResource;
use ballast_kernel::KernelError;

use super::{Means, drift::Hold};
use crate::{
    controls::{Controls, Devices},
    discovery::{About, Place},
    machine::{Machine, busiest},
    rates::{History, Sample},
};

/// In how many samples a container is looked at again whose devices are not all found (it may have got a process, or a
/// network, since), or whose tasks are kept in a resctrl group (others may have come).
const LOOK_AGAIN_EVERY: u32 = 5;

/// A container that is there.
pub(super) struct Container {
    pub(super) place: Place,
    pub(super) about: About,
    pub(super) devices: Devices,
    pub(super) controls: Controls,
    /// Why resources that the machine can limit cannot be limited for this container.
    pub(super) missing: PerResource<String>,
    pub(super) history: History,
    /// How many were taken.
    pub(super) samples: u32,
    /// Of the last plan that touched it.
    pub(super) generation: u64,
    /// Limits that are left alone, because somebody else changed them.
    pub(super) hold: Hold,
}

impl Container {
    pub(super) fn new(machine: &Machine, place: Place, about: About, lent: Option<Devices>) -> Self {
        let (found, missing) = machine.devices_of(&place.path);
        let devices = lent.unwrap_or(found);
        let controls = machine.controls(&place.path, &devices);
        let (history, hold) = (History::default(), Hold::default());
        Self { place, about, devices, controls, missing, history, samples: 0, generation: 0, hold }
    }

    /// Reads the counters. A container that is not lent anything is looked at again when it uses another disk than
    /// before, and now and then while one of its devices is not found, or is gone.
    pub(super) fn sample(&mut self, means: &Means, is_lent: bool) -> Result<(), KernelError> {
        let (mut counters, disks) = self.controls.counters()?;
        let is_elsewhere = busiest(&disks).is_some_and(|used| self.devices.disk != Some(used));
        self.samples = self.samples.wrapping_add(1);
        let is_gone = self.devices.network.is_some() && counters.network.is_none();
        let is_incomplete = (is_gone || self.missing.iter().next().is_some())
            && self.samples.is_multiple_of(LOOK_AGAIN_EVERY);
        if !is_lent && (is_elsewhere || is_incomplete) && self.find_devices(&means.machine) {
            counters = self.controls.counters()?.0;
        }
        self.history.push(Sample { taken_at: means.clock.now(), counters });
        Ok(())
    }

    /// Processes that enter a container from outside begin outside of its resctrl group.
    pub(super) fn gather(&self, is_lent: bool) -> Result<(), KernelError> {
        if is_lent && self.samples.is_multiple_of(LOOK_AGAIN_EVERY) { self.controls.gather() } else { Ok(()) }
    }

    /// Whether they are others than before.
    fn find_devices(&mut self, machine: &Machine) -> bool {
        let (devices, missing) = machine.devices_of(&self.place.path);
        self.missing = missing;
        if devices == self.devices {
            return false;
        }
        self.devices = devices;
        self.controls = machine.controls(&self.place.path, &devices);
        // Counters of one device say nothing beside those of another.
        self.history = History::default();
        true
    }
}
