//! HTB as netlink says it: a qdisc with one class that everything goes into.
//!
//! netlink-packet-route has no HTB: its numbers and layouts are those of `linux/pkt_sched.h`. Pure, except that building
//! a request reads nothing; must not know which link it is for.

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_EXCL, Nla, NlasIterator};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage, TcOption},
};

use super::{
    hold::{Hold, Holder},
    links::Link,
    netlink::Request,
    rate::Rate,
};

/// Handles of Ballast's qdiscs start with this.
pub(super) const MAJOR: u16 = 0xba11;
pub(super) const KIND: &str = "htb";
pub(super) const QDISC: TcHandle = TcHandle { major: MAJOR, minor: 0 };
pub(super) const CLASS: TcHandle = TcHandle { major: MAJOR, minor: 1 };

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;

/// `HTB_VER >> 16`: the version of the interface that the kernel wants named.
const VERSION: u32 = 3;
/// `r2q`, by which the kernel would divide a rate to get a quantum that was not given. Ours always is, so that this
/// number is free to keep what undoing needs: the kernel gives an interface that has no queue length (Docker's) one when
/// it gets a qdisc, and does not take it back.
const DIVISOR: u32 = 10;
const DIVISOR_NO_QUEUE_BEFORE: u32 = 11;
/// Bytes that a class may send before its sibling's turn. There is no sibling.
const QUANTUM: u32 = 65_536;
/// The turn of a class among its siblings. There is no sibling, so that this number is free to tell whose the rate is.
const PRIORITY_OF_A_LENDER: u32 = 0;
const PRIORITY_OF_AN_INJECTION: u32 = 1;

/// Frames on Ethernet. Said, so that the kernel asks for no rate table: it wants those from who does not say it only.
const LINK_LAYER_ETHERNET: u8 = 1;
/// `struct tc_ratespec`, twice, and five numbers: `struct tc_htb_opt`.
const PARMS_BYTES: usize = 44;
const RATE_OFFSET: usize = 8;
const CEIL_OFFSET: usize = 20;
const BUFFER_OFFSET: usize = 24;
const CEIL_BUFFER_OFFSET: usize = 28;
const QUANTUM_OFFSET: usize = 32;
const PRIORITY_OFFSET: usize = 40;
const LINK_LAYER_OFFSETS: [usize; 2] = [1, 13];

/// What Ballast says of its qdisc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Qdisc {
    /// The veth had a queue length of zero before Ballast came.
    pub(super) no_queue_before: bool,
}

/// What Ballast says of its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) rate: Rate,
    /// Never more than the rate in what Ballast writes: there is nothing to borrow.
    pub(super) ceil: Rate,
    /// What may be sent at once, as the time that it takes at the rate, in ticks.
    pub(super) burst_ticks: u32,
    pub(super) ceil_burst_ticks: u32,
    pub(super) quantum: u32,
    pub(super) priority: u32,
}

impl Qdisc {
    /// `struct tc_htb_glob`: version, divisor, default class, and two that are for reading only.
    pub(super) fn encode(self) -> Vec<u8> {
        let divisor = if self.no_queue_before { DIVISOR_NO_QUEUE_BEFORE } else { DIVISOR };
        let glob = [VERSION, divisor, u32::from(CLASS.minor), 0, 0].map(u32::to_ne_bytes).concat();
        emitted(&[DefaultNla::new(TCA_HTB_INIT, glob)])
    }

    /// Absent when these are no options of an HTB.
    pub(super) fn decode(options: &[u8]) -> Option<Self> {
        let divisor = u32_at(&attribute(options, TCA_HTB_INIT)?, 4)?;
        Some(Self { no_queue_before: divisor == DIVISOR_NO_QUEUE_BEFORE })
    }
}

impl Class {
    /// All that `hold` allows, and nothing more, on a link of this MTU.
    pub(super) fn of(Hold { rate, by }: Hold, mtu: u32) -> Self {
        let burst_ticks = rate.ticks(rate.burst_bytes(mtu));
        let priority = match by {
            Holder::Lender => PRIORITY_OF_A_LENDER,
            Holder::Injection => PRIORITY_OF_AN_INJECTION,
        };
        Self { rate, ceil: rate, burst_ticks, ceil_burst_ticks: burst_ticks, quantum: QUANTUM, priority }
    }

    /// What it holds its link to.
    pub(super) fn hold(self) -> Hold {
        let is_of_an_injection = self.priority == PRIORITY_OF_AN_INJECTION;
        Hold { rate: self.rate, by: if is_of_an_injection { Holder::Injection } else { Holder::Lender } }
    }

