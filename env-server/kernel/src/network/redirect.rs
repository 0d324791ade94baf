//! Sending what enters a link through another one: an ingress qdisc, and a filter that redirects every frame.
//!
//! The qdisc's filters are in a block whose number is made from the link's index: that tells it from an ingress qdisc of
//! others, which no handle could, for all ingress qdiscs have the same. Must not know of rates.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, Nla};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption, TcActionType,
        TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcHeader, TcMessage, TcMirror,
        TcMirrorActionType, TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
    },
};

use super::{
    links::Link,
    netlink::{Netlink, Request},
    shaper::{self, Place},
};
use crate::error::KernelError;

const IFB_PREFIX: &str = "ballast";
const KIND: &str = "ingress";
const HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const TCA_INGRESS_BLOCK: u16 = 13;
/// Mixed into the index of a link, so that the block's number is hardly anybody else's.
const BLOCK: u32 = 0xba11_a570;
/// Any frame, whatever it carries (`ETH_P_ALL`).
const EVERY_PROTOCOL: u16 = 3;
const PRIORITY: u16 = 1;

/// The name of the ifb device for the link with this index: 15 characters at most, the kernel's bound.
pub(super) fn ifb_name(index: u32) -> String {
    format!("{IFB_PREFIX}{index:x}")
}

/// The index of the link that an ifb device of this name is for; absent for a name that is not Ballast's.
pub(super) fn index_of_ifb(name: &str) -> Option<u32> {
    let index = u32::from_str_radix(name.strip_prefix(IFB_PREFIX)?, 16).ok()?;
    (ifb_name(index) == name).then_some(index)
}

/// The number of the block of filters for the link with this index: another one for each.
pub(super) fn block(index: u32) -> u32 {
    BLOCK ^ index
}

/// The index of the link that a block of this number would be for.
pub(super) fn index_of_block(block: u32) -> u32 {
    BLOCK ^ block
}

/// What is where an ingress qdisc would be.
pub(super) fn look(netlink: &Netlink, link: &Link) -> Result<Place<()>, KernelError> {
    let found = shaper::qdisc_at(netlink, link, TcHandle::INGRESS)?;
    Ok(match found {
        None => Place::Free,
        Some(qdisc) if block_of(&qdisc, TCA_INGRESS_BLOCK) == Some(block(link.index)) => Place::Ours(()),
        Some(qdisc) => Place::Others(shaper::describe(&qdisc)),
    })
}

/// Whether everything that enters `link` is redirected to `target`.
pub(super) fn leads_to(netlink: &Netlink, link: &Link, target: &Link) -> Result<bool, KernelError> {
    let mut message = TcMessage::default();
    message.header = header(link);
    let request = Request::new("list the filters of", link, RouteNetlinkMessage::GetTrafficFilter(message));
    let filters = netlink.dump(&request)?;
    Ok(filters.iter().any(|filter| match filter {
        RouteNetlinkMessage::NewTrafficFilter(filter) => target_of(filter) == Some(target.index),
        _ => false,
    }))
}

/// Gives a link an ingress qdisc with an empty block: every frame passes.
pub(super) fn add_qdisc(link: &Link) -> Request {
    let mut message = ingress(link);
    let block = DefaultNla::new(TCA_INGRESS_BLOCK, block(link.index).to_ne_bytes().to_vec());
    message.attributes = vec![TcAttribute::Kind(KIND.to_owned()), TcAttribute::Other(block)];
    Request::new("add an ingress qdisc to", link, RouteNetlinkMessage::NewQueueDiscipline(message))
        .with_flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Redirects every frame that enters `link` to `target`.
pub(super) fn add_filter(link: &Link, target: &Link) -> Request {
    let mut message = TcMessage::default();
    message.header = header(link);
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    // One comparison of no bits: always true.
    (selector.nkeys, selector.keys) = (1, vec![TcU32Key::default()]);
    let options = vec![
        TcOption::U32(TcFilterU32Option::Selector(selector)),
        TcOption::U32(TcFilterU32Option::Action(vec![redirection(target)])),
    ];
    message.attributes = vec![TcAttribute::Kind(TcFilterU32::KIND.to_owned()), TcAttribute::Options(options)];
    Request::new("redirect the traffic of", link, RouteNetlinkMessage::NewTrafficFilter(message))
        .with_flags(NLM_F_CREATE | NLM_F_EXCL)
        .with_value(target)
}

/// Removes the ingress qdisc, and its filter with it.
pub(super) fn remove_qdisc(link: &Link) -> Request {
    let message = RouteNetlinkMessage::DelQueueDiscipline(ingress(link));
    Request::new("remove the ingress qdisc of", link, message)
}

fn ingress(link: &Link) -> TcMessage {
    let mut message = TcMessage::with_index(link.signed_index());
    message.header.handle = HANDLE;
    message.header.parent = TcHandle::INGRESS;
    message
}

/// Of the filters in the link's block. The protocol is in network byte order.
fn header(link: &Link) -> TcHeader {
    TcHeader {
        index: TcHeader::TCM_IFINDEX_MAGIC_BLOCK.cast_signed(),
        parent: block(link.index).into(),
        info: u32::from(PRIORITY) << 16 | u32::from(EVERY_PROTOCOL.to_be()),
        ..TcHeader::default()
    }
}

pub(super) fn redirection(target: &Link) -> TcAction {
    let mut mirror = TcMirror::default();
    mirror.generic.action = TcActionType::Stolen;
    mirror.eaction = TcMirrorActionType::EgressRedir;
    mirror.ifindex = target.index;
    let options = vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))];
    let mut action = TcAction::default();
    action.attributes =
        vec![TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()), TcActionAttribute::Options(options)];
    action
}

/// The link that a filter redirects to, if it does.
fn target_of(filter: &TcMessage) -> Option<u32> {
    let options = filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let actions = options.iter().filter_map(|option| match option {
        TcOption::U32(TcFilterU32Option::Action(actions)) => Some(actions),
        _ => None,
    });
    let attributes = actions.flatten().flat_map(|action| &action.attributes);
    let options = attributes.filter_map(|attribute| match attribute {
        TcActionAttribute::Options(options) => Some(options),
        _ => None,
    });
    options.flatten().find_map(|option| match option {
        TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))
            if mirror.eaction == TcMirrorActionType::EgressRedir =>
        {
            Some(mirror.ifindex)
        }
        _ => None,
    })
}

/// The number of a qdisc's block, if it has one of this attribute.
pub(super) fn block_of(qdisc: &TcMessage, kind: u16) -> Option<u32> {
    qdisc.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Other(other) if other.kind() == kind => {
            let mut bytes = vec![0; other.value_len()];
            other.emit_value(&mut bytes);
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
