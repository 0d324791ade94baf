//! Who may be limited on which interface. A limit there is one of everybody behind it: the containers of a pod share one,
//! and so do those of Docker's `--network container:NAME`.
//!
//! Asks no kernel; must not know what an interface is.

use std::collections::BTreeMap;

use ballast_api::ContainerName;
use ballast_kernel::Interface;

use super::{Container, Lender};
use crate::discovery::Place;

impl Lender {
    /// Leaves the network of those alone who are not alone there. One that was lent it before another came keeps it until
    /// its loan ends.
    pub(super) fn share_out_networks(&mut self) {
        let (users, lent) = (self.users(), self.lent_networks());
        let refusals: Vec<_> =
            self.containers.iter().map(|(name, container)| refusal(name, container, &users, &lent)).collect();
        for (container, refusal) in self.containers.values_mut().zip(refusals) {
            container.take_network(&self.means.machine, refusal);
        }
    }

    fn users(&self) -> BTreeMap<Interface, Vec<&ContainerName>> {
        let mut users: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, container) in &self.containers {
            if let Some(interface) = container.interface {
                users.entry(interface).or_default().push(name);
            }
        }
        users
    }

    /// Whose limits are on interfaces now.
    pub(super) fn lent_networks(&self) -> BTreeMap<Interface, &Place> {
        self.loans.iter().filter_map(|(place, loan)| Some((loan.owed().network?, place))).collect()
    }
}

/// Why a container's network is not to be limited, if so.
fn refusal(
    name: &ContainerName,
    of: &Container,
    users: &BTreeMap<Interface, Vec<&ContainerName>>,
    lent: &BTreeMap<Interface, &Place>,
) -> Option<String> {
    let interface = of.interface?;
    let lent_to = lent.get(&interface);
    if lent_to.is_some_and(|place| **place == of.place) {
        return None;
    }
    let others = users.get(&interface)?.iter().filter(|other| **other != name);
    let others: Vec<_> = others.map(|other| other.as_str()).collect();
    match lent_to {
        _ if !others.is_empty() => Some(format!("it shares its network with {}", others.join(", "))),
        Some(gone) => Some(format!("what {} was lent of its network is not given back yet", gone.path)),
        None => None,
    }
}
