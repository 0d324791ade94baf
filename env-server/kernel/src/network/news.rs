//! What changes in a network namespace, as the kernel tells those who listen.
//!
//! The kernel tells before the change is acknowledged to who made it: what was not heard of has not changed. Must not know
//! what is remembered.

use std::{collections::BTreeSet, io};

use netlink_packet_core::NetlinkBuffer;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
    tc::{TcHeader, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{errno::Errno, sys::socket::MsgFlags};

use super::{
    hook::ENTRY,
    netlink::{messages, no_socket, receive},
    redirect,
};
use crate::error::KernelError;

/// `RTMGRP_LINK | RTMGRP_TC`: interfaces; qdiscs, classes and filters.
const GROUPS: u32 = 0x1 | 0x8;

/// What was touched since it was last asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Interfaces, or what is on them, by their index. For what is Ballast's in an interface's place, that interface too.
    Of(BTreeSet<u32>),
    /// More than could be told: anything may have changed.
    TooMuch,
}

/// Listens in the network namespace that the thread was in when it was opened.
#[derive(Debug)]
pub(super) struct News {
    socket: Socket,
    buffer: Vec<u8>,
}

impl News {
    pub(super) fn open() -> Result<Self, KernelError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            Ok(socket)
        };
        Ok(Self { socket: open().map_err(no_socket("listen on"))?, buffer: Vec::new() })
    }

    /// What others than the owner of `port` have touched since the last call. Waits for nothing.
    pub(super) fn heard(&mut self, port: u32) -> Result<Heard, KernelError> {
        let mut heard = Heard::Of(BTreeSet::new());
        loop {
            match receive(&self.socket, &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(()) if is_from(&self.buffer, port) => {}
                Ok(()) => heard = heard.and(of_datagram(&self.buffer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
                // The kernel could not keep all of it.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => heard = Heard::TooMuch,
                Err(error) => return Err(no_socket("listen on")(error)),
            }
        }
    }
}

impl Heard {
    fn and(self, more: Self) -> Self {
        match (self, more) {
            (Self::Of(mut touched), Self::Of(more)) => {
                touched.extend(more);
                Self::Of(touched)
            }
            _ => Self::TooMuch,
        }
    }
}

/// Whether the datagram is one message about something done at the request of this port.
fn is_from(datagram: &[u8], port: u32) -> bool {
    NetlinkBuffer::new_checked(datagram)
        .is_ok_and(|message| message.port_number() == port && message.length() as usize == datagram.len())
}

/// What cannot be read may be about anything.
fn of_datagram(datagram: &[u8]) -> Heard {
    let mut touched = BTreeSet::new();
    for message in messages(datagram) {
        match message.map(|message| message.payload) {
            Ok(netlink_packet_core::NetlinkPayload::InnerMessage(message)) => touched.extend(of(&message)),
            _ => return Heard::TooMuch,
        }
    }
    Heard::Of(touched)
}

fn of(message: &RouteNetlinkMessage) -> Vec<u32> {
    match message {
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => of_link(link),
        RouteNetlinkMessage::NewQueueDiscipline(traffic)
        | RouteNetlinkMessage::DelQueueDiscipline(traffic)
        | RouteNetlinkMessage::NewTrafficClass(traffic)
        | RouteNetlinkMessage::DelTrafficClass(traffic)
        | RouteNetlinkMessage::NewTrafficFilter(traffic)
        | RouteNetlinkMessage::DelTrafficFilter(traffic)
        | RouteNetlinkMessage::NewTrafficChain(traffic)
        | RouteNetlinkMessage::DelTrafficChain(traffic) => vec![of_traffic(traffic)],
        _ => Vec::new(),
    }
}

/// A device that takes the name of an ifb touches the interface that the ifb would be for.
fn of_link(link: &LinkMessage) -> Vec<u32> {
    let named = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => redirect::index_of_ifb(name),
        _ => None,
    });
    named.chain([link.header.index]).collect()
}

fn of_traffic(traffic: &TcMessage) -> u32 {
    match traffic.header.index.cast_unsigned() {
        TcHeader::TCM_IFINDEX_MAGIC_BLOCK => ENTRY.index_of_block(traffic.header.parent.into()),
        index => index,
    }
}
