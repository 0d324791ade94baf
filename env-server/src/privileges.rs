//! What this process may do: as many open files as it is allowed, and no capability that it does not need once it has its
//! listener and its state directory.
//!
//! Capabilities belong to threads: this must run before any other thread begins. Must not know what they are used for
//! elsewhere than in [`KEPT`].

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use tracing::debug;

/// The capabilities that are kept, of those that the process was started with, and why. Each was tried: without it the
/// kernel refuses what its reason names. Root's own cgroup files need none.
pub const KEPT: [(Capability, &str); 4] = [
    (Capability::CAP_DAC_OVERRIDE, "cgroups that were delegated belong to other users than root"),
    (Capability::CAP_NET_ADMIN, "network limits are set over netlink"),
    (Capability::CAP_SYS_ADMIN, "setns into a container's network namespace"),
    (Capability::CAP_SYS_PTRACE, "/proc/PID/ns of a container's processes, which are other users'"),
];

/// Those of [`KEPT`] that are for networks alone.
const FOR_NETWORKS: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_SYS_ADMIN];

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// The kernel refused a set of capabilities.
    #[error("cannot give up capabilities")]
    Capabilities(#[from] CapsError),
    /// The kernel refused `no_new_privs`, or to write no core.
    #[error("cannot give up new privileges and core dumps")]
    Process(#[from] Errno),
}

/// As many files as it may have open at most, for it keeps a dozen open of each container, and connections beside them. The
/// usual limit (1024) is there for programs that use select(2), which this one does not.
const OPEN_FILES: u64 = 65_536;

/// Raises the limit of open files, as far as the process may. It is no harm where that is not far: files are opened more
/// often then.
pub fn take_open_files() {
    let raise =
        |(soft, hard): (u64, u64)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES.max(soft)), hard);
    if let Err(error) = getrlimit(Resource::RLIMIT_NOFILE).and_then(raise) {
        debug!(%error, "the limit of open files stays as it is");
    }
}

/// Gives up all capabilities but [`KEPT`], for good: no program that this one could start would get them either. Those for
/// `networks` go too where these cannot be limited. Threads that begin later inherit that.
///
/// # Errors
/// When the kernel refuses; some may be given up already.
pub fn give_up(networks: bool) -> Result<(), PrivilegesError> {
    // Tokens and keys are in memory: no core of it is to lie around, and nobody but root may read it.
    nix::sys::prctl::set_dumpable(false)?;
    let held = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = needed(networks).filter(|kept| held.contains(kept)).collect();
    // The bounding set first: it takes a capability that is given up next. Without that one nothing can be gained from
    // it either, because of `no_new_privs`.
    if held.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

fn needed(networks: bool) -> impl Iterator<Item = Capability> {
    let kept = KEPT.iter().map(|(capability, _)| *capability);
    kept.filter(move |capability| networks || !FOR_NETWORKS.contains(capability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_networks_goes_where_these_cannot_be_limited() {
        assert!(needed(true).eq(KEPT.map(|(capability, _)| capability)));
        let without: Vec<_> = needed(false).collect();
        assert_eq!(without, [Capability::CAP_DAC_OVERRIDE, Capability::CAP_SYS_PTRACE]);
    }
}
