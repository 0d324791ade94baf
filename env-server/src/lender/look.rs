//! Bringing the books in line with the containers that are there now.
//!
//! Must not know what anybody asks for.

use std::collections::BTreeMap;

use ballast_api::ContainerName;
use ballast_kernel::KernelError;

use super::{Container, Lender, Loan, say_what_is_new};
use crate::discovery::{About, Place, Seen};

impl Lender {
    /// Brings the books in line with the cgroups that are there now.
    pub(super) fn look_around(&mut self) -> Result<(), KernelError> {
        let found = self.means.discovery.look(self.means.machine.hierarchy())?;
        say_what_is_new(&mut self.skipped, found.skipped.into_iter().collect());
        let mut renamed = self.take_those_that_are_not_in(&found.containers);
        for (name, Seen { place, about }) in found.containers {
            if let Some(container) = self.containers.get_mut(&name) {
                container.about = about;
            } else {
                let container = match renamed.remove(&place) {
                    Some(container) => Container { about, ..container },
                    None => self.meet(place, about),
                };
                self.containers.insert(name, container);
            }
        }
        self.forget_vanished();
        self.share_out_networks();
        // A gauge that is off by more than 2^63 has other problems.
        self.means.metrics.containers.set(i64::try_from(self.containers.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Containers that are gone, or have other names now.
    fn take_those_that_are_not_in(
        &mut self,
        found: &BTreeMap<ContainerName, Seen>,
    ) -> BTreeMap<Place, Container> {
        let is_there = |name, of: &Container| found.get(name).is_some_and(|seen| seen.place == of.place);
        let others = self.containers.iter().filter(|(name, container)| !is_there(*name, container));
        let others: Vec<_> = others.map(|(name, _)| name.clone()).collect();
        let taken = others.iter().filter_map(|name| self.containers.remove(name));
        taken.map(|container| (container.place.clone(), container)).collect()
    }

    fn meet(&self, place: Place, about: About) -> Container {
        // What is lent already goes back to where it came from, whatever the container uses now.
        let owed = self.loans.get(&place).map(Loan::owed).unwrap_or_default();
        let mut container = Container::new(&self.means.machine, place, about, owed);
        // When it fails, the next round tries again and tells.
        let _ = container.sample(&self.means, owed);
        container
    }
}
