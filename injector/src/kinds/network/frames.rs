//! Frames of this program's own from one end of a container's veth to the other, where nobody but it takes them.
//!
//! Must not know how many, nor when.
//!
//! They are of an Ethernet type that is for local experiments. No address, port, route or firewall is concerned, so it works
//! on a bridge, routed, and without any address; nobody answers, with an ICMP message for instance. The other end is the last
//! one: its Ethernet address is theirs. A socket there swallows them, because what nobody takes the kernel counts as dropped.

use std::{
    io,
    num::NonZeroU32,
    os::fd::{AsRawFd, OwnedFd},
};

use ballast_kernel::network::{self, VethEnd};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, send},
};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use super::relay::sender;
use crate::{error::InjectorError, undo::PROC};

/// "Local Experimental Ethertype 1" of IEEE 802.
const ETHERNET_TYPE: u16 = 0x88b5;

/// With their Ethernet header, as limits count. No larger than any network lets pass: 1280 bytes are the least of IPv6.
pub(super) const FRAME_BYTES: u16 = 1280 + 14;

/// One way over the veth, open until it is dropped.
#[derive(Debug)]
pub(super) struct Lane {
    out: OwnedFd,
    frame: Vec<u8>,
    _swallow: OwnedFd,
}

impl Lane {
    /// Sends nothing yet.
    pub(super) fn open(from: &VethEnd, to: &VethEnd) -> Result<Self, InjectorError> {
        let swallow = at(to, swallower)?;
        let out = at(from, || sender(from.index, None))?;
        Ok(Self { out, frame: frame(from.address, to.address), _swallow: swallow })
    }

    /// Sends one, without waiting. Whether it was taken: not by a queue that is full, nor by an interface that is gone.
    pub(super) fn send(&self) -> bool {
        send(self.out.as_raw_fd(), &self.frame, MsgFlags::MSG_DONTWAIT).is_ok()
    }
}

/// Opens something in the namespace of that end.
fn at(end: &VethEnd, open: impl FnOnce() -> io::Result<OwnedFd> + Send) -> Result<OwnedFd, InjectorError> {
    let failed = |source| InjectorError::Process { operation: "open a socket for traffic", source };
    let opened = network::in_namespace(PROC.as_ref(), end.namespace, || Ok(open()))?;
    opened.ok_or_else(|| failed(Errno::ENODEV.into()))?.map_err(failed)
}

/// What is never read fills its buffer once, and is forgotten from then on.
fn swallower() -> io::Result<OwnedFd> {
    let protocol = NonZeroU32::new(ETHERNET_TYPE.to_be().into()).map(Protocol::from_raw);
    Ok(socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

/// An end without an Ethernet address has the one that nobody has.
fn frame(from: Option<[u8; 6]>, to: Option<[u8; 6]>) -> Vec<u8> {
    let mut frame = [to.unwrap_or_default(), from.unwrap_or_default()].concat();
    frame.extend(ETHERNET_TYPE.to_be_bytes());
    frame.resize(FRAME_BYTES.into(), 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_addressed_to_the_other_end() {
        let frame = frame(Some([2, 0, 0, 0, 0, 1]), Some([2, 0, 0, 0, 0, 2]));
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
        assert_eq!(frame.len(), usize::from(FRAME_BYTES));
    }
}
