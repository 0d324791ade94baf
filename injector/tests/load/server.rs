//! A server that does as it is told, with a thread for each connection; gone when it is dropped.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use ballast_injector::clocks;

/// What is sent for a request, and what follows.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) close: bool,
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

impl Reply {
    pub(crate) fn keep(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), close: false }
    }

    pub(crate) fn close(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), close: true }
    }
}

/// Answers the request of this number (from 0) with this head.
pub(crate) type Behaviour = dyn Fn(usize, &str) -> Reply + Send + Sync;

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Box<Behaviour>,
    requests: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
    /// From when on, and until when (monotonic) nobody is answered.
    stall: Mutex<Option<(Duration, Duration)>>,
    over: AtomicBool,
}

impl Server {
    pub(crate) fn start(behaviour: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            behaviour: Box::new(behaviour),
            requests: AtomicUsize::new(0),
            connections: Mutex::default(),
            stall: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let (address, accepting) = (listener.local_addr().unwrap(), shared.clone());
        thread::spawn(move || {
            for socket in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    break;
                }
                let (socket, serving) = (socket.unwrap(), accepting.clone());
                socket.set_nodelay(true).unwrap();
                accepting.connections.lock().unwrap().push(socket.try_clone().unwrap());
                thread::spawn(move || serving.serve(socket));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Nobody is answered for so long, from that moment on.
    pub(crate) fn stall(&self, after: Duration, lasts: Duration) {
        let from = clocks::monotonic() + after;
        *self.shared.stall.lock().unwrap() = Some((from, from + lasts));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // The accepting thread looks up, and those that serve read the end.
        drop(TcpStream::connect(self.address));
        for socket in self.shared.connections.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(&self, mut socket: TcpStream) {
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = socket.read(&mut buffer) {
            received.extend_from_slice(&buffer[..length]);
            while let Some(end) = end_of_request(&received) {
                let head = String::from_utf8(received.drain(..end).collect()).unwrap();
                let reply = (self.behaviour)(self.requests.fetch_add(1, Ordering::SeqCst), &head);
                self.wait_out_stall();
                if socket.write_all(&reply.bytes).is_err() {
                    return;
                }
                if reply.close {
                    let _ = socket.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }

    fn wait_out_stall(&self) {
        let stall = *self.stall.lock().unwrap();
        if let Some((from, until)) = stall
            && clocks::monotonic() >= from
        {
            clocks::sleep_until(until);
        }
    }
}

/// Behind the first request, with its body.
fn end_of_request(received: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(received).unwrap();
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head].lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let end = head + length.map_or(0, |length| length.parse::<usize>().unwrap());
    (received.len() >= end).then_some(end)
}
