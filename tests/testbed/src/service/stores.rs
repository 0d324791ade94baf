//! Connections to one memcached: as many as are in use at once, kept for the next. Must not know what is read.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use async_memcached::{AsciiProtocol, Client};

use crate::dataset;

/// Why a store did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is not there, or does not speak memcached's protocol.
    #[error("reading from the store at {address}: {cause}")]
    Protocol {
        /// Its address.
        address: SocketAddr,
        /// What went wrong.
        cause: async_memcached::Error,
    },
    /// Some keys, or the right sizes, are not there.
    #[error("the store at {address} has {found} of the {asked} keys of {value_bytes} bytes")]
    Missing {
        /// Its address.
        address: SocketAddr,
        /// Keys asked for.
        asked: usize,
        /// Keys found, with a value of the right size.
        found: usize,
        /// The size of a value.
        value_bytes: u32,
    },
}

/// A memcached and the idle connections to it.
#[derive(Debug)]
pub struct Store {
    address: SocketAddr,
    // The client is not Debug.
    idle: Idle,
}

struct Idle(Mutex<Vec<Client>>);

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}

impl Store {
    /// The memcached at `address`. Nothing is sent yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Idle(Mutex::new(Vec::new())) }
    }

    /// Connects and asks for the version, so that a store that is not there is found out early.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connect(&self) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        client.version().await.map_err(|cause| self.protocol(cause))?;
        self.give_back(client);
        Ok(())
    }

    /// Puts `count` keys with values of that size into the store.
    ///
    /// # Errors
    /// When the store does not accept one.
    pub async fn fill(&self, value_bytes: u32, count: u32) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let value = vec![b'v'; value_bytes as usize];
        for number in 0..count {
            let key = dataset::key(value_bytes, number);
            client.set(key, value.as_slice(), None, None).await.map_err(|cause| self.protocol(cause))?;
        }
        self.give_back(client);
        Ok(())
    }

    /// One multi-get of these keys; all must be there, with values of that size.
    ///
    /// # Errors
    /// When the store does not answer, or not with all of them.
    pub async fn fetch(
        &self,
        value_bytes: u32,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<(), StoreError> {
        let keys: Vec<String> = numbers.map(|number| dataset::key(value_bytes, number)).collect();
        let mut client = self.client().await?;
        let values = client.get_multi(&keys).await.map_err(|cause| self.protocol(cause))?;
        self.give_back(client);
        let right = |value: &&async_memcached::Value| {
            value.data.as_ref().is_some_and(|data| data.len() == value_bytes as usize)
        };
        let found = values.iter().filter(right).count();
        if found == keys.len() {
            return Ok(());
        }
        Err(StoreError::Missing { address: self.address, asked: keys.len(), found, value_bytes })
    }

    async fn client(&self) -> Result<Client, StoreError> {
        let idle = self.idle.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(client) => Ok(client),
            None => {
                Client::new(format!("tcp://{}", self.address)).await.map_err(|cause| self.protocol(cause))
            }
        }
    }

    /// Only after a whole answer: a client dropped in the midst of one closes its connection.
    fn give_back(&self, client: Client) {
        self.idle.0.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }

    fn protocol(&self, cause: async_memcached::Error) -> StoreError {
        StoreError::Protocol { address: self.address, cause }
    }
}
