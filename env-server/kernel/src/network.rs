//! The network of a container: how much it carried, and at what rate it may carry, each way.
//!
//! Over netlink alone, on the host side of the container's veth; must not know who lends or injects what, nor when.
//!
//! ```text
//!               host                                   container
//!   ingress:    HTB at the veth's root ──────────────> veth
//!   egress:     HTB at the root of an ifb <── redirect <── veth
//! ```
//!
//! What enters the container leaves the host side, which queues it in an HTB of one class. What leaves the container
//! enters the host side, where nothing can be queued: it is redirected to an ifb device, whose root is such an HTB.
//!
//! Frames can also be held back or lost on purpose ([`Netem`], [`Detour`]), where they leave either [end](VethEnd) of a veth.
//!
//! Everything of Ballast can be told from everything of others by its name or number, so that no memory is needed to
//! undo it: the HTB's handle ([`htb::MAJOR`]), the ingress qdisc's block and the ifb's name, which both hold the index
//! of the veth ([`hook::Hook::block`], [`redirect::ifb_name`]). Linux 4.16 is the oldest that has all of them.

mod control;
mod counters;
mod detour;
mod end;
mod found;
mod hold;
mod hook;
mod host;
mod htb;
mod interface;
mod links;
mod namespace;
mod netem;
mod netlink;
mod news;
mod presence;
mod probe;
mod rate;
mod redirect;
mod shaper;
mod sweep;
mod turn;

pub use control::NetworkControl;
pub use counters::{NetworkCounters, Traffic, rates};
pub use detour::{DETOUR_MARK, Detour};
pub use end::VethEnd;
pub use hold::NetworkLimit;
pub use host::Host;
pub use interface::{Interface, NoInterface};
pub use namespace::{current_namespace, in_namespace};
pub use netem::Netem;
pub use presence::Presence;
pub use probe::{Support, probe};
pub use rate::SMALLEST_RATE_BITS_PER_SECOND;
pub use sweep::{sweep, sweep_limits, sweep_of};
pub use turn::Turn;

#[cfg(test)]
mod tests;
