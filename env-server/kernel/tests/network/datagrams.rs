//! What a limit lets through, in frames as they arrive at the other end. Datagrams are not acknowledged, so that neither way
//! waits for the other, and each is one frame: nothing is estimated, and nothing is asked of the shaper.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::{
    rates::limit,
    stage::{CONTAINER_ADDRESS, Container, HOST_ADDRESS, NONE, mbits, on_a_limiting_host},
    transfer::{Way, now, sleep},
};

/// Ethernet's header, IP's, and UDP's.
const HEADER_BYTES: usize = 14 + 20 + 8;
/// What fills a frame of 1514 bytes.
const LARGE: usize = 1472;
const SMALL: usize = 200;
/// How far from its limit what arrives may be.
const TOLERANCE: f64 = 0.05;
/// Sent of what is allowed: more than that, and not so much more that the machine is busy with dropping it.
const EXCESS: f64 = 1.3;
/// What a receiver may be late by, on a busy machine.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// Datagrams from one end to the other, some more than the limit, until dropped.
struct Flood {
    way: Way,
    asked: f64,
    /// Bytes of frames.
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(container: &Container, way: Way, mbit: f64, payload: usize) -> Self {
        let at = |address: &str| UdpSocket::bind((address, 0)).unwrap();
        let (host, inside) = (at(HOST_ADDRESS), container.inside(|| at(CONTAINER_ADDRESS)));
        let (sender, receiver) = if way == Way::Egress { (inside, host) } else { (host, inside) };
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        setsockopt(&receiver, RcvBufForce, &RECEIVE_BUFFER_BYTES).unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (received, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let sending = thread::spawn({
            let stop = Arc::clone(&stop);
            move || send(&sender, mbit * 1e6 * EXCESS, payload, &stop)
        });
        let receiving = thread::spawn({
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            move || receive(&receiver, &received, &stop)
        });
        Self { way, asked: mbit * 1e6, received, stop, threads: vec![sending, receiving] }
    }

    /// Of what was asked for.
    #[expect(clippy::cast_precision_loss, reason = "bytes of some seconds")]
    fn share(&self, before: u64, after: u64, elapsed: Duration) -> f64 {
        (after - before) as f64 * 8.0 / elapsed.as_secs_f64() / self.asked
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// As many as are due by now, then a rest; without one where the limit makes the sender wait.
#[expect(clippy::cast_precision_loss, reason = "frames of some seconds")]
fn send(socket: &UdpSocket, bits_per_second: f64, payload: usize, stop: &AtomicBool) {
    let (began, mut sent) = (now(), 0_u64);
    let frame_bits = ((payload + HEADER_BYTES) * 8) as f64;
    let data = [0; LARGE];
    while !stop.load(Ordering::SeqCst) {
        if sent as f64 * frame_bits < began.elapsed().as_secs_f64() * bits_per_second {
            // One that a full queue refuses is dropped as well.
            let _ = socket.send(&data[..payload]);
            sent += 1;
        } else {
            sleep(Duration::from_millis(1));
        }
    }
}

fn receive(socket: &UdpSocket, received: &AtomicU64, stop: &AtomicBool) {
    let mut buffer = [0; LARGE];
    while !stop.load(Ordering::SeqCst) {
        if let Ok(payload) = socket.recv(&mut buffer) {
            received.fetch_add((payload + HEADER_BYTES) as u64, Ordering::SeqCst);
        }
    }
}

/// What was asked for arrives, within [`TOLERANCE`], of every flood at once. On a loaded machine it may be less for a while,
/// never more: as often as it takes, at most eight times.
fn assert_all_arrive_as_asked(floods: &[Flood]) {
    // What may be sent at once at first is over by then.
    sleep(Duration::from_millis(500));
    let counts = || floods.iter().map(|flood| flood.received.load(Ordering::SeqCst)).collect::<Vec<_>>();
    let mut seen = Vec::new();
    for _ in 0..8 {
        let (began, before) = (now(), counts());
        sleep(Duration::from_secs(2));
        let (elapsed, after) = (began.elapsed(), counts());
        let ends = floods.iter().zip(before).zip(after);
        let shares: Vec<_> =
            ends.map(|((flood, before), after)| flood.share(before, after, elapsed)).collect();
        seen.push(shares.clone());
        assert!(shares.iter().all(|share| *share <= 1.0 + TOLERANCE), "more than asked: {seen:?}");
        if shares.iter().all(|share| *share >= 1.0 - TOLERANCE) {
            for (Flood { way, asked, .. }, share) in floods.iter().zip(shares) {
                let (asked, got) = (asked / 1e6, asked * share / 1e6);
                println!(
                    "{way:?}: asked {asked} Mbit/s, {got:.3} of frames arrived ({:+.2} %)",
                    (share - 1.0) * 100.0
                );
            }
            return;
        }
    }
    panic!("less than asked: {seen:?}");
}

#[test]
fn frames_arrive_at_the_rate_asked_for_each_way() {
    on_a_limiting_host("frames_arrive_at_the_rate_asked_for_each_way", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        // Of small frames, a sixth is headers: they count. Each costs time, and without hardware support a lot: TCP is
        // for higher rates.
        for (mbit, payload) in [(2.0, SMALL), (10.0, LARGE), (50.0, LARGE)] {
            for way in Way::BOTH {
                control.set_limit(limit(way, mbit)).unwrap();
                let flood = Flood::start(&container, way, mbit, payload);
                assert_all_arrive_as_asked(&[flood]);
                control.set_limit(NONE).unwrap();
            }
        }
    });
}

#[test]
fn both_ways_at_once_each_have_their_own_rate() {
    on_a_limiting_host("both_ways_at_once_each_have_their_own_rate", || {
        // As Docker makes them.
        let container = Container::with_network("host0", 0);
        let control = container.control();
        control.set_limit(mbits(12.0, 20.0)).unwrap();
        let flood = |way, mbit| Flood::start(&container, way, mbit, LARGE);
        assert_all_arrive_as_asked(&[flood(Way::Egress, 12.0), flood(Way::Ingress, 20.0)]);
    });
}
