//! Removing what limits have left that nobody holds any more, of containers that are gone and of env-servers that are.
//!
//! Must not know what is lent but what it is told.

use ballast_api::with_causes;
use ballast_kernel::{
    Interface,
    network::{self, Presence, Turn},
    resctrl::ResctrlNode,
};
use tracing::{info, warn};

use super::Machine;

impl Machine {
    /// Removes what limits of containers that are gone have left. Not while a limit is being written.
    pub fn sweep(&self) {
        if let Ok(Err(error)) = self.caches.as_ref().map(ResctrlNode::sweep) {
            warn!(error = with_causes(&error), "leftovers of resctrl groups stay");
        }
        if self.network.is_err() {
            return;
        }
        match network::sweep() {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => info!(interfaces = removed.join(", "), "left over, removed"),
            Err(error) => warn!(error = with_causes(&error), "leftovers of network limits stay"),
        }
    }

    /// A turn to look at networks and to change them, where they are limited at all: see [`Turn`].
    #[must_use]
    pub fn network_turn(&self) -> Option<Turn> {
        self.network.as_ref().ok().and_then(|_| Turn::take())
    }

    /// Joins those who limit networks on this host, for as long as the answer is kept. Who is alone first removes what nobody
    /// knows of any more: every limit of Ballast but those on the interfaces in `lent`.
    #[must_use]
    pub fn join_network(&self, lent: &[Interface]) -> Option<Presence> {
        if self.network.is_err() {
            return None;
        }
        match Presence::begin(&self.roots.proc, || network::sweep_limits(lent)) {
            Ok((presence, swept)) => {
                match swept {
                    None => {
                        info!("somebody else limits networks here: what no journal knows of is left");
                    }
                    Some(Ok(freed)) if freed.is_empty() => {}
                    Some(Ok(freed)) => {
                        warn!(interfaces = freed.join(", "), "limits that no journal knows of, removed");
                    }
                    Some(Err(error)) => {
                        warn!(error = with_causes(&error), "limits that no journal knows of stay");
                    }
                }
                Some(presence)
            }
            Err(error) => {
                warn!(error = with_causes(&error), "limits that no journal knows of stay");
                None
            }
        }
    }
}
