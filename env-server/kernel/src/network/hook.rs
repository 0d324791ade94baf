//! A place where a link's frames pass filters: as they enter it, or as they leave it.
//!
//! A qdisc is there whose filters are in a block. The block's number is made from the link's index: that tells the qdisc from
//! one of others, which no handle could, for all of its kind have the same. Must not know what the filters do.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, Nla};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcHeader, TcMessage},
};

use super::{
    links::Link,
    netlink::{Netlink, Request},
    shaper::{self, Place},
};
use crate::error::KernelError;

const HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const TCA_INGRESS_BLOCK: u16 = 13;
const TCA_EGRESS_BLOCK: u16 = 14;
/// Any frame, whatever it carries (`ETH_P_ALL`).
const EVERY_PROTOCOL: u16 = 3;
const PRIORITY: u16 = 1;

/// One of the places that every link has.
#[derive(Debug)]
pub(super) struct Hook {
    kind: &'static str,
    parent: TcHandle,
    /// The attribute with the block's number.
    attribute: u16,
    /// Mixed into the index of a link, so that the block's number is hardly anybody else's.
    mixed_in: u32,
    /// What is told when one of these fails.
    adding: &'static str,
    removing: &'static str,
}

/// Where frames enter a link.
pub(super) const ENTRY: Hook = Hook {
    kind: "ingress",
    parent: TcHandle::INGRESS,
    attribute: TCA_INGRESS_BLOCK,
    mixed_in: 0xba11_a570,
    adding: "add an ingress qdisc to",
    removing: "remove the ingress qdisc of",
};

/// Where frames leave a link. No block has the number of one of [`ENTRY`], unless an index is above a thousand million.
pub(super) const EXIT: Hook = Hook {
    kind: "clsact",
    parent: TcHandle::CLSACT,
    attribute: TCA_EGRESS_BLOCK,
    mixed_in: 0xde70_a570,
    adding: "add a clsact qdisc to",
    removing: "remove the clsact qdisc of",
};

impl Hook {
    /// The number of the block of filters for the link with this index: another one for each.
    fn block(&self, index: u32) -> u32 {
        self.mixed_in ^ index
    }

    /// The index of the link that a block of this number would be for.
    pub(super) fn index_of_block(&self, block: u32) -> u32 {
        self.mixed_in ^ block
    }

    /// What is there.
    pub(super) fn look(&self, netlink: &Netlink, link: &Link) -> Result<Place<()>, KernelError> {
        Ok(match shaper::qdisc_at(netlink, link, self.parent)? {
            None => Place::Free,
            Some(qdisc) if self.block_of(&qdisc) == Some(self.block(link.index)) => Place::Ours(()),
            Some(qdisc) => Place::Others(shaper::describe(&qdisc)),
        })
    }

    /// Puts a qdisc with an empty block there: every frame passes.
    pub(super) fn add_qdisc(&self, link: &Link) -> Request {
        let mut message = self.qdisc(link);
        let block = DefaultNla::new(self.attribute, self.block(link.index).to_ne_bytes().to_vec());
        message.attributes = vec![TcAttribute::Kind(self.kind.to_owned()), TcAttribute::Other(block)];
        Request::new(self.adding, link, RouteNetlinkMessage::NewQueueDiscipline(message))
            .with_flags(NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes the qdisc, and its filters with it.
    pub(super) fn remove_qdisc(&self, link: &Link) -> Request {
        Request::new(self.removing, link, RouteNetlinkMessage::DelQueueDiscipline(self.qdisc(link)))
    }

    fn qdisc(&self, link: &Link) -> TcMessage {
        let mut message = TcMessage::with_index(link.signed_index());
        (message.header.handle, message.header.parent) = (HANDLE, self.parent);
        message
    }

    /// A message about the filters in the link's block, which match every protocol.
    pub(super) fn filter(&self, link: &Link) -> TcMessage {
        let mut message = TcMessage::default();
        message.header = TcHeader {
            index: TcHeader::TCM_IFINDEX_MAGIC_BLOCK.cast_signed(),
            parent: self.block(link.index).into(),
            // The protocol is in network byte order.
            info: u32::from(PRIORITY) << 16 | u32::from(EVERY_PROTOCOL.to_be()),
            ..TcHeader::default()
        };
        message
    }

    /// The number of a qdisc's block, if it has one.
    fn block_of(&self, qdisc: &TcMessage) -> Option<u32> {
        qdisc.attributes.iter().find_map(|attribute| match attribute {
            TcAttribute::Other(other) if other.kind() == self.attribute => {
                let mut bytes = vec![0; other.value_len()];
                other.emit_value(&mut bytes);
                Some(u32::from_ne_bytes(bytes.try_into().ok()?))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_link_has_its_own_block(one: u32, other: u32) {
            prop_assert_eq!(ENTRY.block(one) == ENTRY.block(other), one == other);
            prop_assert_eq!(ENTRY.index_of_block(ENTRY.block(one)), one);
        }
    }
}
