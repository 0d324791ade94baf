//! The connection to the host's network namespace, and what is known of it.
//!
//! What was seen is remembered until the kernel tells of a change: looking again costs one call, not eight questions. Must
//! not know what is wanted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    found::Found,
    interface::Interface,
    netlink::Netlink,
    news::{Heard, News},
};
use crate::error::KernelError;

/// So many containers are remembered at most; with more, all are forgotten now and then.
const MOST_KNOWN: usize = 4096;

/// The network namespace of the thread that first uses it; opened then, and again after its sockets fail. Clones are the
/// same, and may be used from any thread.
#[derive(Debug, Clone, Default)]
pub struct Host(Arc<Mutex<Option<Connection>>>);

/// An open one.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) netlink: Netlink,
    news: News,
    is_deaf: bool,
    known: BTreeMap<Interface, Found>,
}

impl Host {
    /// Does something with the connection.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that what panics meanwhile leaves none.
        let mut connection = kept.take().map_or_else(Connection::open, Ok)?;
        let done = work(&mut connection);
        if !connection.netlink.is_broken() && !connection.is_deaf {
            *kept = Some(connection);
        }
        done
    }
}

impl Connection {
    fn open() -> Result<Self, KernelError> {
        // In this order: nothing that is looked at changes unheard.
        let news = News::open()?;
        Ok(Self { netlink: Netlink::open()?, news, is_deaf: false, known: BTreeMap::new() })
    }

    /// What is there now on the host side of a container.
    pub(super) fn found(&mut self, interface: Interface) -> Result<Found, KernelError> {
        self.hear()?;
        if let Some(found) = self.known.get(&interface) {
            return Ok(found.clone());
        }
        let found = Found::at(&self.netlink, interface)?;
        self.remember(interface, found.clone());
        Ok(found)
    }

    /// Takes this for what is there now, as the kernel told it.
    pub(super) fn remember(&mut self, interface: Interface, found: Found) {
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(interface, found);
    }

    /// Looks again the next time.
    pub(super) fn forget(&mut self, interface: Interface) {
        self.known.remove(&interface);
    }

    fn hear(&mut self) -> Result<(), KernelError> {
        match self.news.heard(self.netlink.port()).inspect_err(|_| self.is_deaf = true)? {
            Heard::TooMuch => self.known.clear(),
            Heard::Of(touched) if touched.is_empty() => {}
            Heard::Of(touched) => self.known.retain(|interface, found| {
                let ifb = found.ifb.ours().map(|ifb| ifb.link.index);
                !touched.contains(&interface.index) && ifb.is_none_or(|index| !touched.contains(&index))
            }),
        }
        Ok(())
    }
}
