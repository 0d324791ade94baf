//! An HTB of one class at the root of a link: what leaves the link is held to a rate.
//!
//! Must not know which way that is, seen from a container.

use netlink_packet_core::NLM_F_ECHO;
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage},
};
use nix::errno::Errno;

use super::{
    hold::Hold,
    htb::{self, Class, Qdisc},
    links::Link,
    netlink::{Netlink, Request},
};
use crate::error::KernelError;

/// Where something of Ballast may go.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place<T> {
    /// Only the kernel's default is there.
    Free,
    /// Ballast's.
    Ours(T),
    /// Somebody else's; what it is, as a noun.
    Others(String),
}

impl<T> Place<T> {
    pub(super) fn ours(&self) -> Option<&T> {
        if let Self::Ours(ours) = self { Some(ours) } else { None }
    }
}

/// An HTB of Ballast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shaper {
    pub(super) qdisc: Qdisc,
    /// Absent when its making was cut short: then nothing is held back.
    pub(super) class: Option<Class>,
}

impl Shaper {
    pub(super) fn hold(&self) -> Option<Hold> {
        self.class.map(Class::hold)
    }
}

/// What is at the root of a link.
pub(super) fn look(netlink: &Netlink, link: &Link) -> Result<Place<Shaper>, KernelError> {
    // Handle 0 is what the kernel gives to what it puts there by itself.
    let found = qdisc_at(netlink, link, TcHandle::ROOT)?;
    let Some(qdisc) = found.filter(|qdisc| qdisc.header.handle != TcHandle::UNSPEC) else {
        return Ok(Place::Free);
    };
    let options = || htb::options_of(&qdisc).and_then(|options| Qdisc::decode(&options));
    let ours = kind(&qdisc) == htb::KIND && qdisc.header.handle == htb::QDISC;
    match options().filter(|_| ours) {
        Some(options) => Ok(Place::Ours(Shaper { qdisc: options, class: class(netlink, link)? })),
        None => Ok(Place::Others(describe(&qdisc))),
    }
}

fn class(netlink: &Netlink, link: &Link) -> Result<Option<Class>, KernelError> {
    let message = TcMessage::with_index(link.signed_index());
    let request = Request::new("list the classes of", link, RouteNetlinkMessage::GetTrafficClass(message));
    let classes = netlink.dump(&request)?;
    let ours = classes.iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewTrafficClass(class) if class.header.handle == htb::CLASS => Some(class),
        _ => None,
    });
    let Some(class) = ours else { return Ok(None) };
    class_in(class).map(Some).ok_or_else(|| request.odd("its class has no rate"))
}

fn class_in(message: &TcMessage) -> Option<Class> {
    htb::options_of(message).and_then(|options| Class::decode(&options))
}

/// Holds links that have their HTB and class in another way, all in one go, and notes what is in force then. Whether the
/// kernel told that of each.
pub(super) fn change(
    netlink: &Netlink,
    mut shapers: Vec<(&Link, &mut Shaper, Hold)>,
) -> Result<bool, KernelError> {
    shapers.retain(|(_, shaper, hold)| shaper.hold() != Some(*hold));
    let request =
        |(link, _, hold): &(&Link, &mut Shaper, Hold)| htb::set_class(link, Class::of(*hold, link.mtu));
    let told = netlink.act_together(&shapers.iter().map(request).collect::<Vec<_>>())?;
    Ok(shapers.iter_mut().all(|(link, shaper, _)| {
        let class = told.iter().find_map(|message| match message {
            RouteNetlinkMessage::NewTrafficClass(class)
                if class.header.index == link.signed_index() && class.header.handle == htb::CLASS =>
            {
                class_in(class)
            }
            _ => None,
        });
        class.is_some_and(|class| shaper.class.replace(class).is_some())
    }))
}

/// Holds a link, whose root is `found`. `qdisc` is said when there is none yet.
pub(super) fn set(
    netlink: &Netlink,
    link: &Link,
    found: &Place<Shaper>,
    qdisc: Qdisc,
    hold: Hold,
) -> Result<(), KernelError> {
    if found.ours().is_none() {
        netlink.act(&htb::add_qdisc(link, qdisc))?;
    }
    if found.ours().and_then(Shaper::hold) != Some(hold) {
        netlink.act(&htb::set_class(link, Class::of(hold, link.mtu)))?;
    }
    Ok(())
}

/// The qdisc of a link at `parent`; absent where there is none, or only one that the kernel does not show.
pub(super) fn qdisc_at(
    netlink: &Netlink,
    link: &Link,
    parent: TcHandle,
) -> Result<Option<TcMessage>, KernelError> {
    let mut message = TcMessage::with_index(link.signed_index());
    message.header.parent = parent;
    let request = Request::new("read the qdisc of", link, RouteNetlinkMessage::GetQueueDiscipline(message))
        // Without it the kernel tells only those who listen for changes. (A list would be told to nobody else, but it
        // would be one of all links: too long to read for every container.)
        .with_flags(NLM_F_ECHO);
    // ENOENT: there never was one. Nothing, or EINVAL: there is the kernel's placeholder, which it shows to nobody.
    let none = |source: &std::io::Error| {
        [Errno::ENOENT as i32, Errno::EINVAL as i32].map(Some).contains(&source.raw_os_error())
    };
    match netlink.find(&request) {
        Ok(Some(RouteNetlinkMessage::NewQueueDiscipline(qdisc))) => Ok(Some(qdisc)),
        Ok(None) => Ok(None),
        Ok(Some(other)) => Err(request.odd(format!("{other:?}"))),
        Err(KernelError::Netlink { source, .. }) if none(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn kind(qdisc: &TcMessage) -> &str {
    let kind = qdisc.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    kind.unwrap_or("unknown")
}

/// A qdisc as a noun, with its handle as tc(8) writes it.
pub(super) fn describe(qdisc: &TcMessage) -> String {
    format!("the qdisc {} {:x}:", kind(qdisc), qdisc.header.handle.major)
}
