//! How many connections each peer has, so that a few cannot keep the others out.
//!
//! Must not know what is done on a connection.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;

/// Connections of one peer at a time, where there is room.
pub(super) const PER_PEER: usize = 64;

/// How many connections each peer, an address or a network, has. Holds nobody who has none.
#[derive(Debug)]
pub(super) struct Peers {
    connections: Mutex<HashMap<IpAddr, usize>>,
    open: Gauge,
}

impl Peers {
    /// Shows in `open` how many there are of all.
    pub(super) fn new(open: Gauge) -> Self {
        Self { connections: Mutex::default(), open }
    }

    /// A place for one more connection of `ip`, where `free` places are left beside it. Nobody may have more of them than
    /// they leave free: so somebody who has none finds one, however many those who have some ask for.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr, free: usize) -> Option<Place> {
        let mut peers = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = peers.entry(ip).or_default();
        if *connections > 0 && *connections >= PER_PEER.min(free) {
            return None;
        }
        *connections += 1;
        self.open.inc();
        Some(Place { peers: Arc::clone(self), ip })
    }
}

/// One connection of a peer, as long as it lasts.
pub(super) struct Place {
    peers: Arc<Peers>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.peers.open.dec();
        let mut peers = self.peers.connections.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get_mut(&self.ip) {
            Some(connections) if *connections > 1 => *connections -= 1,
            _ => _ = peers.remove(&self.ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_peers_leave_room_for_others() {
        const PLACES: usize = 256;
        let peers = Arc::new(Peers::new(Gauge::default()));
        let ip = |i: u8| IpAddr::from([10, 0, 0, i]);
        let mut held = Vec::new();
        let mut enter = |i: u8| {
            let place = peers.enter(ip(i), PLACES - held.len() - 1);
            place.map(|place| held.push(place)).is_some()
        };
        // One alone has its bound, and many together do not have everything.
        assert_eq!((0..100).filter(|_| enter(0)).count(), PER_PEER);
        for round in 0..100 {
            for i in 1..10 {
                enter(i);
            }
            assert!(round > 0 || enter(99), "the first round leaves room");
        }
        assert!(held.len() < PLACES - 10, "{}", held.len());
        assert_eq!(peers.open.get(), i64::try_from(held.len()).unwrap());
        held.clear();
        assert_eq!((peers.open.get(), peers.connections.lock().unwrap().len()), (0, 0));
    }
}
