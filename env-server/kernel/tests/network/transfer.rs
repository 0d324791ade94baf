//! TCP between a host and its container: as much as goes, for some seconds.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ballast_api::EgressIngress;
use ballast_kernel::{
    NetworkControl,
    network::{self, NetworkCounters},
};

use crate::stage::{CONTAINER_ADDRESS, Container, HOST_ADDRESS, run};

/// Slow start is over by then, and the first burst is spent.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Egress,
    Ingress,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Egress, Self::Ingress];

    pub(crate) fn of<T>(self, both: EgressIngress<T>) -> T {
        match self {
            Self::Egress => both.egress,
            Self::Ingress => both.ingress,
        }
    }
}

/// Bits per second, of three kinds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Achieved {
    /// What HTB let pass: frames as they would be on a wire. Zero without a limit.
    pub(crate) wire: f64,
    /// By the interface's counters.
    pub(crate) interface: f64,
    /// TCP's payload, as received.
    pub(crate) goodput: f64,
}

#[expect(clippy::disallowed_methods, reason = "rates are measured over real time")]
pub(crate) fn sleep(time: Duration) {
    thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "rates are measured over real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A TCP connection that carries as much as it can, until dropped.
pub(crate) struct Transfer {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Transfer {
    pub(crate) fn start(container: &Container, way: Way) -> Self {
        let listen = |address: &'static str| TcpListener::bind((address, 0)).unwrap();
        let listener = match way {
            Way::Egress => listen(HOST_ADDRESS),
            Way::Ingress => container.inside(|| listen(CONTAINER_ADDRESS)),
        };
        let address = listener.local_addr().unwrap();
        let connect = || TcpStream::connect(address).unwrap();
        let sender = match way {
            Way::Egress => container.inside(connect),
            Way::Ingress => connect(),
        };
        let (receiver, _) = listener.accept().unwrap();
        let (received, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let sending = thread::spawn({
            let stop = Arc::clone(&stop);
            move || send(sender, &stop)
        });
        let receiving = thread::spawn({
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            move || receive(receiver, &received, &stop)
        });
        Self { received, stop, threads: vec![sending, receiving] }
    }

    /// What is achieved over `time`, on the container's interface.
    pub(crate) fn measure(&self, control: &NetworkControl, way: Way, time: Duration) -> Achieved {
        sleep(WARM_UP);
        let before = self.sample(control, way);
        sleep(time);
        let after = self.sample(control, way);
        let elapsed = after.at - before.at;
        #[expect(clippy::cast_precision_loss, reason = "bytes of some seconds")]
        let rate = |before: u64, after: u64| (after - before) as f64 * 8.0 / elapsed.as_secs_f64();
        let interface = network::rates(&before.counters, &after.counters, elapsed).unwrap();
        Achieved {
            wire: rate(before.wire, after.wire),
            interface: way.of(interface).get(),
            goodput: rate(before.received, after.received),
        }
    }

    /// The counters just before something arrives, with the moment of that. What is sent at once (up to 64 KiB, half a
    /// second at 1 Mbit/s) is paid for after it was sent, so that what is sent from one arrival until just before another
    /// takes exactly the time between them.
    fn sample(&self, control: &NetworkControl, way: Way) -> Sample {
        let mut sample = self.counters(control, way);
        // Where arrivals are dense, there is always one meanwhile, and it does not matter.
        for _ in 0..5 {
            if self.received.load(Ordering::SeqCst) == sample.received {
                break;
            }
            sample = self.counters(control, way);
        }
        let deadline = now() + Duration::from_secs(3);
        while self.received.load(Ordering::SeqCst) == sample.received && now() < deadline {
            sleep(Duration::from_micros(200));
        }
        Sample { at: now(), ..sample }
    }

    fn counters(&self, control: &NetworkControl, way: Way) -> Sample {
        let received = self.received.load(Ordering::SeqCst);
        Sample { at: now(), counters: control.counters().unwrap(), wire: sent_by_htb(control, way), received }
    }
}

struct Sample {
    at: Instant,
    counters: NetworkCounters,
    wire: u64,
    received: u64,
}

impl Drop for Transfer {
    /// The receiver closes while data comes, which makes the kernel reset the connection: nothing of it is sent any more.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// So that a thread looks up now and then, however low the limit.
const PATIENCE: Option<Duration> = Some(Duration::from_millis(100));

fn send(mut stream: TcpStream, stop: &AtomicBool) {
    stream.set_write_timeout(PATIENCE).unwrap();
    let data = [0; 65_536];
    while !stop.load(Ordering::SeqCst) {
        let _ = stream.write(&data);
    }
}

fn receive(mut stream: TcpStream, received: &AtomicU64, stop: &AtomicBool) {
    stream.set_read_timeout(PATIENCE).unwrap();
    let mut buffer = [0; 65_536];
    while !stop.load(Ordering::SeqCst) {
        let bytes = stream.read(&mut buffer).unwrap_or(0);
        received.fetch_add(bytes as u64, Ordering::SeqCst);
    }
}

/// Bytes that the HTB for one direction let pass.
pub(crate) fn sent_by_htb(control: &NetworkControl, way: Way) -> u64 {
    let index = control.interface().index;
    let links = run("ip", "-o link show");
    let device = match way {
        Way::Egress => format!("ballast{index:x}"),
        Way::Ingress => {
            let line = links.lines().find(|line| line.starts_with(&format!("{index}:"))).unwrap();
            line.split([':', '@']).nth(1).unwrap().trim().to_owned()
        }
    };
    if !links.contains(&device) {
        return 0;
    }
    let classes = run("tc", &format!("-s class show dev {device}"));
    let sent = classes.split_whitespace().skip_while(|word| *word != "Sent").nth(1);
    sent.map_or(0, |bytes| bytes.parse().unwrap())
}
