//! Limiting one container's network: reading, checking, writing and undoing.
//!
//! Must not know how a limit is said to the kernel.

use ballast_api::{BitsPerSecond, EgressIngress, Limit, with_causes};
use tracing::warn;

use super::{
    counters::{self, NetworkCounters},
    found::{Found, Ifb},
    hold::{Hold, Holds, NetworkLimit},
    hook::ENTRY,
    host::{Connection, Host},
    htb,
    interface::Interface,
    links::{self, DEFAULT_QUEUE_LENGTH, Link},
    netlink::Netlink,
    redirect,
    shaper::{self, Place},
};
use crate::error::KernelError;

/// The host side of one container's veth. All calls must be made in the network namespace that the interface was found in.
#[derive(Debug, Clone)]
pub struct NetworkControl {
    host: Host,
    interface: Interface,
}

impl NetworkControl {
    /// The interface's, which may be gone already, on a connection of its own.
    #[must_use]
    pub fn new(interface: Interface) -> Self {
        Self::on(&Host::default(), interface)
    }

    /// The same on a connection that is shared.
    #[must_use]
    pub fn on(host: &Host, interface: Interface) -> Self {
        Self { host: host.clone(), interface }
    }

    /// Which interface.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.interface
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// When the interface is gone ([`KernelError::is_gone`]).
    pub fn counters(&self) -> Result<NetworkCounters, KernelError> {
        self.host.with(|host| {
            let found = host.found(self.interface)?;
            counters::of_host_side(&host.netlink, &found.link)
        })
    }

    /// Reads the limits of Ballast in force: [`Limit::Max`] where there is none, whatever others have there.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn limit(&self) -> Result<EgressIngress<Limit<BitsPerSecond>>, KernelError> {
        Ok(self.in_force()?.map(|way| way.limit))
    }

    /// Reads the limits of Ballast in force, and which of them an injection has put there.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn in_force(&self) -> Result<EgressIngress<NetworkLimit>, KernelError> {
        Ok(self.found()?.holds().map(NetworkLimit::of))
    }

    /// What stands in the way of a limit now, for each direction; absent where one can be set.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn obstacles(&self) -> Result<EgressIngress<Option<KernelError>>, KernelError> {
        Ok(self.found()?.obstacles())
    }

    /// What [`Self::set_limit`] would put in force: `limit`, rounded to whole bytes per second. Writes nothing.
    ///
    /// # Errors
    /// [`KernelError::RateTooSmall`]; [`KernelError::NotOurs`] when something of others is where a limit would go; or when
    /// the interface is gone.
    pub fn rounded(
        &self,
        limit: EgressIngress<Limit<BitsPerSecond>>,
    ) -> Result<EgressIngress<Limit<BitsPerSecond>>, KernelError> {
        let holds = checked(&self.found()?, limit.map(NetworkLimit::lent))?;
        Ok(holds.map(|hold| NetworkLimit::of(hold).limit))
    }

    /// Writes a lender's limits and answers what is in force then: see [`Self::put_in_force`]. An injection that held the same
    /// way is over.
    ///
    /// # Errors
    /// As there.
    pub fn set_limit(
        &self,
        limit: EgressIngress<Limit<BitsPerSecond>>,
    ) -> Result<EgressIngress<Limit<BitsPerSecond>>, KernelError> {
        Ok(self.put_in_force(limit.map(NetworkLimit::lent))?.map(|way| way.limit))
    }

    /// Writes both limits and answers what is in force then, as the kernel tells it. A limit counts frames with their link
    /// header (14 bytes of Ethernet), and those headers that each segment of a segmented send will have: of TCP's data, 1448
    /// bytes in 1514. What is in force already is not written again; a change keeps what is queued. [`Limit::Max`] both ways
    /// removes everything of Ballast, also what an interrupted call has left, and leaves the kernel as it was before; frames
    /// that are queued then are lost.
    ///
    /// # Errors
    /// [`KernelError::RateTooSmall`] or [`KernelError::NotOurs`] before anything is written; others when the kernel
    /// refuses: then the limits before are in force again.
    pub fn put_in_force(
        &self,
        limits: EgressIngress<NetworkLimit>,
    ) -> Result<EgressIngress<NetworkLimit>, KernelError> {
        self.host.with(|host| {
            let found = host.found(self.interface)?;
            let holds = checked(&found, limits)?;
            if found.is_exactly(holds) {
                return Ok(holds.map(NetworkLimit::of));
            }
            let before = found.holds();
            // Whatever happens meanwhile, what was there is not there any more.
            host.forget(self.interface);
            let written = if found.limits_the_ways_of(holds) {
                change(host, self.interface, found, holds)
            } else {
                write(&host.netlink, &found, holds)
            };
            if let Err(error) = written {
                self.take_back(host, before);
                return Err(error);
            }
            Ok(host.found(self.interface)?.holds().map(NetworkLimit::of))
        })
    }

    fn found(&self) -> Result<Found, KernelError> {
        self.host.with(|host| host.found(self.interface))
    }

    /// After a failure: puts in force what was before it. What cannot be, the next call repairs.
    fn take_back(&self, host: &mut Connection, before: Holds) {
        let taken_back = host.found(self.interface).and_then(|found| write(&host.netlink, &found, before));
        host.forget(self.interface);
        if let Err(error) = taken_back
            && !error.is_gone()
        {
            let interface = self.interface.index;
            warn!(interface, error = with_causes(&error), "half-written network limits not taken back");
        }
    }
}

