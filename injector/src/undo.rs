//! What takes an injection back: noted down before it is done, carried out by whoever is left.
//!
//! Each step may be repeated, and finds nothing to do where it was done. Must not know what the injection was.

use ballast_api::{BitsPerSecond, EgressIngress, Limit};
use ballast_kernel::{
    CgroupPath, CgroupTree, Freezer, Hierarchy, Interface, KernelError, NetworkControl,
    network::{self, Detour, Netem, NetworkLimit, Turn, VethEnd},
};
use serde::{Deserialize, Serialize};

use crate::{error::InjectorError, process::identity::ProcessIdentity};

/// Where the kernel tells what is mounted.
pub(crate) const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Where the kernel tells of processes.
pub(crate) const PROC: &str = "/proc";

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "undo", deny_unknown_fields)]
pub enum Undo {
    /// Kill a process, and wait until it is gone.
    EndProcess {
        /// Which one.
        process: ProcessIdentity,
    },
    /// Let the processes of a cgroup go on.
    Thaw {
        /// Whose: below the root of the hierarchy.
        cgroup: String,
        /// The inode of its folder: a later cgroup of the same path is left alone.
        identity: u64,
    },
    /// Put the limits of a container's network in force again that were before, each way that ours are still in force.
    RestoreNetworkLimits {
        /// The inode of the network namespace that the interface is in.
        namespace: u64,
        /// The host's end of the container's veth: a later interface of the same index is left alone.
        interface: Interface,
        /// Those of the injection; absent for a way that it does not concern.
        ours: WholeLimits,
        /// Those before it.
        before: WholeLimits,
    },
    /// Hold back and lose nothing any more of what leaves one end of a veth.
    RemoveNetem {
        /// Which end: a later interface of the same index is left alone.
        end: VethEnd,
    },
    /// Let what leaves one end of a veth take no detour any more.
    RemoveDetour {
        /// Which end: a later interface of the same index is left alone.
        end: VethEnd,
    },
    /// Remove a cgroup that was made for the injection, with all that is in it.
    RemoveCgroup {
        /// Which one: below the root of every hierarchy.
        cgroup: String,
    },
}

impl Undo {
    /// Does it.
    ///
    /// # Errors
    /// When it is not done; it may be tried again.
    pub fn carry_out(&self) -> Result<(), InjectorError> {
        match self {
            Self::EndProcess { process } => process.end(),
            Self::Thaw { cgroup, identity } => thaw(&CgroupPath::new(cgroup)?, *identity),
            Self::RestoreNetworkLimits { namespace, interface, ours, before } => {
                let restored = network::in_namespace(PROC.as_ref(), *namespace, || {
                    restore_limits(*interface, *ours, *before)
                });
                // A namespace that is gone took everything with it.
                Ok(restored.map(|_| ())?)
            }
            Self::RemoveNetem { end } => Ok(Netem::remove(PROC.as_ref(), end)?),
            Self::RemoveDetour { end } => Ok(Detour::remove(PROC.as_ref(), end)?),
            Self::RemoveCgroup { cgroup } => remove(&CgroupPath::new(cgroup)?),
        }
    }
}

/// Limits of a network in whole bits per second, as the kernel holds them; absent for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WholeLimits(EgressIngress<Option<u64>>);

impl WholeLimits {
    /// Of limits that were read from the kernel, or rounded as it would.
    #[must_use]
    pub fn of(limits: EgressIngress<Limit<BitsPerSecond>>) -> Self {
        Self(EgressIngress { egress: whole(limits.egress), ingress: whole(limits.ingress) })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the kernel's limits are whole numbers of bits, and none is negative"
)]
fn whole(limit: Limit<BitsPerSecond>) -> Option<u64> {
    match limit {
        Limit::Max => None,
        Limit::At(rate) => Some(rate.get().round() as u64),
    }
}

#[expect(clippy::cast_precision_loss, reason = "it was such a number before")]
fn limit(whole: Option<u64>) -> Limit<BitsPerSecond> {
    whole.map_or(Limit::Max, |bits| Limit::At(BitsPerSecond::saturating(bits as f64)))
}

/// In the namespace of the interface.
fn restore_limits(interface: Interface, ours: WholeLimits, before: WholeLimits) -> Result<(), KernelError> {
    // Without one too: what is to be taken back is taken back.
    let _turn = Turn::take();
    let control = NetworkControl::new(interface);
    let now = match control.in_force() {
        Ok(now) => now,
        // The kernel removed the veth and all that was at it, but not the ifb device that a limit of egress needs.
        Err(error) if error.is_gone() => return network::sweep_of(interface).map(drop),
        Err(error) => return Err(error),
    };
    let way = |now: NetworkLimit, ours: Option<u64>, before| {
        let is_ours = now.is_injected && ours.is_some() && whole(now.limit) == ours;
        if is_ours { NetworkLimit::lent(limit(before)) } else { now }
    };
    // Also where that is what is in force: it takes away what an injection left that was killed in the midst of setting it.
    let restored = control.put_in_force(EgressIngress {
        egress: way(now.egress, ours.0.egress, before.0.egress),
        ingress: way(now.ingress, ours.0.ingress, before.0.ingress),
    });
    match restored {
        Err(error) if error.is_gone() => network::sweep_of(interface).map(drop),
        other => other.map(drop),
    }
}

fn hierarchy() -> Result<Hierarchy, InjectorError> {
    Ok(Hierarchy::find_any(MOUNTINFO.as_ref())?)
}

fn thaw(cgroup: &CgroupPath, identity: u64) -> Result<(), InjectorError> {
    let Some(freezer) = Freezer::find(MOUNTINFO.as_ref(), cgroup)? else { return Ok(()) };
    // Only what is open by now is certainly its.
    if hierarchy()?.identity(cgroup) != Some(identity) {
        return Ok(());
    }
    match freezer.freeze(false) {
        Err(error) if !error.is_gone() => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove(cgroup: &CgroupPath) -> Result<(), InjectorError> {
    if let Some(cgroup) = CgroupTree::new(hierarchy()?).find(cgroup.as_str())? {
        cgroup.kill_all()?;
        cgroup.remove()?;
    }
    Ok(())
}
