//! The connections: which one is free, and which one the kernel tells of.
//!
//! Bounded by their number. Must not know when requests are due.

use std::{io, os::fd::AsFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::connection::Connection;

/// How many events are taken at once.
const EVENTS: usize = 256;

/// The alarm's number; no connection's, whose generations and slots are smaller.
const ALARM: u64 = u64::MAX;

/// All connections.
#[derive(Debug)]
pub(super) struct Pool {
    epoll: Epoll,
    events: Box<[EpollEvent]>,
    slots: Vec<Slot>,
    /// Slots of idle connections. The one used last is used next, so that few are kept warm where few suffice.
    idle: Vec<u32>,
    /// Slots without connection.
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Tells the connection from those that were in the slot before.
    generation: u32,
    connection: Option<Connection>,
}

impl Pool {
    /// Room for so many connections. `alarm` ends a wait too.
    pub(super) fn new(connections: u32, alarm: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(alarm, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, ALARM))?;
        Ok(Self {
            epoll,
            events: vec![EpollEvent::empty(); EVENTS].into(),
            slots: (0..connections).map(|_| Slot::default()).collect(),
            idle: Vec::new(),
            free: (0..connections).rev().collect(),
        })
    }

    /// A connection that can take a request.
    pub(super) fn take_idle(&mut self) -> Option<u32> {
        self.idle.pop()
    }

    /// Whether another connection may be opened.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether no request can be taken.
    pub(super) fn is_exhausted(&self) -> bool {
        self.idle.is_empty() && self.free.is_empty()
    }

    /// Puts a new connection into a free slot, and has the kernel tell of it.
    pub(super) fn add(&mut self, connection: Connection) -> io::Result<()> {
        let slot = self.free.pop().ok_or_else(|| io::Error::other("no room"))?;
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1) & (u32::MAX >> 1);
        let key = u64::from(place.generation) << 32 | u64::from(slot);
        // Told of every change once: nothing has to be asked for anew while a request is under way.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let added = self.epoll.add(connection.socket(), EpollEvent::new(flags, key));
        if added.is_ok() {
            place.connection = Some(connection);
        } else {
            self.free.push(slot);
        }
        Ok(added?)
    }

    /// The connection in a slot.
    pub(super) fn at(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots[slot as usize].connection.as_mut()
    }

    /// The connection in a slot can take a request.
    pub(super) fn set_idle(&mut self, slot: u32) {
        self.idle.push(slot);
    }

    /// The connection in a slot, idle until now, is looked at: it is not, for the time being.
    pub(super) fn set_busy(&mut self, slot: u32) {
        self.idle.retain(|other| *other != slot);
    }

    /// Closes the connection in a slot.
    pub(super) fn close(&mut self, slot: u32) {
        if self.slots[slot as usize].connection.take().is_some() {
            self.free.push(slot);
        }
    }

    /// The slots with a connection.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (u32, &Connection)> {
        (0_u32..).zip(&self.slots).filter_map(|(slot, place)| Some((slot, place.connection.as_ref()?)))
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.free.len() + self.idle.len() < self.slots.len()
    }

    /// Waits until something happens, or only looks when it may not wait; answers how many events there are.
    pub(super) fn wait(&mut self, may_wait: bool) -> io::Result<usize> {
        let timeout = if may_wait { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => Ok(count),
            Err(nix::errno::Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// One of the last wait's events, when it concerns a connection that is still there: its slot, and whether no more
    /// will come from the other side.
    pub(super) fn event(&self, index: usize) -> Option<(u32, bool)> {
        let event = self.events.get(index)?;
        let key = event.data();
        let slot = u32::try_from(key & u64::from(u32::MAX)).ok()?;
        let place = self.slots.get(slot as usize)?;
        let is_there = place.connection.is_some() && key >> 32 == u64::from(place.generation);
        let over = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        is_there.then(|| (slot, event.events().intersects(over)))
    }
}
