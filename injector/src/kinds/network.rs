//! A container's network made worse: less bandwidth, delay, loss. What these share: which way, and whose veth.
//!
//! Must not know how it is made worse.
//!
//! Everything is done where frames leave one of the two ends of the container's veth, so that what others put at the other
//! places (limits, bridges, firewalls) keeps its order. Seen from the container, ingress leaves the host's end and egress its
//! own. Only what can be told from others' is put there, and only where nothing of others is.

pub mod bandwidth;
pub mod delay;
pub mod loss;

mod competition;
mod frames;
mod impairment;
mod line;
mod relay;

use ballast_api::EgressIngress;
use ballast_kernel::{Interface, KernelError};
use clap::ValueEnum;
use serde::Serialize;

use super::{Situation, claim::Claim};
use crate::{error::InjectorError, undo::PROC};

/// How many processes of a container are asked, one after the other, while they end.
const ASKED: usize = 4;

/// Which traffic is concerned, seen from the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What the container sends
    Egress,
    /// What it receives
    Ingress,
    /// Either way by itself
    #[default]
    Both,
}

impl Direction {
    /// What is there of the ways that are concerned.
    pub(crate) fn of<T>(self, EgressIngress { egress, ingress }: EgressIngress<T>) -> Vec<T> {
        match self {
            Self::Egress => vec![egress],
            Self::Ingress => vec![ingress],
            Self::Both => vec![egress, ingress],
        }
    }

    /// One value for the ways that are concerned, another one for the others.
    pub(crate) fn choose<T>(self, concerned: EgressIngress<T>, others: EgressIngress<T>) -> EgressIngress<T> {
        match self {
            Self::Egress => EgressIngress { egress: concerned.egress, ingress: others.ingress },
            Self::Ingress => EgressIngress { egress: others.egress, ingress: concerned.ingress },
            Self::Both => concerned,
        }
    }
}

const WHAT: &str = "change the target's network";

/// One injection at a time on this `place` of a veth, in the network namespace of the calling thread.
fn claim(place: &str, interface: Interface) -> Result<Claim, InjectorError> {
    Claim::take(place, interface.index.into(), WHAT)
}

/// The host's end of the target's veth, shown by any of its processes.
fn interface_of(situation: &Situation<'_>) -> Result<Interface, InjectorError> {
    let impossible = |reason: String| InjectorError::Impossible { what: WHAT, reason };
    let Some(target) = situation.target else {
        return Err(impossible("that of the whole node is everybody's: name a target".to_owned()));
    };
    let pids = target.representatives()?.ok_or_else(|| {
        impossible(
            "its processes are in a pid namespace that is not in sight: run this in the machine's own"
                .to_owned(),
        )
    })?;
    let mut answer = Err(impossible("it has no process, which would show its network".to_owned()));
    for pid in pids.into_iter().take(ASKED) {
        match Interface::of_process(PROC.as_ref(), pid) {
            Ok(interface) => return Ok(interface),
            Err(KernelError::NoInterface { reason, .. }) => answer = Err(impossible(reason.to_string())),
            Err(error) => answer = Err(error.into()),
        }
    }
    answer
}
