//! Removing what outlives a container: an ifb device stays when its veth goes.
//!
//! Must not know which containers there are.

use super::{
    links::{self, Link},
    netlink::Netlink,
    redirect,
};
use crate::error::KernelError;

/// Removes every ifb device of Ballast, in the network namespace of the calling thread, that nothing is redirected to, and
/// answers their names. Must not run while a limit is being set.
///
/// # Errors
/// When interfaces cannot be listed or removed.
pub fn sweep() -> Result<Vec<String>, KernelError> {
    let netlink = Netlink::open()?;
    let links = links::all(&netlink)?;
    let mut removed = Vec::new();
    for link in links.iter().filter(|link| link.is_ifb()) {
        if let Some(index) = redirect::index_of_ifb(&link.name)
            && !is_fed(&netlink, &links, index, link)?
        {
            netlink.act(&links::remove(link))?;
            removed.push(link.name.clone());
        }
    }
    Ok(removed)
}

fn is_fed(netlink: &Netlink, links: &[Link], index: u32, ifb: &Link) -> Result<bool, KernelError> {
    let Some(veth) = links.iter().find(|link| link.index == index) else { return Ok(false) };
    let fed = redirect::look(netlink, veth).and_then(|entry| match entry.ours() {
        Some(()) => redirect::leads_to(netlink, veth, ifb),
        None => Ok(false),
    });
    match fed {
        Err(error) if error.is_gone() => Ok(false),
        other => other,
    }
}
