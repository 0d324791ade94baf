//! One connection to the target, which has at most one request at a time.
//!
//! Never blocks. Must not know when requests are due nor which connection is used next.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket},
};

use super::{
    response::{Answer, AtEnd, ResponseParser},
    tally::{Failure, Flight, Tally},
    ticker::Ticker,
};

/// A connection, open or about to be.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    parser: ResponseParser,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// For a request that was to be sent at `intended`.
    Connecting {
        intended: u64,
        since: u64,
    },
    Writing {
        flight: Flight,
        written: usize,
    },
    Reading {
        flight: Flight,
    },
    Idle,
}

/// What all connections use.
#[derive(Debug)]
pub(super) struct Shared {
    /// The request.
    pub(super) request: Vec<u8>,
    /// What is read goes through here.
    pub(super) buffer: Box<[u8]>,
    pub(super) ticker: Ticker,
    pub(super) tally: Tally,
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until the kernel tells of it.
    Wait,
    /// It is free for a request.
    Reuse,
    /// Close it. What came of its request is counted.
    Close,
}

impl Connection {
    /// Begins to connect, for a request that was to be sent at `intended`.
    ///
    /// # Errors
    /// When that is impossible at once.
    pub(super) fn open(address: SocketAddr, to_head: bool, intended: u64, since: u64) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = TcpStream::from(socket(family, SockType::Stream, flags, None)?);
        socket.set_nodelay(true)?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let parser = ResponseParser::new(to_head);
        Ok(Self { socket, parser, phase: Phase::Connecting { intended, since } })
    }

    /// The socket, to be told of.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Since when its request waits, unless it is idle.
    pub(super) fn busy_since(&self) -> Option<u64> {
        match self.phase {
            Phase::Connecting { since, .. } => Some(since),
            Phase::Writing { flight, .. } | Phase::Reading { flight } => Some(flight.sent),
            Phase::Idle => None,
        }
    }

    /// Sends a request that was to be sent at `intended`, on an idle connection.
    pub(super) fn send(&mut self, intended: u64, shared: &mut Shared) -> Next {
        let flight = Flight { intended, sent: shared.ticker.nanos() };
        shared.tally.send(flight);
        self.phase = Phase::Writing { flight, written: 0 };
        self.write(flight, 0, shared)
    }

    /// Goes on after the kernel told of something. `ended` when it told that no more will come.
    pub(super) fn proceed(&mut self, ended: bool, shared: &mut Shared) -> Next {
        match self.phase {
            Phase::Connecting { intended, .. } => match self.socket.take_error() {
                Ok(None) if self.socket.peer_addr().is_err() => Next::Wait,
                Ok(None) => {
                    let next = self.send(intended, shared);
                    self.read_at_once(next, ended, shared)
                }
                Ok(Some(_)) | Err(_) => self.fail(Failure::Connect, shared),
            },
            Phase::Writing { flight, written } => {
                let next = self.write(flight, written, shared);
                self.read_at_once(next, ended, shared)
            }
            Phase::Reading { flight } => self.read(flight, ended, shared),
            // An idle connection has nothing to say: it ends, or sends what nobody asked for.
            Phase::Idle => match self.socket.read(&mut shared.buffer) {
                Err(error) if is_temporary(&error) && !ended => Next::Reuse,
                _ => Next::Close,
            },
        }
    }

    fn write(&mut self, flight: Flight, mut written: usize, shared: &mut Shared) -> Next {
        while written < shared.request.len() {
            match self.socket.write(&shared.request[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.phase = Phase::Writing { flight, written };
                    return Next::Wait;
                }
                Err(_) => return self.fail(Failure::Closed, shared),
            }
        }
        self.phase = Phase::Reading { flight };
        Next::Wait
    }

    /// Goes on with reading once all is written: of what came before, the kernel has told already.
    fn read_at_once(&mut self, next: Next, ended: bool, shared: &mut Shared) -> Next {
        match self.phase {
            Phase::Reading { flight } if next == Next::Wait => self.read(flight, ended, shared),
            _ => next,
        }
    }

    fn read(&mut self, flight: Flight, ended: bool, shared: &mut Shared) -> Next {
        loop {
            let length = match self.socket.read(&mut shared.buffer) {
                Ok(0) => return self.end_of_stream(flight, shared),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return self.fail(Failure::Closed, shared),
            };
            match self.parser.feed(&shared.buffer[..length]) {
                Ok(None) => {}
                Ok(Some(answer)) => return self.finish(flight, answer, ended, shared),
                Err(_) => return self.fail(Failure::Malformed, shared),
            }
            // A short read took everything: the kernel tells of what comes later.
            if length < shared.buffer.len() && !ended {
                return Next::Wait;
            }
        }
    }

    fn end_of_stream(&mut self, flight: Flight, shared: &mut Shared) -> Next {
        match self.parser.end() {
            AtEnd::Complete(answer) => self.finish(flight, answer, true, shared),
            AtEnd::Cut => self.fail(Failure::Closed, shared),
        }
    }

    fn finish(&mut self, flight: Flight, answer: Answer, ended: bool, shared: &mut Shared) -> Next {
        self.phase = Phase::Idle;
        shared.tally.answer(flight, answer.status, shared.ticker.nanos());
        if answer.keep_alive && !ended { Next::Reuse } else { Next::Close }
    }

    /// Gives the request up, if it has one.
    pub(super) fn fail(&mut self, failure: Failure, shared: &mut Shared) -> Next {
        if self.busy_since().is_some() {
            shared.tally.fail(failure, shared.ticker.nanos());
            self.phase = Phase::Idle;
        }
        Next::Close
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
