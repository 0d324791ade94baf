//! Both ends of a container's veth: what leaves one of them is all that is carried one way.
//!
//! Must not know what is done to what leaves.

use std::{io, path::Path};

use ballast_api::EgressIngress;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::{
    found,
    interface::Interface,
    links::{self, DEFAULT_QUEUE_LENGTH, Link},
    namespace::{self, in_namespace},
    netlink::Netlink,
};
use crate::error::KernelError;

/// One end of a veth, and enough to tell it from a later interface of the same index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VethEnd {
    /// The inode of the network namespace that it is in.
    pub namespace: u64,
    /// Its index there.
    pub index: u32,
    /// Its Ethernet address.
    pub address: Option<[u8; 6]>,
    /// In packets, when it was looked up. The kernel gives an interface that has none a transmit queue when it gets a qdisc.
    pub queue_length: u32,
}

impl VethEnd {
    /// The container's end, by which egress leaves, and the host's, by which ingress does. To be called in the network
    /// namespace that the interface was found in. `proc` is normally `/proc`.
    ///
    /// # Errors
    /// When either is gone.
    pub fn both(proc: &Path, interface: Interface) -> Result<EgressIngress<Self>, KernelError> {
        let host_side = found::host_side(&Netlink::open()?, interface)?;
        let gone = || gone(interface.peer_index);
        let look = || links::by_index(&Netlink::open()?, interface.peer_index);
        let container_side = in_namespace(proc, interface.namespace, look)?.ok_or_else(gone)?;
        Ok(EgressIngress {
            egress: Self::of(&container_side, interface.namespace),
            ingress: Self::of(&host_side, namespace::current_namespace(proc)?),
        })
    }

    fn of(link: &Link, namespace: u64) -> Self {
        Self { namespace, index: link.index, address: link.address, queue_length: link.queue_length }
    }

    /// The error of who needs it to be there. It [is gone](KernelError::is_gone).
    pub(super) fn gone(&self) -> KernelError {
        gone(self.index)
    }

    /// Before a qdisc of Ballast is removed, which is how a later attempt knows that something is to be done. Where there
    /// was a limit of Ballast already there was a queue length too, which is that limit's to take back.
    pub(super) fn restore_queue_length(&self, netlink: &Netlink, link: &Link) -> Result<(), KernelError> {
        if self.queue_length != 0 || link.queue_length != DEFAULT_QUEUE_LENGTH {
            return Ok(());
        }
        netlink.act(&links::set_queue_length(link, 0))
    }

    /// Does something in its namespace, with a connection and the interface as it is now. Nothing when it is gone.
    pub(super) fn with<T: Send>(
        &self,
        proc: &Path,
        work: impl FnOnce(&Netlink, &Link) -> Result<T, KernelError> + Send,
    ) -> Result<Option<T>, KernelError> {
        let there = || {
            let netlink = Netlink::open()?;
            let link = links::by_index(&netlink, self.index)?;
            if link.address != self.address || !link.is_veth() {
                return Ok(None);
            }
            work(&netlink, &link).map(Some)
        };
        match in_namespace(proc, self.namespace, there) {
            Err(error) if error.is_gone() => Ok(None),
            other => other.map(Option::flatten),
        }
    }
}

fn gone(index: u32) -> KernelError {
    KernelError::Netlink {
        operation: "find",
        object: format!("an end of a container's veth at index {index}"),
        value: None,
        said: None,
        source: io::Error::from_raw_os_error(Errno::ENODEV as i32),
    }
}