/// Removes all of Ballast from a link, and answers whether there was anything.
pub(super) fn free(netlink: &Netlink, link: Link) -> Result<bool, KernelError> {
    let found = Found::on(netlink, link)?;
    let none = Holds { egress: None, ingress: None };
    if found.is_exactly(none) {
        return Ok(false);
    }
    write(netlink, &found, none).map(|()| true)
}

/// Changes holds where all else is there already. What the kernel answers is what is in force: it need not be looked at.
fn change(
    host: &mut Connection,
    interface: Interface,
    mut found: Found,
    holds: Holds,
) -> Result<(), KernelError> {
    let EgressIngress { egress, ingress } = found.shapers();
    let pairs = [egress.zip(holds.egress), ingress.zip(holds.ingress)];
    let shapers = pairs.into_iter().flatten().map(|((link, shaper), hold)| (link, shaper, hold));
    if shaper::change(&host.netlink, shapers.collect())? {
        host.remember(interface, found);
    }
    Ok(())
}

/// How the kernel is to hold `limits`, if they may be set.
fn checked(found: &Found, limits: EgressIngress<NetworkLimit>) -> Result<Holds, KernelError> {
    let hold = |way: NetworkLimit| {
        way.hold().map_err(|smallest| KernelError::RateTooSmall {
            object: found.link.to_string(),
            asked: way.limit.or(BitsPerSecond::ZERO),
            smallest,
        })
    };
    let holds = Holds { egress: hold(limits.egress)?, ingress: hold(limits.ingress)? };
    let obstacles = found.obstacles();
    let in_the_way = obstacles.egress.filter(|_| holds.egress.is_some());
    match in_the_way.or(obstacles.ingress.filter(|_| holds.ingress.is_some())) {
        Some(obstacle) => Err(obstacle),
        None => Ok(holds),
    }
}

/// Each step leaves a state that this can go on from. What is set comes before what is removed: whenever something of
/// Ballast is there that the kernel gave the veth a queue length for, an HTB remembers the one before.
fn write(netlink: &Netlink, found: &Found, holds: Holds) -> Result<(), KernelError> {
    if let Some(hold) = holds.ingress {
        shaper::set(netlink, &found.link, &found.root, found.memory(), hold)?;
    }
    if let Some(hold) = holds.egress {
        limit_egress(netlink, found, hold)?;
    }
    if holds == (Holds { egress: None, ingress: None }) {
        restore_queue_length(netlink, found)?;
    }
    if holds.egress.is_none() {
        free_egress(netlink, found)?;
    }
    if holds.ingress.is_none() && found.root.ours().is_some() {
        netlink.act(&htb::remove_qdisc(&found.link))?;
    }
    Ok(())
}

/// First of all, for the HTB that remembers it is removed after it.
fn restore_queue_length(netlink: &Netlink, found: &Found) -> Result<(), KernelError> {
    if found.memory().no_queue_before && found.link.queue_length == DEFAULT_QUEUE_LENGTH {
        netlink.act(&links::set_queue_length(&found.link, 0))?;
    }
    Ok(())
}

/// The redirection comes last: no frame ever goes into an ifb that does not send it on.
fn limit_egress(netlink: &Netlink, found: &Found, hold: Hold) -> Result<(), KernelError> {
    let ifb = ifb(netlink, found)?;
    if !ifb.link.up {
        netlink.act(&links::set_up(&ifb.link))?;
    }
    shaper::set(netlink, &ifb.link, &ifb.root, found.memory(), hold)?;
    if found.entry.ours().is_none() {
        netlink.act(&ENTRY.add_qdisc(&found.link))?;
    }
    if !ifb.fed {
        netlink.act(&redirect::add_filter(&found.link, &ifb.link))?;
    }
    Ok(())
}

fn ifb(netlink: &Netlink, found: &Found) -> Result<Ifb, KernelError> {
    if let Some(ifb) = found.ifb.ours() {
        return Ok(ifb.clone());
    }
    let name = redirect::ifb_name(found.link.index);
    netlink.act(&links::add_ifb(&name))?;
    let gone = || KernelError::OddAnswer {
        operation: "create",
        object: format!("interface {name}"),
        detail: "it is not there afterwards".to_owned(),
    };
    let link: Link = links::by_name(netlink, &name)?.ok_or_else(gone)?;
    Ok(Ifb { link, root: Place::Free, fed: false })
}

/// The redirection goes first, for the same reason.
fn free_egress(netlink: &Netlink, found: &Found) -> Result<(), KernelError> {
    if found.entry.ours().is_some() {
        netlink.act(&ENTRY.remove_qdisc(&found.link))?;
    }
    match found.ifb.ours() {
        Some(ifb) => netlink.act(&links::remove(&ifb.link)),
        None => Ok(()),
    }
}
