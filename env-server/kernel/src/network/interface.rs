//! The host side of a container's veth, found through the container's network namespace.
//!
//! Must not know what is done with it.

use std::path::Path;

use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};
use serde::{Deserialize, Serialize};

use super::{
    found,
    links::{self, Link},
    namespace::Namespace,
    netlink::{Netlink, Request},
};
use crate::error::KernelError;

/// The host side of a container's veth, and enough to tell it from a later interface of the same index: an undo that
/// finds another `Interface` for the container than was journalled must not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The index of the host side, in the namespace of this process.
    pub index: u32,
    /// The index of the container's side, in the container's namespace.
    pub peer_index: u32,
    /// The inode of the container's network namespace.
    pub namespace: u64,
    /// The Ethernet address of the host side. Indices and inodes are given again, and most containers have the same
    /// `peer_index`: this is drawn anew for each veth. Absent in what an older Ballast wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<[u8; 6]>,
}

/// Why the network of a process cannot be controlled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoInterface {
    /// It ended, or never was.
    #[error("there is no such process")]
    NoSuchProcess,
    /// It uses the host's interfaces, which are others' too.
    #[error("it shares the host's network namespace")]
    SharesHost,
    /// Started without a network.
    #[error("it has only the loopback interface")]
    OnlyLoopback,
    /// Another kind of network.
    #[error("it has no veth, only {0}")]
    NoVeth(String),
    /// Behind another container, or reached from another namespace.
    #[error("the other side of its veth {0} is not in the host's network namespace")]
    PeerElsewhere(String),
    /// A limit on one would not be a limit on the container.
    #[error("it has several veths, of which only one could be controlled: {0}")]
    Several(String),
}

impl Interface {
    /// The interface of the container that process `pid` is in, looked up below `proc` (normally `/proc`). One veth whose
    /// other side is here, in the network namespace of the calling thread. Interfaces of other kinds beside it are not
    /// limited with it.
    ///
    /// # Errors
    /// [`KernelError::NoInterface`] with the reason, and others when the kernel refuses to let this process look.
    pub fn of_process(proc: &Path, pid: u32) -> Result<Self, KernelError> {
        let not = |reason| KernelError::NoInterface { pid, reason };
        let theirs = Namespace::of_process(proc, pid)
            .map_err(|error| if error.is_gone() { not(NoInterface::NoSuchProcess) } else { error })?;
        let ours = Namespace::current(proc)?;
        if theirs.inode() == ours.inode() {
            return Err(not(NoInterface::SharesHost));
        }
        let (links, our_number) = theirs.run(|| {
            let netlink = Netlink::open()?;
            // In this order: a namespace gets its number when a link is shown whose other side is in it.
            Ok((links::all(&netlink)?, number_of(&netlink, &ours)?))
        })?;
        let (peer_index, index) = the_veth(&links, our_number).map_err(not)?;
        let found = Self { index, peer_index, namespace: theirs.inode(), address: None };
        let host_side = found::host_side(&Netlink::open()?, found)?;
        Ok(Self { address: host_side.address, ..found })
    }
}

/// The number that the socket's namespace has for another one, if it has any.
fn number_of(netlink: &Netlink, other: &Namespace) -> Result<Option<i32>, KernelError> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(other.raw_fd()));
    let request = Request::new("number", "the host's namespace", RouteNetlinkMessage::GetNsId(message));
    let RouteNetlinkMessage::NewNsId(answer) = netlink.get(&request)? else {
        return Err(request.odd("it is no number of a namespace"));
    };
    let number = answer.attributes.into_iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) => Some(id),
        _ => None,
    });
    Ok(number.filter(|number| *number >= 0))
}

/// The only veth with its other side in the namespace numbered `host`: its index and that of the other side.
fn the_veth(links: &[Link], host: Option<i32>) -> Result<(u32, u32), NoInterface> {
    let names = |links: &[&Link]| links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ");
    let outward: Vec<_> = links.iter().filter(|link| !link.loopback).collect();
    let veths: Vec<_> = outward.iter().copied().filter(|link| link.is_veth()).collect();
    let to_host = |link: &&Link| host.is_some() && link.peer_namespace == host;
    let found: Vec<_> = veths.iter().copied().filter(to_host).collect();
    match (found.as_slice(), veths.as_slice(), outward.as_slice()) {
        ([link], ..) => link
            .peer_index
            .map(|peer| (link.index, peer))
            .ok_or_else(|| NoInterface::PeerElsewhere(link.name.clone())),
        ([], [], []) => Err(NoInterface::OnlyLoopback),
        ([], [], others) => Err(NoInterface::NoVeth(names(others))),
        ([], veths, _) => Err(NoInterface::PeerElsewhere(names(veths))),
        (several, ..) => Err(NoInterface::Several(names(several))),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoKind;

    use super::*;

    fn link(name: &str, kind: Option<InfoKind>, peer: Option<(u32, i32)>) -> Link {
        Link {
            index: 2,
            name: name.to_owned(),
            loopback: name == "lo",
            kind,
            peer_index: peer.map(|(index, _)| index),
            peer_namespace: peer.map(|(_, namespace)| namespace),
            ..Link::default()
        }
    }

    fn veth(name: &str, peer: (u32, i32)) -> Link {
        link(name, Some(InfoKind::Veth), Some(peer))
    }

    #[test]
    fn the_one_veth_to_the_host_is_taken_whatever_else_is_there() {
        let links = [
            link("lo", None, None),
            link("tunl0", Some(InfoKind::IpIp), None),
            veth("inner", (9, 1)),
            veth("eth0", (7, 0)),
        ];
        assert_eq!(the_veth(&links, Some(0)), Ok((2, 7)));
    }

    #[test]
    fn every_other_case_has_its_reason() {
        let lo = || link("lo", None, None);
        let reason = |links: &[Link], host| the_veth(links, host).unwrap_err().to_string();
        assert_eq!(reason(&[lo()], Some(0)), "it has only the loopback interface");
        let vlan = link("eth0", Some(InfoKind::MacVlan), Some((3, 0)));
        assert_eq!(reason(&[lo(), vlan], Some(0)), "it has no veth, only eth0");
        let elsewhere = "the other side of its veth eth0 is not in the host's network namespace";
        assert_eq!(reason(&[lo(), veth("eth0", (7, 1))], Some(0)), elsewhere);
        assert_eq!(reason(&[lo(), veth("eth0", (7, 0))], None), elsewhere);
        assert_eq!(reason(&[lo(), link("eth0", Some(InfoKind::Veth), None)], None), elsewhere);
        let several = "it has several veths, of which only one could be controlled: eth0, eth1";
        assert_eq!(reason(&[veth("eth0", (7, 0)), veth("eth1", (8, 0))], Some(0)), several);
    }
}
