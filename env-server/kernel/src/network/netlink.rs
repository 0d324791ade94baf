//! Requests to the kernel's routing netlink, on a blocking socket.
//!
//! The kernel answers while the request is being sent, so nothing is ever waited for. Must not know what is asked.

use std::{
    cell::{Cell, RefCell},
    fmt::Display,
    io, slice,
};

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::MsgFlags;

use crate::error::KernelError;

/// How often a list is asked for that changed while it was read.
const ATTEMPTS: u32 = 10;

/// Before the kernel's own words in a refusal: the header of the request refused.
const HEADER_BYTES: usize = 16;
/// `NLMSGERR_ATTR_MSG`.
const KERNELS_WORDS: u16 = 1;

/// The kernel's answers are shorter: it fills at most 32 KiB of a list at once, and nothing else is as long.
const LONGEST_DATAGRAM_BYTES: usize = 65_536;

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
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    port: u32,
    sequence: Cell<u32>,
    buffer: RefCell<Vec<u8>>,
    broken: Cell<bool>,
    #[cfg(test)]
    pub(super) sabotage: Cell<super::tests::Sabotage>,
}

/// Answers, and whether the list changed meanwhile.
type Answers = (Vec<RouteNetlinkMessage>, bool);

/// The error for a socket that cannot be had or read.
pub(super) fn no_socket(operation: &'static str) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::Netlink {
        operation,
        object: "a netlink socket".to_owned(),
        value: None,
        said: None,
        source,
    }
}

impl Netlink {
    pub(super) fn open() -> Result<Self, KernelError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            // Older kernels have no words, or repeat the request: an error is then told without them.
            let _ = (socket.set_ext_ack(true), socket.set_cap_ack(true));
            let port = socket.bind_auto()?.port_number();
            Ok((socket, port))
        };
        let (socket, port) = open().map_err(no_socket("open"))?;
        Ok(Self {
            socket,
            port,
            sequence: Cell::new(0),
            buffer: RefCell::default(),
            broken: Cell::new(false),
            #[cfg(test)]
            sabotage: Cell::default(),
        })
    }

    /// By which the kernel tells what was asked for here from what others ask for.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Whether the socket itself failed: another one may do.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Has something done.
    pub(super) fn act(&self, request: &Request) -> Result<(), KernelError> {
        #[cfg(test)]
        super::tests::Sabotage::before_an_act(&self.sabotage)
            .map_err(|source| request.refused(None, source))?;
        self.exchange(slice::from_ref(request), NLM_F_ACK).map(|_| ())
    }

    /// Has all of this done in one go, and answers what the kernel says of the things changed, as they are then.
    pub(super) fn act_together(&self, requests: &[Request]) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        #[cfg(test)]
        for (index, request) in requests.iter().enumerate() {
            if let Err(source) = super::tests::Sabotage::before_an_act(&self.sabotage) {
                self.exchange(&requests[..index], NLM_F_ACK)?;
                return Err(request.refused(None, source));
            }
        }
        Ok(self.exchange(requests, NLM_F_ACK | NLM_F_ECHO)?.0)
    }

    /// Asks for one thing.
    pub(super) fn get(&self, request: &Request) -> Result<RouteNetlinkMessage, KernelError> {
        self.find(request)?.ok_or_else(|| request.odd("it is empty"))
    }

    /// Asks for one thing that the kernel may keep to itself.
    pub(super) fn find(&self, request: &Request) -> Result<Option<RouteNetlinkMessage>, KernelError> {
        let (answers, _) = self.exchange(slice::from_ref(request), NLM_F_ACK)?;
        Ok(answers.into_iter().next())
    }

    /// Asks for a list.
    pub(super) fn dump(&self, request: &Request) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        for _ in 0..ATTEMPTS {
            if let (answers, false) = self.exchange(slice::from_ref(request), NLM_F_DUMP)? {
                return Ok(answers);
            }
        }
        Err(request.odd(format!("the list changed in each of {ATTEMPTS} attempts to read it")))
    }

    /// Sends requests in one datagram, and reads until the last one is answered. The first refusal is the error.
    fn exchange(&self, requests: &[Request], flags: u16) -> Result<Answers, KernelError> {
        let Some(last) = requests.last() else { return Ok(Answers::default()) };
        let failed = |source| {
            self.broken.set(true);
            last.refused(None, source)
        };
        let first = self.sequence.get().wrapping_add(1);
        self.socket.send_to(&self.bytes(requests, flags), &SocketAddr::new(0, 0), 0).map_err(failed)?;
        let (mut answers, mut changed, mut refusal) = (Vec::new(), false, None);
        let mut buffer = self.buffer.borrow_mut();
        loop {
            receive(&self.socket, &mut buffer, MsgFlags::empty()).map_err(failed)?;
            for message in messages(&buffer) {
                let message = message.map_err(|error| last.odd(error))?;
                let number = message.header.sequence_number.wrapping_sub(first);
                let Some(request) = requests.get(number as usize) else { continue };
                changed |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => {
                        answers.push(answer);
                        continue;
                    }
                    NetlinkPayload::Error(refused) if refused.code.is_some() => {
                        let words = kernels_words(&refused);
                        refusal = refusal.or(Some(request.refused(words, refused.to_io())));
                    }
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        let source = io::Error::from_raw_os_error(-done.code);
                        refusal = refusal.or(Some(request.refused(None, source)));
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => {}
                    _ => continue,
                }
                // A request before the last one is heard of again only when it is refused.
                if number as usize + 1 == requests.len() {
                    return refusal.map_or(Ok((answers, changed)), Err);
                }
            }
        }
    }

    /// One message for each request. Only the last one is acknowledged: the kernel works in this order.
    fn bytes(&self, requests: &[Request], flags: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let is_last = index + 1 == requests.len();
            self.sequence.set(self.sequence.get().wrapping_add(1));
            let mut message = NetlinkMessage::from(request.message.clone());
            let flags = if is_last { flags } else { flags & !NLM_F_ACK };
            message.header.flags = NLM_F_REQUEST | flags | request.flags;
            message.header.sequence_number = self.sequence.get();
            message.finalize();
            let (start, length) = (bytes.len(), message.buffer_len());
            bytes.resize(start + length.next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..start + length]);
        }
        bytes
    }
}

/// Reads one datagram in place of what is in `buffer`.
pub(super) fn receive(socket: &Socket, buffer: &mut Vec<u8>, flags: MsgFlags) -> io::Result<()> {
    buffer.clear();
    buffer.reserve(LONGEST_DATAGRAM_BYTES);
    let length = socket.recv(buffer, (flags | MsgFlags::MSG_TRUNC).bits())?;
    if length > buffer.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a datagram of {length} bytes")));
    }
    Ok(())
}

/// The messages of one datagram; an error ends them.
pub(super) fn messages(
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