    /// Rates from 2^32 bytes/s on go into attributes of their own, beside the largest number in the old place.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut parms = vec![0; PARMS_BYTES];
        LINK_LAYER_OFFSETS.iter().for_each(|offset| parms[*offset] = LINK_LAYER_ETHERNET);
        let (rate, ceil) = (self.rate.bytes_per_second(), self.ceil.bytes_per_second());
        let short = |rate: u64| u32::try_from(rate).unwrap_or(u32::MAX);
        for (offset, number) in [
            (RATE_OFFSET, short(rate)),
            (CEIL_OFFSET, short(ceil)),
            (BUFFER_OFFSET, self.burst_ticks),
            (CEIL_BUFFER_OFFSET, self.ceil_burst_ticks),
            (QUANTUM_OFFSET, self.quantum),
            (PRIORITY_OFFSET, self.priority),
        ] {
            parms[offset..offset + 4].copy_from_slice(&number.to_ne_bytes());
        }
        let long = [(TCA_HTB_RATE64, rate), (TCA_HTB_CEIL64, ceil)];
        let long = long.into_iter().filter(|(_, rate)| u32::try_from(*rate).is_err());
        let long = long.map(|(kind, rate)| DefaultNla::new(kind, rate.to_ne_bytes().to_vec()));
        emitted(&std::iter::once(DefaultNla::new(TCA_HTB_PARMS, parms)).chain(long).collect::<Vec<_>>())
    }

    /// Absent when these are no options of an HTB class.
    pub(super) fn decode(options: &[u8]) -> Option<Self> {
        let parms = attribute(options, TCA_HTB_PARMS)?;
        let number = |offset| u32_at(&parms, offset);
        let rate = |kind, offset| {
            let long =
                attribute(options, kind).and_then(|value| Some(u64::from_ne_bytes(value.try_into().ok()?)));
            long.or_else(|| number(offset).map(u64::from)).map(Rate::from_bytes_per_second)
        };
        Some(Self {
            rate: rate(TCA_HTB_RATE64, RATE_OFFSET)?,
            ceil: rate(TCA_HTB_CEIL64, CEIL_OFFSET)?,
            burst_ticks: number(BUFFER_OFFSET)?,
            ceil_burst_ticks: number(CEIL_BUFFER_OFFSET)?,
            quantum: number(QUANTUM_OFFSET)?,
            priority: number(PRIORITY_OFFSET)?,
        })
    }
}

/// Puts an HTB at the root of a link, where only the kernel's default is.
pub(super) fn add_qdisc(link: &Link, qdisc: Qdisc) -> Request {
    let message = message(link, QDISC, TcHandle::ROOT, qdisc.encode());
    Request::new("add an HTB qdisc to", link, RouteNetlinkMessage::NewQueueDiscipline(message))
        .with_flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes or changes the class. A change keeps what is queued.
pub(super) fn set_class(link: &Link, class: Class) -> Request {
    let message = message(link, CLASS, QDISC, class.encode());
    Request::new("set the rate of", link, RouteNetlinkMessage::NewTrafficClass(message))
        .with_flags(NLM_F_CREATE)
        .with_value(class.rate)
}

/// Removes the HTB and what is queued in it; the kernel puts its default back.
pub(super) fn remove_qdisc(link: &Link) -> Request {
    let mut message = TcMessage::with_index(link.signed_index());
    message.header.handle = QDISC;
    message.header.parent = TcHandle::ROOT;
    Request::new("remove the HTB qdisc of", link, RouteNetlinkMessage::DelQueueDiscipline(message))
}

fn message(link: &Link, handle: TcHandle, parent: TcHandle, options: Vec<u8>) -> TcMessage {
    let mut message = TcMessage::with_index(link.signed_index());
    message.header.handle = handle;
    message.header.parent = parent;
    message.attributes = vec![TcAttribute::Kind(KIND.to_owned()), raw_options(options)];
    message
}

/// The options of a kind that netlink-packet-route does not know are one attribute to it, the outer one.
pub(super) fn raw_options(bytes: Vec<u8>) -> TcAttribute {
    const TCA_OPTIONS: u16 = 2;
    // Kept apart from what is parsed: there the whole attribute is wrapped once more.
    TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, bytes))
}

/// The bytes of the options of a message that was read, whose kind netlink-packet-route does not know.
pub(super) fn options_of(message: &TcMessage) -> Option<Vec<u8>> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => match options.as_slice() {
            [TcOption::Other(options)] => {
                let mut bytes = vec![0; options.value_len()];
                options.emit_value(&mut bytes);
                Some(bytes)
            }
            _ => None,
        },
        _ => None,
    })
}

pub(super) fn emitted(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

fn attribute(options: &[u8], kind: u16) -> Option<Vec<u8>> {
    let found = NlasIterator::new(options).map_while(Result::ok).find(|attribute| attribute.kind() == kind);
    found.map(|attribute| attribute.value().to_vec())
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
