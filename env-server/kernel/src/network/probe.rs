//! Whether this kernel can limit networks, found out by doing it.
//!
//! In a network namespace of its own, which ends with the attempt: nothing of the host is looked at.

use std::path::Path;

use ballast_api::{BitsPerSecond, EgressIngress, Limit, with_causes};

use super::{
    control::NetworkControl,
    interface::Interface,
    links,
    namespace::{Namespace, in_private},
    netlink::Netlink,
    rate::SMALLEST_RATE_BITS_PER_SECOND,
};
use crate::error::KernelError;

/// For each direction, whether it can be limited, and why not: a sentence.
pub type Support = EgressIngress<Result<(), String>>;

const NAMES: [&str; 2] = ["try0", "try1"];

/// Limits and frees a veth of a private namespace, one direction after the other. `proc` is normally `/proc`.
#[must_use]
pub fn probe(proc: &Path) -> Support {
    in_private(proc, || attempt(proc)).unwrap_or_else(|error| {
        let reason = format!("limiting a network could not be tried: {}", with_causes(&error));
        EgressIngress { egress: Err(reason.clone()), ingress: Err(reason) }
    })
}

fn attempt(proc: &Path) -> Result<Support, KernelError> {
    let netlink = Netlink::open()?;
    let [name, peer_name] = NAMES;
    netlink.act(&links::add_veths(name, peer_name))?;
    let index = |name| -> Result<u32, KernelError> {
        Ok(links::by_name(&netlink, name)?.map_or(0, |link| link.index))
    };
    let (index, peer_index) = (index(name)?, index(peer_name)?);
    let interface =
        Interface { index, peer_index, namespace: Namespace::current(proc)?.inode(), address: None };
    let control = NetworkControl::new(interface);
    let some = Limit::At(BitsPerSecond::saturating(SMALLEST_RATE_BITS_PER_SECOND));
    Ok(EgressIngress {
        egress: holds(&control, EgressIngress { egress: some, ingress: Limit::Max }),
        ingress: holds(&control, EgressIngress { egress: Limit::Max, ingress: some }),
    })
}

/// Whether a limit is read back as it was set, and gone when it was taken back.
fn holds(control: &NetworkControl, limit: EgressIngress<Limit<BitsPerSecond>>) -> Result<(), String> {
    let none = EgressIngress { egress: Limit::Max, ingress: Limit::Max };
    for wanted in [limit, none] {
        match control.set_limit(wanted) {
            Ok(got) if got == wanted => {}
            Ok(got) => {
                return Err(format!("the kernel took a limit of {wanted:?}, but {got:?} was in force"));
            }
            Err(error) => return Err(with_causes(&error)),
        }
    }
    Ok(())
}
