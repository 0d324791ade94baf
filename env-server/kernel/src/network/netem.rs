//! Delay and loss by the kernel's own qdisc netem, where the kernel has it.
//!
//! netlink-packet-route has no netem: its layout is that of `linux/pkt_sched.h`. Must not know which way a link leads.

use std::{path::Path, time::Duration};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage},
};
use nix::errno::Errno;

use super::{
    end::VethEnd,
    htb,
    links::{self, Link},
    namespace::in_private,
    netlink::{Netlink, Request},
    shaper::{self, Place},
};
use crate::error::KernelError;

/// Its handle, by which it is told from others'.
const HANDLE: TcHandle = TcHandle { major: 0xba12, minor: 0 };
const KIND: &str = "netem";
/// In `struct tc_netem_qopt`, times are in ticks of 64 ns, as HTB's are, and shares are of 2^32 - 1.
const NANOSECONDS_PER_TICK: u128 = 64;
/// So many packets may be held at once: what half a million a second come to in 20 ms.
const MOST_HELD: u32 = 10_000;

/// What is done to every packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Netem {
    /// Held for so long: at most 274 s.
    pub delay: Duration,
    /// Give or take so much, evenly.
    pub jitter: Duration,
    /// The share that is lost, from 0 to 1.
    pub loss: f64,
}

impl Netem {
    /// Whether this kernel has netem, found out by using it in a network namespace of its own; and why not, a sentence.
    ///
    /// # Errors
    /// That sentence.
    pub fn probe(proc: &Path) -> Result<(), String> {
        let one = Self { delay: Duration::from_millis(1), jitter: Duration::ZERO, loss: 0.0 };
        in_private(proc, || {
            let netlink = Netlink::open()?;
            let [name, peer] = ["try0", "try1"];
            netlink.act(&links::add_veths(name, peer))?;
            // One that is not there now is refused.
            let link = links::by_name(&netlink, name)?.unwrap_or_default();
            netlink.act(&one.request(&link, TcHandle::ROOT))
        })
        .map_err(|error| match error {
            KernelError::Netlink { source, .. } if is_unknown(&source) => {
                "this kernel has no netem (CONFIG_NET_SCH_NETEM)".to_owned()
            }
            error => format!("netem could not be tried: {}", ballast_api::with_causes(&error)),
        })
    }

    /// Does it to all that leaves this end: at the root, or below the HTB of Ballast that is there.
    ///
    /// # Errors
    /// [`KernelError::NotOurs`] when something of others is at the root; or when the kernel refuses; or the end is gone
    /// ([`KernelError::is_gone`]).
    pub fn add(&self, proc: &Path, end: &VethEnd) -> Result<(), KernelError> {
        let added = end.with(proc, |netlink, link| {
            let parent = match shaper::look(netlink, link)? {
                Place::Free => TcHandle::ROOT,
                Place::Ours(shaper) if shaper.class.is_some() => htb::CLASS,
                Place::Ours(_) => return Err(in_the_way(link, "a limit that is being made")),
                Place::Others(found) => return Err(in_the_way(link, &found)),
            };
            netlink.act(&self.request(link, parent))
        })?;
        added.ok_or_else(|| end.gone())
    }

