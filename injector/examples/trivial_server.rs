//! The least that a server can do: one thread, which answers a fixed 200 to every request without a body.
//!
//! For `scripts/load-check`: what is measured against it is the load generator. Must not know who asks.
//!
//! Usage: `trivial_server [MICROSECONDS]`: the CPU time to spend on each request beside the kernel's own [default: 0]. Prints
//! its address, and ends when its standard input does.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    time::Duration,
};

use ballast_injector::clocks;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

const LISTENER: u64 = 0;
const STDIN: u64 = 1;

/// A client, and how much of the end of a head it has sent.
struct Client {
    socket: TcpStream,
    matched: usize,
}

impl Client {
    /// Answers what has come, after so much work each; false when the client is gone, or does not read its answers.
    fn serve(&mut self, buffer: &mut [u8], work: Duration) -> bool {
        let length = match self.socket.read(buffer) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        for byte in &buffer[..length] {
            self.matched = if *byte == END_OF_HEAD[self.matched] {
                self.matched + 1
            } else {
                usize::from(*byte == END_OF_HEAD[0])
            };
            if self.matched == END_OF_HEAD.len() {
                self.matched = 0;
                burn(work);
                if self.socket.write_all(ANSWER).is_err() {
                    return false;
                }
            }
        }
        true
    }
}

fn burn(work: Duration) {
    if !work.is_zero() {
        let end = clocks::thread_cpu() + work;
        while clocks::thread_cpu() < end {}
    }
}

fn main() -> io::Result<()> {
    let micros = std::env::args().nth(1).map_or(Ok(0), |text| text.parse());
    let micros = micros.map_err(|_| io::Error::other("usage: trivial_server [MICROSECONDS]"))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let stdin = io::stdin();
    epoll.add(stdin.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, STDIN))?;
    serve(&listener, &epoll, Duration::from_micros(micros))
}

fn serve(listener: &TcpListener, epoll: &Epoll, work: Duration) -> io::Result<()> {
    let (mut clients, mut next_key) = (HashMap::new(), STDIN + 1);
    let mut buffer = vec![0; 16 << 10];
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => 0,
            result => result?,
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => {
                    while let Ok((socket, _)) = listener.accept() {
                        socket.set_nonblocking(true)?;
                        socket.set_nodelay(true)?;
                        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, next_key))?;
                        clients.insert(next_key, Client { socket, matched: 0 });
                        next_key += 1;
                    }
                }
                STDIN => {
                    if nix::unistd::read(io::stdin().as_fd(), &mut buffer).is_ok_and(|length| length == 0) {
                        return Ok(());
                    }
                }
                key => {
                    if clients.get_mut(&key).is_some_and(|client| !client.serve(&mut buffer, work)) {
                        clients.remove(&key);
                    }
                }
            }
        }
    }
}
