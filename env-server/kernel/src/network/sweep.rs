//! Removing what outlives a container (an ifb device stays when its veth goes), or the memory of it.
//!
//! Must not know which containers there are.

use super::{
    control, found,
    hook::ENTRY,
    interface::Interface,
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

/// Removes the ifb device that a limit left when the interface went, unless something is redirected to it. Must not run
/// while a limit is being set on a later interface of the same index. Answers whether there was one.
///
/// # Errors
/// When interfaces cannot be listed or removed.
pub fn sweep_of(interface: Interface) -> Result<bool, KernelError> {
    let netlink = Netlink::open()?;
    let links = links::all(&netlink)?;
    let name = redirect::ifb_name(interface.index);
    let Some(ifb) = links.iter().find(|link| link.is_ifb() && link.name == name) else { return Ok(false) };
    if is_fed(&netlink, &links, interface.index, ifb)? {
        return Ok(false);
    }
    netlink.act(&links::remove(ifb)).map(|()| true)
}

/// Removes every limit of Ballast in the network namespace of the calling thread, but those on the interfaces in `lent`, and
/// answers the names of the others that had one. Only while nobody else limits anything there: see
/// [`Presence`](super::Presence).
///
/// # Errors
/// When interfaces cannot be listed, or a limit cannot be removed.
pub fn sweep_limits(lent: &[Interface]) -> Result<Vec<String>, KernelError> {
    let netlink = Netlink::open()?;
    let is_lent = |link: &Link| lent.iter().any(|interface| found::is_of(link, *interface));
    let mut freed = Vec::new();
    for link in links::all(&netlink)?.into_iter().filter(|link| link.is_veth() && !is_lent(link)) {
        let name = link.name.clone();
        match control::free(&netlink, link) {
            Ok(true) => freed.push(name),
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
    }
    Ok(freed)
}

fn is_fed(netlink: &Netlink, links: &[Link], index: u32, ifb: &Link) -> Result<bool, KernelError> {
    let Some(veth) = links.iter().find(|link| link.index == index) else { return Ok(false) };
    let fed = ENTRY.look(netlink, veth).and_then(|entry| match entry.ours() {
        Some(()) => redirect::leads_to(netlink, veth, ifb),
        None => Ok(false),
    });
    match fed {
        Err(error) if error.is_gone() => Ok(false),
        other => other,
    }
}
