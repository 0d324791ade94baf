//! What is there on the host side of one container: Ballast's, others', or nothing.
//!
//! Changes nothing; must not know what is wanted.

use std::io;

use ballast_api::EgressIngress;
use nix::errno::Errno;

use super::{
    hold::Holds,
    hook::ENTRY,
    htb::Qdisc,
    interface::Interface,
    links::{self, Link},
    netlink::Netlink,
    redirect,
    shaper::{self, Place, Shaper},
};
use crate::error::KernelError;

/// An ifb device of Ballast, and what is at its root.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ifb {
    pub(super) link: Link,
    pub(super) root: Place<Shaper>,
    /// Everything that enters the veth is sent there.
    pub(super) fed: bool,
}

/// All places that Ballast uses for one container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// The host side of the veth.
    pub(super) link: Link,
    pub(super) root: Place<Shaper>,
    pub(super) entry: Place<()>,
    pub(super) ifb: Place<Ifb>,
}

/// Whether it is the host side of the container's veth, and no later one of its index.
pub(super) fn is_of(link: &Link, interface: Interface) -> bool {
    let has_address = interface.address.is_none_or(|address| link.address == Some(address));
    link.index == interface.index
        && link.is_veth()
        && link.peer_index == Some(interface.peer_index)
        && has_address
}

/// The host side, if the index is still that of the container's veth.
pub(super) fn host_side(netlink: &Netlink, interface: Interface) -> Result<Link, KernelError> {
    let link = links::by_index(netlink, interface.index)?;
    if is_of(&link, interface) {
        return Ok(link);
    }
    Err(KernelError::Netlink {
        operation: "find a container's interface at",
        object: format!("index {}: {} has it now", interface.index, link.name),
        value: None,
        said: None,
        source: io::Error::from_raw_os_error(Errno::ENODEV as i32),
    })
}

impl Found {
    pub(super) fn at(netlink: &Netlink, interface: Interface) -> Result<Self, KernelError> {
        Self::on(netlink, host_side(netlink, interface)?)
    }

    pub(super) fn on(netlink: &Netlink, link: Link) -> Result<Self, KernelError> {
        let root = shaper::look(netlink, &link)?;
        let entry = ENTRY.look(netlink, &link)?;
        let ifb = match links::by_name(netlink, &redirect::ifb_name(link.index))? {
            None => Place::Free,
            Some(ifb) if ifb.is_ifb() => Place::Ours(Ifb {
                root: shaper::look(netlink, &ifb)?,
                fed: entry.ours().is_some() && redirect::leads_to(netlink, &link, &ifb)?,
                link: ifb,
            }),
            Some(other) => Place::Others(format!("{other}, which is no ifb device,")),
        };
        Ok(Self { link, root, entry, ifb })
    }

    /// What is in force.
    pub(super) fn holds(&self) -> Holds {
        let ifb = self.ifb.ours().filter(|ifb| ifb.fed && ifb.link.up);
        EgressIngress {
            egress: ifb.and_then(|ifb| ifb.root.ours()?.hold()),
            ingress: self.root.ours().and_then(Shaper::hold),
        }
    }

    /// Whether what is in force is this, and nothing half-made is left beside it.
    pub(super) fn is_exactly(&self, holds: Holds) -> bool {
        self.holds() == holds && self.limits_the_ways_of(holds)
    }

    /// Whether the directions limited are these, and nothing half-made is left beside them: only how may differ.
    pub(super) fn limits_the_ways_of(&self, holds: Holds) -> bool {
        let now = self.holds();
        let egress_left = self.entry.ours().is_some() || self.ifb.ours().is_some();
        now.egress.is_some() == holds.egress.is_some()
            && now.ingress.is_some() == holds.ingress.is_some()
            && (holds.egress.is_some() || !egress_left)
            && (holds.ingress.is_some() || self.root.ours().is_none())
    }

    /// The links whose HTB holds back a limited direction, and what is at their root.
    pub(super) fn shapers(&mut self) -> EgressIngress<Option<(&Link, &mut Shaper)>> {
        EgressIngress {
            egress: match &mut self.ifb {
                Place::Ours(Ifb { link, root: Place::Ours(shaper), .. }) => Some((&*link, shaper)),
                _ => None,
            },
            ingress: match &mut self.root {
                Place::Ours(shaper) => Some((&self.link, shaper)),
                _ => None,
            },
        }
    }

    /// What the HTBs are to remember: the veth's queue length before Ballast.
    pub(super) fn memory(&self) -> Qdisc {
        let roots = [Some(&self.root), self.ifb.ours().map(|ifb| &ifb.root)];
        let remembered = roots.into_iter().flatten().find_map(Place::ours).map(|shaper| shaper.qdisc);
        remembered.unwrap_or(Qdisc { no_queue_before: self.link.queue_length == 0 })
    }

    /// Why a direction cannot be limited, as an error each; absent where it can.
    pub(super) fn obstacles(&self) -> EgressIngress<Option<KernelError>> {
        let not_ours = |direction, found: &str| KernelError::NotOurs {
            direction,
            object: self.link.to_string(),
            found: found.to_owned(),
        };
        let entry = if let Place::Others(found) = &self.entry { Some(found) } else { None };
        let ifb = if let Place::Others(found) = &self.ifb { Some(found) } else { None };
        let ifb_root = match &self.ifb {
            Place::Ours(Ifb { root: Place::Others(found), .. }) => Some(found),
            _ => None,
        };
        let root = if let Place::Others(found) = &self.root { Some(found) } else { None };
        EgressIngress {
            egress: entry.or(ifb).or(ifb_root).map(|found| not_ours("egress", found)),
            ingress: root.map(|found| not_ours("ingress", found)),
        }
    }
}
