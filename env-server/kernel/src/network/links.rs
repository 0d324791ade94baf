//! Network interfaces: what is known of one, and making, changing and removing one.
//!
//! Must not know of rates.

use std::fmt;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage},
};
use nix::errno::Errno;

use super::netlink::{Netlink, Request};
use crate::error::KernelError;

/// The kernel's own length of a transmit queue, in packets (`DEFAULT_TX_QUEUE_LEN`).
pub(super) const DEFAULT_QUEUE_LENGTH: u32 = 1000;

/// Six bytes.
pub(super) type EthernetAddress = [u8; 6];

/// What is known of an interface.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) kind: Option<InfoKind>,
    pub(super) loopback: bool,
    pub(super) up: bool,
    /// The other end, for a veth.
    pub(super) peer_index: Option<u32>,
    /// The namespace of the other end, as numbered in this one; absent when it is this one.
    pub(super) peer_namespace: Option<i32>,
    /// In packets.
    pub(super) queue_length: u32,
    /// In bytes, without the link's header.
    pub(super) mtu: u32,
    /// Drawn by the kernel, unless somebody chose it; absent where it is not Ethernet's.
    pub(super) address: Option<EthernetAddress>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {} (index {})", self.name, self.index)
    }
}

impl Link {
    pub(super) fn is_veth(&self) -> bool {
        self.kind == Some(InfoKind::Veth)
    }

    pub(super) fn is_ifb(&self) -> bool {
        self.kind == Some(InfoKind::Ifb)
    }

    /// How the kernel's traffic messages number it: never negative in practice.
    pub(super) fn signed_index(&self) -> i32 {
        self.index.cast_signed()
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            loopback: flags.contains(LinkFlags::Loopback),
            up: flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Link(index) => link.peer_index = Some(index),
                LinkAttribute::LinkNetNsId(id) => link.peer_namespace = Some(id),
                LinkAttribute::TxQueueLen(length) => link.queue_length = length,
                LinkAttribute::Mtu(bytes) => link.mtu = bytes,
                LinkAttribute::Address(bytes) => link.address = bytes.try_into().ok(),
                LinkAttribute::LinkInfo(infos) => link.kind = kind(infos),
                _ => {}
            }
        }
        link
    }
}

fn kind(infos: Vec<LinkInfo>) -> Option<InfoKind> {
    infos.into_iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind) } else { None })
}

/// Statistics are most of an answer, and most of the kernel's work for it.
fn without_statistics(mut message: LinkMessage) -> RouteNetlinkMessage {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(message)
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn indexed(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn read(netlink: &Netlink, request: &Request) -> Result<Link, KernelError> {
    match netlink.get(request)? {
        RouteNetlinkMessage::NewLink(message) => Ok(message.into()),
        other => Err(request.odd(format!("{other:?}"))),
    }
}

/// The interface with this index. [`KernelError::is_gone`] when there is none.
pub(super) fn by_index(netlink: &Netlink, index: u32) -> Result<Link, KernelError> {
    let message = without_statistics(indexed(index));
    read(netlink, &Request::new("look up", format!("the interface with index {index}"), message))
}

/// The interface with this name, if there is one.
pub(super) fn by_name(netlink: &Netlink, name: &str) -> Result<Option<Link>, KernelError> {
    let message = without_statistics(named(name));
    match read(netlink, &Request::new("look up", format!("interface {name}"), message)) {
        Err(KernelError::Netlink { source, .. }) if source.raw_os_error() == Some(Errno::ENODEV as i32) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// All interfaces of the namespace.
pub(super) fn all(netlink: &Netlink) -> Result<Vec<Link>, KernelError> {
    let message = without_statistics(LinkMessage::default());
    let answers = netlink.dump(&Request::new("list", "network interfaces", message))?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(message.into()),
        _ => None,
    });
    Ok(links.collect())
}

fn add(name: &str, mut message: LinkMessage, info: Vec<LinkInfo>) -> Request {
    message.attributes.push(LinkAttribute::LinkInfo(info));
    let message = RouteNetlinkMessage::NewLink(message);
    Request::new("create", format!("interface {name}"), message).with_flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes an ifb device that is up. Its own queue length would be 32 packets, which HTB's class would inherit.
pub(super) fn add_ifb(name: &str) -> Request {
    let mut message = named(name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.push(LinkAttribute::TxQueueLen(DEFAULT_QUEUE_LENGTH));
    add(name, message, vec![LinkInfo::Kind(InfoKind::Ifb)])
}

/// Makes a pair of veths, both in this namespace.
pub(super) fn add_veths(name: &str, peer: &str) -> Request {
    let peer = InfoData::Veth(InfoVeth::Peer(named(peer)));
    add(name, named(name), vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)])
}

pub(super) fn remove(link: &Link) -> Request {
    Request::new("remove", link, RouteNetlinkMessage::DelLink(indexed(link.index)))
}

pub(super) fn set_queue_length(link: &Link, packets: u32) -> Request {
    let mut message = indexed(link.index);
    message.attributes.push(LinkAttribute::TxQueueLen(packets));
    Request::new("set the queue length of", link, RouteNetlinkMessage::SetLink(message)).with_value(packets)
}

/// Switches an interface on.
pub(super) fn set_up(link: &Link) -> Request {
    let mut message = indexed(link.index);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request::new("switch on", link, RouteNetlinkMessage::SetLink(message))
}
