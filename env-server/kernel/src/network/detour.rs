//! A detour for what leaves a link: every frame goes to another interface, but those that bear the mark of who has it.
//!
//! The one filter at the link's [`EXIT`] is a program of classic BPF: u32 can compare marks only in kernels built for it. Must
//! not know what happens to the frames on the way.

use std::path::Path;

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{RouteNetlinkMessage, tc::TcAttribute};

use super::{
    end::VethEnd,
    hook::EXIT,
    htb,
    links::{self, Link},
    netlink::Request,
    redirect,
    shaper::Place,
};
use crate::error::KernelError;

/// Frames with this mark (`SO_MARK` of the socket that sends them) take no detour. The mark ends with the veth: the kernel
/// clears it when a frame changes its namespace.
pub const DETOUR_MARK: u32 = 0xba11_a57d;

const FILTER_KIND: &str = "bpf";
const TCA_BPF_ACT: u16 = 1;
const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;
const TCA_BPF_NAME: u16 = 7;

/// `SKF_AD_OFF + SKF_AD_MARK`, where classic BPF finds the mark.
const MARK_OFFSET: u32 = 0xffff_f000 + 20;

/// A detour of all that leaves one end of a veth.
#[derive(Debug)]
pub struct Detour;

impl Detour {
    /// What stands in the way of one, as a noun; absent where nothing does.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn obstacle(proc: &Path, end: &VethEnd) -> Result<Option<String>, KernelError> {
        let found = end.with(proc, |netlink, link| EXIT.look(netlink, link))?;
        Ok(match found {
            None | Some(Place::Free) => None,
            Some(Place::Ours(())) => Some("another detour".to_owned()),
            Some(Place::Others(found)) => Some(found),
        })
    }

    /// Sends all that leaves the end to the interface `by` of its namespace instead.
    ///
    /// # Errors
    /// When something of others is in the way, the kernel refuses, or the end is gone ([`KernelError::is_gone`]).
    pub fn add(proc: &Path, end: &VethEnd, by: &str) -> Result<(), KernelError> {
        let added = end.with(proc, |netlink, link| {
            let target = links::by_name(netlink, by)?.ok_or_else(|| end.gone())?;
            netlink.act(&EXIT.add_qdisc(link))?;
            netlink.act(&add_filter(link, &target))
        })?;
        added.ok_or_else(|| end.gone())
    }

    /// Whether there is one.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn is_at(proc: &Path, end: &VethEnd) -> Result<bool, KernelError> {
        Ok(end
            .with(proc, |netlink, link| EXIT.look(netlink, link))?
            .is_some_and(|place| place.ours().is_some()))
    }

    /// Takes it back; nothing is done where it is not there, or not any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(proc: &Path, end: &VethEnd) -> Result<(), KernelError> {
        end.with(proc, |netlink, link| match EXIT.look(netlink, link)? {
            Place::Ours(()) => {
                end.restore_queue_length(netlink, link)?;
                netlink.act(&EXIT.remove_qdisc(link))
            }
            _ => Ok(()),
        })
        .map(|_| ())
    }
}

fn add_filter(link: &Link, target: &Link) -> Request {
    let mut message = EXIT.filter(link);
    message.attributes =
        vec![TcAttribute::Kind(FILTER_KIND.to_owned()), htb::raw_options(filter_options(target))];
    Request::new("redirect what leaves", link, RouteNetlinkMessage::NewTrafficFilter(message))
        .with_flags(NLM_F_CREATE | NLM_F_EXCL)
        .with_value(target)
}

fn filter_options(target: &Link) -> Vec<u8> {
    let action = redirect::redirection(target);
    let mut actions = vec![0; action.buffer_len()];
    action.emit(&mut actions);
    let program = program();
    let instructions = u16::try_from(program.len()).unwrap_or(u16::MAX);
    htb::emitted(&[
        DefaultNla::new(TCA_BPF_ACT, actions),
        DefaultNla::new(TCA_BPF_OPS_LEN, instructions.to_ne_bytes().to_vec()),
        DefaultNla::new(TCA_BPF_OPS, program.concat()),
        DefaultNla::new(TCA_BPF_NAME, b"ballast\0".to_vec()),
    ])
}

/// Matches what does not bear the mark. Each instruction is a `struct sock_filter`.
fn program() -> [Vec<u8>; 4] {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NO_MATCH: u32 = 0;
    const MATCH: u32 = u32::MAX;
    [
        instruction(LOAD_WORD, 0, 0, MARK_OFFSET),
        instruction(JUMP_IF_EQUAL, 0, 1, DETOUR_MARK),
        instruction(RETURN, 0, 0, NO_MATCH),
        instruction(RETURN, 0, 0, MATCH),
    ]
}

fn instruction(code: u16, if_true: u8, if_false: u8, operand: u32) -> Vec<u8> {
    let mut bytes = code.to_ne_bytes().to_vec();
    bytes.extend([if_true, if_false]);
    bytes.extend(operand.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_program_is_these_bytes() {
        let golden = ["2000000014f0ffff", "150000017da511ba", "0600000000000000", "06000000ffffffff"];
        assert_eq!(hex(&program().concat()), golden.concat());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_options_of_the_filter_are_these_bytes() {
        let target = Link { index: 9, ..Link::default() };
        let golden = [
            "3800 0100 3400 0100 0b00 0100 6d697272656400 00",
            "2400 0280 2000 0200 00000000 00000000 04000000 00000000 00000000 01000000 09000000",
            "0600 0400 0400 0000",
            "2400 0500 2000000014f0ffff 150000017da511ba 0600000000000000 06000000ffffffff",
            "0c00 0700 62616c6c61737400",
        ];
        assert_eq!(hex(&filter_options(&target)), golden.concat().replace(' ', ""));
    }
}
