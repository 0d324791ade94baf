//! Delay or loss of what leaves an end of the target's veth, by netem where the kernel has it, by a relay elsewhere.
//!
//! Must not know which of both is asked for.
//!
//! netem is the root qdisc of the end, or below the HTB that holds the end to a limit of Ballast. What it holds at the end of
//! the injection is lost; the relay sends it at once. While one of them is at the host's end, no limit of Ballast can be set
//! there for the first time: the env-server says so to who asks.

use std::time::Duration;

use ballast_api::{EgressIngress, Limit};
use ballast_kernel::{
    Interface, NetworkControl,
    network::{Detour, Netem, VethEnd},
};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Direction, claim, interface_of, relay::Relay};
use crate::{
    clocks,
    error::InjectorError,
    intensity::Basis,
    kinds::{Act, Dose, Prepared, Situation, Work, claim::Claim},
    undo::{PROC, Undo},
    unit::Unit,
};

const WHAT: &str = "delay or lose packets";

/// Who delays and loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Means {
    /// netem where the kernel has it, a relay elsewhere
    #[default]
    Auto,
    /// The kernel's qdisc netem
    Netem,
    /// This program: every packet takes a detour through it
    Relay,
}

/// Options of every kind that delays or loses.
#[derive(Debug, Clone, Copy, Args)]
pub struct How {
    /// Which way, seen from the target
    #[arg(long, value_enum, default_value_t)]
    pub direction: Direction,
    /// By what means
    #[arg(long, value_enum, default_value_t)]
    pub means: Means,
}

/// What a kind says of its dose.
pub(super) struct Asked {
    pub(super) kind: &'static str,
    pub(super) unit: Unit,
    pub(super) requested: f64,
    pub(super) more: (&'static str, serde_json::Value),
}

/// Chooses the means, and looks whether it can be used.
pub(super) fn prepare(
    situation: &Situation<'_>,
    asked: Asked,
    netem: Netem,
    How { direction, means }: How,
) -> Result<Prepared, InjectorError> {
    let interface = interface_of(situation)?;
    let claim = claim("packets", interface)?;
    let ends = direction.of(VethEnd::both(PROC.as_ref(), interface)?);
    let no_netem =
        if means == Means::Relay { Some(String::new()) } else { Netem::probe(PROC.as_ref()).err() };
    let (means, by): (_, Box<dyn By>) = match no_netem {
        None => ("netem", Box::new(ByNetem { netem })),
        Some(reason) if means == Means::Netem => return Err(impossible(reason)),
        Some(_) => {
            refuse_obstacles(interface, direction, &ends)?;
            ("relay", Box::new(ByRelay { netem, relays: Vec::new() }))
        }
    };
    let Asked { kind, unit, requested, more } = asked;
    let details = [("means", json!(means)), ("direction", json!(direction)), more].into();
    Ok(Prepared {
        dose: Dose {
            kind,
            intensity: unit.show(requested).to_string(),
            intensity_basis: Basis::Absolute,
            unit,
            requested,
            target_limit: None,
            details,
        },
        work: Work::Act(Box::new(Impairing { by, ends, requested, _claim: claim })),
    })
}

fn impossible(reason: String) -> InjectorError {
    InjectorError::Impossible { what: WHAT, reason }
}

/// The detour needs the place that the redirection of a limit of egress has at the host's end.
fn refuse_obstacles(
    interface: Interface,
    direction: Direction,
    ends: &[VethEnd],
) -> Result<(), InjectorError> {
    let EgressIngress { egress, .. } = NetworkControl::new(interface).limit()?;
    if direction != Direction::Egress && egress != Limit::Max {
        let why = "a limit of what the target sends is in force, whose redirection is where the relay's would be: take \
                   --direction egress, or take the limit back";
        return Err(impossible(why.to_owned()));
    }
    for end in ends {
        if let Some(found) = Detour::obstacle(PROC.as_ref(), end)? {
            let why =
                format!("{found} is at the veth already, where the relay's would be; it stays untouched");
            return Err(impossible(why));
        }
    }
    Ok(())
}

/// One of the means, at one end.
trait By {
    fn undo(&self, end: &VethEnd) -> Undo;
    fn begin(&mut self, end: &VethEnd) -> Result<(), InjectorError>;
    fn is_in_force(&self, end: &VethEnd) -> Result<bool, InjectorError>;
    /// After the undo, at all ends.
    fn over(&mut self);
}

struct ByNetem {
    netem: Netem,
}

impl By for ByNetem {
    fn undo(&self, end: &VethEnd) -> Undo {
        Undo::RemoveNetem { end: end.clone() }
    }

    fn begin(&mut self, end: &VethEnd) -> Result<(), InjectorError> {
        Ok(self.netem.add(PROC.as_ref(), end)?)
    }

    fn is_in_force(&self, end: &VethEnd) -> Result<bool, InjectorError> {
        Ok(self.netem.is_at(PROC.as_ref(), end)?)
    }

    fn over(&mut self) {}
}

struct ByRelay {
    netem: Netem,
    relays: Vec<Relay>,
}

impl By for ByRelay {
    fn undo(&self, end: &VethEnd) -> Undo {
        Undo::RemoveDetour { end: end.clone() }
    }

    /// The detour comes last: no frame ever goes to a relay that does not send it on.
    fn begin(&mut self, end: &VethEnd) -> Result<(), InjectorError> {
        let relay = Relay::start(end, self.netem, self.relays.len())?;
        let name = relay.name().to_owned();
        self.relays.push(relay);
        Ok(Detour::add(PROC.as_ref(), end, &name)?)
    }

    fn is_in_force(&self, end: &VethEnd) -> Result<bool, InjectorError> {
        let alive = self.relays.iter().any(|relay| relay.is_at(end) && relay.is_alive());
        Ok(alive && Detour::is_at(PROC.as_ref(), end)?)
    }

    fn over(&mut self) {
        self.relays.clear();
    }
}

struct Impairing {
    by: Box<dyn By>,
    ends: Vec<VethEnd>,
    requested: f64,
    _claim: Claim,
}

impl Act for Impairing {
    fn undo(&self) -> Vec<Undo> {
        self.ends.iter().map(|end| self.by.undo(end)).collect()
    }

    fn begin(&mut self) -> Result<(), InjectorError> {
        self.ends.iter().try_for_each(|end| self.by.begin(end))
    }

    fn in_force(&mut self) -> Result<f64, InjectorError> {
        let mut in_force = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "two at most")]
        let share = self.requested / self.ends.len() as f64;
        for end in &self.ends {
            in_force += if self.by.is_in_force(end)? { share } else { 0.0 };
        }
        Ok(in_force)
    }

    fn end(&mut self) -> Result<Duration, InjectorError> {
        let steps: Vec<_> = self.undo().iter().map(Undo::carry_out).collect();
        let ended = clocks::monotonic();
        // The kernel takes tens of milliseconds to remove the device of a relay, which nothing passes any more.
        self.by.over();
        steps.into_iter().collect::<Result<(), _>>().map(|()| ended)
    }
}
