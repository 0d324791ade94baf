//! Requests to the kernel's routing netlink, one at a time, on a blocking socket.
//!
//! The kernel answers while the request is being sent, so nothing is ever waited for. Must not know what is asked.

use std::{cell::Cell, fmt::Display, io};

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::KernelError;

/// How often a list is asked for that changed while it was read.
const ATTEMPTS: u32 = 10;

/// Before the kernel's own words in a refusal: the header of the request refused.
const HEADER_BYTES: usize = 16;
/// `NLMSGERR_ATTR_MSG`.
const KERNELS_WORDS: u16 = 1;

/// What is asked, and how it is told when it fails.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    operation: &'static str,
    object: String,
    value: Option<String>,
    pub(super) flags: u16,
    pub(super) message: RouteNetlinkMessage,
}

impl Request {
    /// `operation` is a verb, `object` what it is done to.
    pub(super) fn new(operation: &'static str, object: impl Display, message: RouteNetlinkMessage) -> Self {
        Self { operation, object: object.to_string(), value: None, flags: 0, message }
    }

    /// With flags such as `NLM_F_CREATE`.
    pub(super) fn with_flags(self, flags: u16) -> Self {
        Self { flags, ..self }
    }

    /// With what is to be set, for the error.
    pub(super) fn with_value(self, value: impl Display) -> Self {
        Self { value: Some(value.to_string()), ..self }
    }

    fn refused(&self, said: Option<String>, source: io::Error) -> KernelError {
        let Self { operation, object, value, .. } = self.clone();
        KernelError::Netlink { operation, object, value, said, source }
    }

    /// The error for an answer that is not as it should be.
    pub(super) fn odd(&self, detail: impl Display) -> KernelError {
        KernelError::OddAnswer {
            operation: self.operation,
            object: self.object.clone(),
            detail: detail.to_string(),
        }
    }
}

/// A socket of the network namespace that the thread was in when it was opened.
pub(super) struct Netlink {
    socket: Socket,
    sequence: Cell<u32>,
    #[cfg(test)]
    pub(super) sabotage: Cell<super::tests::Sabotage>,
}

/// Answers, and whether the list changed meanwhile.
type Answers = (Vec<RouteNetlinkMessage>, bool);

impl Netlink {
    pub(super) fn open() -> Result<Self, KernelError> {
        let open = || {
            let socket = Socket::new(NETLINK_ROUTE)?;
            // Older kernels have no words, or repeat the request: an error is then told without them.
            let _ = (socket.set_ext_ack(true), socket.set_cap_ack(true));
            Ok(socket)
        };
        let socket = open().map_err(|source| KernelError::Netlink {
            operation: "open",
            object: "a netlink socket".to_owned(),
            value: None,
            said: None,
            source,
        })?;
        Ok(Self {
            socket,
            sequence: Cell::new(0),
            #[cfg(test)]
            sabotage: Cell::default(),
        })
    }

    /// Has something done.
    pub(super) fn act(&self, request: &Request) -> Result<(), KernelError> {
        #[cfg(test)]
        super::tests::Sabotage::before_an_act(&self.sabotage)
            .map_err(|source| request.refused(None, source))?;
        self.exchange(request, NLM_F_ACK).map(|_| ())
    }

    /// Asks for one thing.
    pub(super) fn get(&self, request: &Request) -> Result<RouteNetlinkMessage, KernelError> {
        self.find(request)?.ok_or_else(|| request.odd("it is empty"))
    }

    /// Asks for one thing that the kernel may keep to itself.
    pub(super) fn find(&self, request: &Request) -> Result<Option<RouteNetlinkMessage>, KernelError> {
        let (answers, _) = self.exchange(request, NLM_F_ACK)?;
        Ok(answers.into_iter().next())
    }

    /// Asks for a list.
    pub(super) fn dump(&self, request: &Request) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        for _ in 0..ATTEMPTS {
            if let (answers, false) = self.exchange(request, NLM_F_DUMP)? {
                return Ok(answers);
            }
        }
        Err(request.odd(format!("the list changed in each of {ATTEMPTS} attempts to read it")))
    }

    fn exchange(&self, request: &Request, flags: u16) -> Result<Answers, KernelError> {
        let failed = |source| request.refused(None, source);
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        self.socket.send_to(&bytes(request, flags, sequence), &SocketAddr::new(0, 0), 0).map_err(failed)?;
        let (mut answers, mut changed) = (Vec::new(), false);
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(failed)?;
            for message in messages(&datagram) {
                let message = message.map_err(|error| request.odd(error))?;
                if message.header.sequence_number != sequence {
                    continue;
                }
                changed |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(refusal) if refusal.code.is_some() => {
                        return Err(request.refused(kernels_words(&refusal), refusal.to_io()));
                    }
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(failed(io::Error::from_raw_os_error(-done.code)));
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok((answers, changed)),
                    _ => {}
                }
            }
        }
    }
}

fn bytes(request: &Request, flags: u16, sequence: u32) -> Vec<u8> {
    let mut message = NetlinkMessage::from(request.message.clone());
    message.header.flags = NLM_F_REQUEST | flags | request.flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The messages of one datagram; an error ends them.
fn messages(
    mut datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, String>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let message = NetlinkMessage::deserialize(datagram).map_err(|error| error.to_string());
        let length = message.as_ref().map_or(datagram.len(), |message| message.header.length as usize);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The sentence that the kernel adds to some refusals.
fn kernels_words(refusal: &ErrorMessage) -> Option<String> {
    let attributes = NlasIterator::new(refusal.header.get(HEADER_BYTES..)?);
    let words = attributes.flatten().find(|attribute| attribute.kind() == KERNELS_WORDS)?;
    let words = String::from_utf8_lossy(words.value()).trim_end_matches(['\0', '.']).to_owned();
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_words_follow_the_refused_header() {
        let mut refusal = ErrorMessage::default();
        refusal.header = vec![0; HEADER_BYTES];
        assert_eq!(kernels_words(&refusal), None);
        refusal.header.extend([8, 0, 1, 0, b'N', b'o', b'.', 0]);
        assert_eq!(kernels_words(&refusal), Some("No".to_owned()));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_to_its_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            let mut refusal = ErrorMessage::default();
            refusal.header = bytes;
            let _ = kernels_words(&refusal);
        }

        /// Messages whose header is right, so that what is inside is looked at.
        #[test]
        fn any_traffic_message_is_read_or_refused(
            kind in prop_oneof![Just(16u16), Just(36), Just(40), Just(44), Just(88)],
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let length = u32::try_from(payload.len() + HEADER_BYTES).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(payload);
            prop_assert!(messages(&bytes).count() >= 1);
        }
    }
}
