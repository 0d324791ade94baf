//! What travels between host and container, measured at its ends.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ballast_injector::clocks;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::stage::{CONTAINER_ADDRESS, HOST_ADDRESS, Scene};

const ECHO_PORT: u16 = 7007;

/// On a busy machine a thread may be late: what comes meanwhile is not lost.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;

/// Between two datagrams of a shower.
const APART: Duration = Duration::from_micros(200);

/// Nothing more is on its way after such a time without any.
const QUIET: Duration = Duration::from_secs(1);

/// Of TCP's data in a full frame with its Ethernet header, as limits count.
pub(crate) const TCP_SHARE: f64 = 1448.0 / 1514.0;

#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Container,
    Host,
}

/// The rate at which TCP's data arrives, in bits per second, over so long, after half a second.
pub(crate) fn tcp_rate(scene: &Scene, to: To, time: Duration) -> f64 {
    let listen = |address: &str| TcpListener::bind((address, 0)).unwrap();
    let (listener, address) = match to {
        To::Container => (scene.inside(|| listen(CONTAINER_ADDRESS)), CONTAINER_ADDRESS),
        To::Host => (listen(HOST_ADDRESS), HOST_ADDRESS),
    };
    let port = listener.local_addr().unwrap().port();
    let connect = || TcpStream::connect((address, port)).unwrap();
    let mut sender = match to {
        To::Container => connect(),
        To::Host => scene.inside(connect),
    };
    let (mut receiver, _) = listener.accept().unwrap();
    // Else what the sockets hold would have to arrive after the end.
    sender.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let block = vec![0; 65_536];
            while !over.load(Ordering::Relaxed) {
                match sender.write(&block) {
                    Err(error) if !is_timeout(&error) => break,
                    _ => {}
                }
            }
        });
        let mut received = |until: Duration| {
            let (mut bytes, mut block) = (0, vec![0; 65_536]);
            while clocks::monotonic() < until {
                match receiver.read(&mut block) {
                    Ok(length) => bytes += length,
                    Err(error) => assert!(is_timeout(&error), "{error}"),
                }
            }
            bytes
        };
        received(clocks::monotonic() + Duration::from_millis(500));
        let begin = clocks::monotonic();
        let bytes = received(begin + time);
        let took = clocks::monotonic() - begin;
        over.store(true, Ordering::Relaxed);
        drop(receiver);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let bits = 8.0 * bytes as f64;
        bits / took.as_secs_f64()
    })
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A UDP socket of the host that talks to one of the container, which sends everything back.
pub(crate) struct Echo<'a> {
    host: UdpSocket,
    over: &'a AtomicBool,
}

/// How a number of datagrams fared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fared {
    pub(crate) sent: u32,
    /// By the container.
    pub(crate) received: u32,
    /// By the host again.
    pub(crate) returned: u32,
}

impl Fared {
    /// The share that is lost on the way there, and on the way back.
    pub(crate) fn lost(&self) -> (f64, f64) {
        let share = |of: u32, got: u32| 1.0 - f64::from(got) / f64::from(of);
        (share(self.sent, self.received), share(self.received, self.returned))
    }
}

/// Does something with an echo at the other end, and answers how many datagrams that received.
pub(crate) fn with_echo<T>(scene: &Scene, work: impl FnOnce(&Echo<'_>) -> T) -> (T, u32) {
    let over = AtomicBool::new(false);
    let echo = scene.inside(|| UdpSocket::bind((CONTAINER_ADDRESS, ECHO_PORT)).unwrap());
    echo.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    setsockopt(&echo, RcvBufForce, &RECEIVE_BUFFER_BYTES).unwrap();
    let host = UdpSocket::bind((HOST_ADDRESS, 0)).unwrap();
    setsockopt(&host, RcvBufForce, &RECEIVE_BUFFER_BYTES).unwrap();
    host.connect((CONTAINER_ADDRESS, ECHO_PORT)).unwrap();
    thread::scope(|scope| {
        let echoing = scope.spawn(|| {
            let (mut received, mut datagram) = (0, [0; 2048]);
            while !over.load(Ordering::Relaxed) {
                if let Ok((length, from)) = echo.recv_from(&mut datagram) {
                    received += 1;
                    let _ = echo.send_to(&datagram[..length], from);
                }
            }
            received
        });
        // Ends the thread also when `work` panics.
        let link = Echo { host, over: &over };
        let done = work(&link);
        drop(link);
        (done, echoing.join().unwrap())
    })
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Echo<'_> {
    /// How long one datagram takes there and back; absent when it does not come back within `patience`.
    pub(crate) fn round_trip(&self, number: u32, patience: Duration) -> Option<Duration> {
        self.host.set_read_timeout(Some(patience)).unwrap();
        let sent = clocks::monotonic();
        self.host.send(&number.to_ne_bytes()).unwrap();
        let mut answer = [0; 4];
        while self.host.recv(&mut answer).is_ok() {
            if answer == number.to_ne_bytes() {
                return Some(clocks::monotonic() - sent);
            }
        }
        None
    }

    /// Sends so many one after the other, and counts what comes back. Who is late does not hurry afterwards, and the end is
    /// when nothing has come for a while: on a busy machine both ends would lose more than what is asked for.
    fn shower(&self, number: u32) -> u32 {
        self.host.set_nonblocking(true).unwrap();
        let mut returned = 0;
        for datagram in 0..number {
            self.host.send(&datagram.to_ne_bytes()).unwrap();
            clocks::sleep_until(clocks::monotonic() + APART);
            returned += self.returned();
        }
        loop {
            clocks::sleep_until(clocks::monotonic() + QUIET);
            match self.returned() {
                0 => break,
                late => returned += late,
            }
        }
        self.host.set_nonblocking(false).unwrap();
        returned
    }

    /// How many have come back meanwhile.
    fn returned(&self) -> u32 {
        let mut answer = [0; 4];
        (0..).take_while(|_| self.host.recv(&mut answer).is_ok()).count().try_into().unwrap()
    }
}

/// Round trips one after the other, sorted.
pub(crate) fn round_trips(scene: &Scene, number: u32) -> Vec<Duration> {
    let (mut times, _) = with_echo(scene, |echo| {
        // The first one waits for the addresses to be resolved.
        echo.round_trip(u32::MAX, Duration::from_secs(5)).unwrap();
        (0..number).map(|at| echo.round_trip(at, Duration::from_secs(5)).unwrap()).collect::<Vec<_>>()
    });
    times.sort_unstable();
    times
}

/// Sends so many datagrams there and back.
pub(crate) fn shower(scene: &Scene, sent: u32) -> Fared {
    let (returned, received) = with_echo(scene, |echo| echo.shower(sent));
    Fared { sent, received, returned }
}