    /// Whether just this is done to all that leaves this end.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn is_at(&self, proc: &Path, end: &VethEnd) -> Result<bool, KernelError> {
        let found = end.with(proc, |netlink, link| {
            Ok(find(netlink, link)?.and_then(|(_, qdisc)| htb::options_of(&qdisc)))
        })?;
        Ok(found.flatten().is_some_and(|options| options.starts_with(&self.encode())))
    }

    /// Takes it back; nothing is done where it is not there, or not any more. What is held then is lost.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(proc: &Path, end: &VethEnd) -> Result<(), KernelError> {
        end.with(proc, |netlink, link| {
            let Some((parent, _)) = find(netlink, link)? else { return Ok(()) };
            end.restore_queue_length(netlink, link)?;
            let mut message = TcMessage::with_index(link.signed_index());
            (message.header.handle, message.header.parent) = (HANDLE, parent);
            let message = RouteNetlinkMessage::DelQueueDiscipline(message);
            netlink.act(&Request::new("remove the netem qdisc of", link, message))
        })
        .map(|_| ())
    }

    fn request(&self, link: &Link, parent: TcHandle) -> Request {
        let mut message = TcMessage::with_index(link.signed_index());
        (message.header.handle, message.header.parent) = (HANDLE, parent);
        message.attributes = vec![TcAttribute::Kind(KIND.to_owned()), htb::raw_options(self.encode())];
        Request::new("add a netem qdisc to", link, RouteNetlinkMessage::NewQueueDiscipline(message))
            .with_flags(NLM_F_CREATE | NLM_F_EXCL)
    }

    /// `struct tc_netem_qopt`: latency, limit, loss, gap, duplicate, jitter.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float-to-integer cast saturates"
    )]
    fn encode(&self) -> Vec<u8> {
        let ticks =
            |time: Duration| u32::try_from(time.as_nanos() / NANOSECONDS_PER_TICK).unwrap_or(u32::MAX);
        let loss = (self.loss * f64::from(u32::MAX)).round() as u32;
        let numbers = [ticks(self.delay), MOST_HELD, loss, 0, 0, ticks(self.jitter)];
        numbers.map(u32::to_ne_bytes).concat()
    }
}

/// Ballast's netem on a link, and its parent, which an answer names only to who asked for it.
fn find(netlink: &Netlink, link: &Link) -> Result<Option<(TcHandle, TcMessage)>, KernelError> {
    for parent in [TcHandle::ROOT, htb::CLASS] {
        let found = shaper::qdisc_at(netlink, link, parent)?;
        if let Some(qdisc) =
            found.filter(|qdisc| qdisc.header.handle == HANDLE && shaper::kind(qdisc) == KIND)
        {
            return Ok(Some((parent, qdisc)));
        }
    }
    Ok(None)
}

/// ENOENT: no such kind. EOPNOTSUPP: said by some older kernels.
fn is_unknown(source: &std::io::Error) -> bool {
    [Errno::ENOENT as i32, Errno::EOPNOTSUPP as i32].map(Some).contains(&source.raw_os_error())
}

fn in_the_way(link: &Link, found: &str) -> KernelError {
    KernelError::NotOurs {
        direction: "what leaves an end",
        object: link.to_string(),
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn u32_at(bytes: &[u8], offset: usize) -> u32 {
        htb::u32_at(bytes, offset).unwrap()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn it_is_these_bytes() {
        // 20 ms are 312500 ticks, 5 ms are 78125; 5 % of 2^32 - 1 are 214748365.
        let netem = Netem { delay: Duration::from_millis(20), jitter: Duration::from_millis(5), loss: 0.05 };
        let golden = [
            [0xb4, 0xc4, 0x04, 0x00],
            [0x10, 0x27, 0x00, 0x00],
            [0xcd, 0xcc, 0xcc, 0x0c],
            [0; 4],
            [0; 4],
            [0x2d, 0x31, 0x01, 0x00],
        ];
        assert_eq!(netem.encode(), golden.concat());
    }

    proptest! {
        #[test]
        fn any_amount_is_written_as_near_as_the_kernel_counts(micros in 0u64..270_000_000, loss in 0.0..=1.0f64) {
            let delay = Duration::from_micros(micros);
            let bytes = Netem { delay, jitter: delay / 2, loss }.encode();
            prop_assert_eq!(bytes.len(), 24);
            let ticks = u64::from(u32_at(&bytes, 0));
            prop_assert!(micros * 1000 - ticks * 64 < 64);
            prop_assert!((f64::from(u32_at(&bytes, 8)) / f64::from(u32::MAX) - loss).abs() < 1e-9);
        }
    }
}
