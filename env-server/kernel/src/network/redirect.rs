//! Sending what enters a link through another one: a filter at its [`ENTRY`] that redirects every frame.
//!
//! Must not know of rates.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption, TcActionType,
        TcAttribute, TcFilterU32, TcFilterU32Option, TcMessage, TcMirror, TcMirrorActionType, TcOption,
        TcU32Key, TcU32Selector, TcU32SelectorFlags,
    },
};

use super::{
    hook::ENTRY,
    links::Link,
    netlink::{Netlink, Request},
};
use crate::error::KernelError;

const IFB_PREFIX: &str = "ballast";

/// The name of the ifb device for the link with this index: 15 characters at most, the kernel's bound.
pub(super) fn ifb_name(index: u32) -> String {
    format!("{IFB_PREFIX}{index:x}")
}

/// The index of the link that an ifb device of this name is for; absent for a name that is not Ballast's.
pub(super) fn index_of_ifb(name: &str) -> Option<u32> {
    let index = u32::from_str_radix(name.strip_prefix(IFB_PREFIX)?, 16).ok()?;
    (ifb_name(index) == name).then_some(index)
}

/// Whether everything that enters `link` is redirected to `target`.
pub(super) fn leads_to(netlink: &Netlink, link: &Link, target: &Link) -> Result<bool, KernelError> {
    let message = RouteNetlinkMessage::GetTrafficFilter(ENTRY.filter(link));
    let request = Request::new("list the filters of", link, message);
    let filters = netlink.dump(&request)?;
    Ok(filters.iter().any(|filter| match filter {
        RouteNetlinkMessage::NewTrafficFilter(filter) => target_of(filter) == Some(target.index),
        _ => false,
    }))
}

/// Redirects every frame that enters `link` to `target`.
pub(super) fn add_filter(link: &Link, target: &Link) -> Request {
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    // One comparison of no bits: always true.
    (selector.nkeys, selector.keys) = (1, vec![TcU32Key::default()]);
    let options = vec![
        TcOption::U32(TcFilterU32Option::Selector(selector)),
        TcOption::U32(TcFilterU32Option::Action(vec![redirection(target)])),
    ];
    let mut message = ENTRY.filter(link);
    message.attributes = vec![TcAttribute::Kind(TcFilterU32::KIND.to_owned()), TcAttribute::Options(options)];
    Request::new("redirect the traffic of", link, RouteNetlinkMessage::NewTrafficFilter(message))
        .with_flags(NLM_F_CREATE | NLM_F_EXCL)
        .with_value(target)
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

#[cfg(test)]
mod tests;
