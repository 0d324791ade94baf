//! TCP between the host and a container, as much as goes, one way at a time; counted where it is received.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ballast_kernel::CgroupPath;
use tokio::time::sleep;

use crate::support::hierarchy;

/// Of a full-size frame of 1514 bytes, 1448 are TCP's payload.
const PAYLOAD_SHARE: f64 = 1448.0 / 1514.0;
/// So that a thread looks up now and then.
const PATIENCE: Option<Duration> = Some(Duration::from_millis(100));

/// Two ports of the host. A container keeps a connection to each, and it moves something only while the test has taken it.
pub(crate) struct Ports {
    /// Takes what the container sends.
    egress: TcpListener,
    /// Sends to the container.
    ingress: TcpListener,
}

impl Ports {
    /// On the host of this thread.
    pub(crate) fn open(address: &str) -> Self {
        let listen = || {
            let port = TcpListener::bind((address, 0)).unwrap();
            port.set_nonblocking(true).unwrap();
            port
        };
        Self { egress: listen(), ingress: listen() }
    }

    /// What a container runs.
    pub(crate) fn script(&self) -> String {
        let [egress, ingress] = [&self.egress, &self.ingress].map(|port| port.local_addr().unwrap());
        let connect = |to: std::net::SocketAddr| format!("nc {} {}", to.ip(), to.port());
        let (egress, ingress) = (connect(egress), connect(ingress));
        format!("while :; do {egress} </dev/zero; done & while :; do {ingress} </dev/null >/dev/null; done &")
    }

    /// From the container to the host, until dropped.
    pub(crate) async fn egress(&self) -> Transfer {
        Transfer::start(accept(&self.egress).await, |mut stream, moved, stop| {
            let mut buffer = [0; 65_536];
            while !stop.load(Ordering::SeqCst) {
                let bytes = stream.read(&mut buffer).unwrap_or(0);
                moved.fetch_add(bytes as u64, Ordering::SeqCst);
            }
        })
    }

    /// From the host to the container, until dropped.
    pub(crate) async fn ingress(&self) -> Transfer {
        Transfer::start(accept(&self.ingress).await, |mut stream, moved, stop| {
            let data = [0; 65_536];
            while !stop.load(Ordering::SeqCst) {
                let bytes = stream.write(&data).unwrap_or(0);
                moved.fetch_add(bytes as u64, Ordering::SeqCst);
            }
        })
    }

    /// What the container's end of [`Self::ingress`] has read: bytes of payload.
    pub(crate) fn received_in(&self, container: &CgroupPath) -> u64 {
        let port = self.ingress.local_addr().unwrap().port().to_string();
        let pids = fs::read_to_string(hierarchy().cpu_folder(container).join("cgroup.procs")).unwrap();
        let is_it = |pid: &&str| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words[0] == b"nc" && words.contains(&port.as_bytes())
        };
        let pid = pids.lines().find(is_it).expect("it is connected");
        let counted = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let read = counted.lines().find_map(|line| line.strip_prefix("rchar: "));
        read.unwrap().parse().unwrap()
    }
}

/// The container's connection, which it may take a moment to make.
async fn accept(port: &TcpListener) -> TcpStream {
    for _ in 0..1000 {
        if let Ok((stream, _)) = port.accept() {
            return stream;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the container does not connect to {:?}", port.local_addr());
}

/// Bits on the wire that so many bytes of payload took, in full-size frames.
pub(crate) fn on_the_wire(payload: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "megabytes of a test")]
    let bits = payload as f64 * 8.0;
    bits / PAYLOAD_SHARE
}

/// A connection that carries as much as it can.
pub(crate) struct Transfer {
    moved: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Transfer {
    fn start(
        stream: TcpStream,
        work: impl FnOnce(TcpStream, &AtomicU64, &AtomicBool) + Send + 'static,
    ) -> Self {
        stream.set_read_timeout(PATIENCE).unwrap();
        stream.set_write_timeout(PATIENCE).unwrap();
        let (moved, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (moved, stop) = (moved.clone(), stop.clone());
            move || work(stream, &moved, &stop)
        });
        Self { moved, stop, thread: Some(thread) }
    }

    /// Bytes of payload that the host took or gave.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::SeqCst)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
