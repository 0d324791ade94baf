//! One injection at a time on one place of a container's network: two would take each other's state for what was before.
//!
//! A name of an abstract socket: there is one in each network namespace, and it ends with the process, however that ends.
//! Must not know what is done at the place.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use ballast_kernel::Interface;

use crate::error::InjectorError;

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Claim(#[expect(dead_code, reason = "closing it gives the name back")] UnixListener);

impl Claim {
    /// Takes the `place` of this interface, in the network namespace of the calling thread.
    pub(super) fn take(place: &'static str, interface: Interface) -> Result<Self, InjectorError> {
        let name = format!("ballast-injector/{place}/{}", interface.index);
        let taken = SocketAddr::from_abstract_name(name).and_then(|name| UnixListener::bind_addr(&name));
        taken.map(Self).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => InjectorError::Impossible {
                what: "change the target's network",
                reason: "another injection is at it: wait for its end".to_owned(),
            },
            _ => InjectorError::Process { operation: "claim the target's network", source },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_claimed_by_one_at_a_time() {
        let interface = Interface { index: u32::MAX - 7, peer_index: 2, namespace: 1, address: None };
        let claim = Claim::take("test", interface).unwrap();
        assert!(Claim::take("test", interface).unwrap_err().to_string().contains("another injection"));
        assert!(Claim::take("other", interface).is_ok());
        drop(claim);
        assert!(Claim::take("test", interface).is_ok());
    }
}
