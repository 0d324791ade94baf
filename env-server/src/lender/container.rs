//! One container of the node: its devices, its controls, its last two samples.
//!
//! Must not know what it is lent.

use ballast_api::PerResource;
use ballast_kernel::{Interface, KernelError};

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
    /// Those that it may be limited on.
    pub(super) devices: Devices,
    pub(super) controls: Controls,
    /// Why resources that the machine can limit cannot be limited for this container.
    pub(super) missing: PerResource<String>,
    /// The host side of its network, also where it may not be limited there.
    pub(super) interface: Option<Interface>,
    pub(super) history: History,
    /// How many were taken.
    pub(super) samples: u32,
    /// Of the last plan that touched it.
    pub(super) generation: u64,
    /// Limits that are left alone, because somebody else changed them.
    pub(super) hold: Hold,
}

impl Container {
    /// `owed` is as in [`Self::sample`].
    pub(super) fn new(machine: &Machine, place: Place, about: About, owed: Devices) -> Self {
        let devices = Devices::default();
        let mut container = Self {
            controls: machine.controls(&place.path, &devices),
            place,
            about,
            devices,
            missing: PerResource::default(),
            interface: None,
            history: History::default(),
            samples: 0,
            generation: 0,
            hold: Hold::default(),
        };
        container.find_devices(machine, owed);
        container
    }

    /// Reads the counters. Its devices are looked for again when it uses another disk than before, and now and then while
    /// one is not found, or is gone: but for those that it is `owed` something on, which are not given up before.
    pub(super) fn sample(&mut self, means: &Means, owed: Devices) -> Result<(), KernelError> {
        let (mut counters, disks) = self.controls.counters()?;
        self.samples = self.samples.wrapping_add(1);
        let is_elsewhere =
            owed.disk.is_none() && busiest(&disks).is_some_and(|used| self.devices.disk != Some(used));
        let is_gone = owed.network.is_none() && self.devices.network.is_some() && counters.network.is_none();
        let is_incomplete = (is_gone || self.missing.iter().next().is_some())
            && self.samples.is_multiple_of(LOOK_AGAIN_EVERY);
        if (is_elsewhere || is_incomplete) && self.find_devices(&means.machine, owed) {
            counters = self.controls.counters()?.0;
        }
        self.history.push(Sample { taken_at: means.clock.now(), at: means.clock.monotonic(), counters });
        Ok(())
    }

    /// Processes that enter a container from outside begin outside of its resctrl group.
    pub(super) fn gather(&self, is_lent: bool) -> Result<(), KernelError> {
        if is_lent && self.samples.is_multiple_of(LOOK_AGAIN_EVERY) { self.controls.gather() } else { Ok(()) }
    }

    /// Takes its network under control, or leaves it alone for that reason.
    pub(super) fn take_network(&mut self, machine: &Machine, refused: Option<String>) {
        // Who has none has its reason already.
        if self.interface.is_some() {
            let network = self.interface.filter(|_| refused.is_none());
            self.missing.network = refused;
            self.use_devices(machine, Devices { network, ..self.devices });
        }
    }

    /// Whether they are others than before.
    fn find_devices(&mut self, machine: &Machine, owed: Devices) -> bool {
        let (mut found, mut missing) = machine.devices_of(&self.place.path);
        if owed.disk.is_some() {
            (found.disk, missing.disk) = (owed.disk, None);
        }
        if owed.network.is_some() {
            (found.network, missing.network) = (owed.network, None);
        }
        if found.network.is_some() && found.network == self.interface {
            // Whether it is to be limited there is no news.
            (found.network, missing.network) = (self.devices.network, self.missing.network.take());
        } else {
            self.interface = found.network;
        }
        self.missing = missing;
        self.use_devices(machine, found)
    }

    /// Whether they are others than before.
    fn use_devices(&mut self, machine: &Machine, devices: Devices) -> bool {
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
