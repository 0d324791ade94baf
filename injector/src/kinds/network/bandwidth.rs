//! Less bandwidth: a limit of Ballast's own kind on the container's veth, for a while, or traffic that competes for it.
//!
//! Must not know who else sets such limits, but that they are no injection's; what is in force before is put in force again,
//! unless it was changed meanwhile.

use std::time::Duration;

use ballast_api::{BitsPerSecond, EgressIngress, Limit};
use ballast_kernel::{
    Interface, NetworkControl,
    network::{self, NetworkLimit, Presence, SMALLEST_RATE_BITS_PER_SECOND, Turn, VethEnd},
};
use clap::Args;

use super::{
    Direction, claim,
    competition::{Competition, Flow},
    frames::Lane,
    interface_of,
};
use crate::{
    clocks,
    error::InjectorError,
    intensity::{Basis, Intensity, InvalidIntensity},
    kinds::{Act, Dose, Kind, Prepared, Situation, Work, claim::Claim},
    undo::{PROC, Undo, WholeLimits},
    unit::Unit,
};

type Limits = EgressIngress<Limit<BitsPerSecond>>;

/// Options of the kind `net-bandwidth`.
#[derive(Debug, Clone, Args)]
pub struct NetBandwidth {
    /// What is left to the target: 10Mbit/s, or 25% of the limit of Ballast that is in force; with --traffic, what is sent
    ///
    /// At least 100 kbit/s, and, but for traffic, less than a limit that is in force. Frames count with their Ethernet header.
    #[arg(long, value_name = "RATE|PERCENT", allow_hyphen_values = true, value_parser = intensity)]
    pub intensity: Intensity,
    /// Which way it is held to that, seen from the target
    #[arg(long, value_enum, default_value_t)]
    pub direction: Direction,
    /// Set no limit, but send so much over the same veth, as a neighbour would that shares the link
    ///
    /// Each way that is concerned at this rate, through the queue and the limit that are there for the target's own traffic.
    /// What that queue does not take is missing in what is reported as achieved. The target's processes receive nothing of it.
    #[arg(long)]
    pub traffic: bool,
}

fn intensity(text: &str) -> Result<Intensity, InvalidIntensity> {
    Intensity::parse(text, Unit::BitsPerSecond)
}

impl Kind for NetBandwidth {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let interface = interface_of(situation)?;
        if self.traffic {
            return self.competing(interface, situation.duration);
        }
        let claim = claim("limits", interface)?;
        // Whoever finds limits with nobody about takes them for leftovers.
        let (presence, _) = Presence::begin(PROC.as_ref(), || ())?;
        let control = NetworkControl::new(interface);
        let found = control.in_force()?;
        refuse_leftover(&self.direction.of(found))?;
        let before = found.map(|way| way.limit);
        let resolved = self.direction.of(before).into_iter().map(|limit| self.left_of(limit));
        let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
        let basis = resolved.first().map_or(Basis::Absolute, |(_, basis)| *basis);
        let least = resolved.iter().map(|(rate, _)| *rate).fold(f64::INFINITY, f64::min);
        let ours = control.rounded(self.direction.choose(self.wanted(before)?, before))?;
        refuse_more(self.direction.choose(before, ours), ours)?;
        let details = [
            ("direction", serde_json::json!(self.direction)),
            ("egress_limit", serde_json::json!(ours.egress)),
            ("ingress_limit", serde_json::json!(ours.ingress)),
        ];
        Ok(Prepared {
            dose: Dose {
                kind: "net-bandwidth",
                intensity: self.intensity.to_string(),
                intensity_basis: basis,
                unit: Unit::BitsPerSecond,
                requested: least,
                target_limit: self.direction.of(before).into_iter().filter_map(amount).reduce(f64::min),
                details: details.into(),
            },
            work: Work::Act(Box::new(Narrowing {
                control,
                interface,
                namespace: network::current_namespace(PROC.as_ref())?,
                direction: self.direction,
                requested: least,
                ours: self.direction.choose(ours.map(NetworkLimit::injected), found),
                before: found,
                _claim: claim,
                _presence: presence,
            })),
        })
    }
}

impl NetBandwidth {
    fn competing(&self, interface: Interface, duration: Duration) -> Result<Prepared, InjectorError> {
        let before = NetworkControl::new(interface).limit()?;
        let resolved = self.direction.of(before).into_iter().map(|limit| self.sent_beside(limit));
        let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
        let ends = VethEnd::both(PROC.as_ref(), interface)?;
        let ways = [(&ends.egress, &ends.ingress), (&ends.ingress, &ends.egress)];
        let ways = self.direction.of(EgressIngress { egress: ways[0], ingress: ways[1] });
        let flows = ways
            .into_iter()
            .zip(&resolved)
            .map(|((from, to), (rate, _))| Ok(Flow { lane: Lane::open(from, to)?, bits_per_second: *rate }));
        let flows = flows.collect::<Result<Vec<_>, InjectorError>>()?;
        let details =
            [("direction", serde_json::json!(self.direction)), ("traffic", serde_json::json!(true))];
        Ok(Prepared {
            dose: Dose {
                kind: "net-bandwidth",
                intensity: self.intensity.to_string(),
                intensity_basis: resolved.first().map_or(Basis::Absolute, |(_, basis)| *basis),
                unit: Unit::BitsPerSecond,
                requested: resolved.iter().map(|(rate, _)| rate).sum(),
                target_limit: self.direction.of(before).into_iter().filter_map(amount).reduce(f64::min),
                details: details.into(),
            },
            work: Work::Act(Box::new(Competition::new(flows, duration))),
        })
    }

    /// The rate of the traffic beside a limit in force.
    fn sent_beside(&self, limit: Limit<BitsPerSecond>) -> Result<(f64, Basis), InvalidIntensity> {
        let (asked, basis) = self.left_of(limit)?;
        let least = SMALLEST_RATE_BITS_PER_SECOND;
        let too_little = InvalidIntensity::TooLittle { asked, least, unit: Unit::BitsPerSecond };
        if asked < least { Err(too_little) } else { Ok((asked, basis)) }
    }

    /// The rate that is left of a limit in force.
    fn left_of(&self, limit: Limit<BitsPerSecond>) -> Result<(f64, Basis), InvalidIntensity> {
        self.intensity.resolve(Unit::BitsPerSecond, amount(limit), None)
    }

    /// The limits for both ways; those of a way that is not concerned do not count, and need no basis.
    fn wanted(&self, before: Limits) -> Result<Limits, InvalidIntensity> {
        let limit = |concerned: bool, before| match self.left_of(before) {
            Ok((rate, _)) => Ok(Limit::At(BitsPerSecond::saturating(rate))),
            Err(error) if concerned => Err(error),
            Err(_) => Ok(before),
        };
        Ok(EgressIngress {
            egress: limit(self.direction != Direction::Ingress, before.egress)?,
            ingress: limit(self.direction != Direction::Egress, before.ingress)?,
        })
    }
}

fn amount(limit: Limit<BitsPerSecond>) -> Option<f64> {
    match limit {
        Limit::Max => None,
        Limit::At(rate) => Some(rate.get()),
    }
}

/// What would give the target more than it has is no contention.
fn refuse_more(before: Limits, ours: Limits) -> Result<(), InjectorError> {
    for (before, ours) in [(before.egress, ours.egress), (before.ingress, ours.ingress)] {
        if let (Limit::At(before), Limit::At(ours)) = (before, ours)
            && ours > before
        {
            return Err(InjectorError::Impossible {
                what: "narrow the target's network",
                reason: format!("it is held to {before} already, and {ours} would be more: ask for less"),
            });
        }
    }
    Ok(())
}

/// What an injection has left that ended badly is not the target's own.
fn refuse_leftover(found: &[NetworkLimit]) -> Result<(), InjectorError> {
    if found.iter().any(|way| way.is_injected) {
        return Err(InjectorError::Impossible {
            what: "narrow the target's network",
            reason: "an injection that ended badly has left its limit: take it away with `ballast-injector restore \
                     --state-dir` of that one, or have the env-server restore the container"
                .to_owned(),
        });
    }
    Ok(())
}

struct Narrowing {
    control: NetworkControl,
    interface: Interface,
    namespace: u64,
    direction: Direction,
    requested: f64,
    before: EgressIngress<NetworkLimit>,
    ours: EgressIngress<NetworkLimit>,
    _claim: Claim,
    _presence: Presence,
}

impl Act for Narrowing {
    fn undo(&self) -> Vec<Undo> {
        let nothing = EgressIngress { egress: Limit::Max, ingress: Limit::Max };
        let (ours, before) = (self.ours.map(|way| way.limit), self.before.map(|way| way.limit));
        vec![Undo::RestoreNetworkLimits {
            namespace: self.namespace,
            interface: self.interface,
            ours: WholeLimits::of(self.direction.choose(ours, nothing)),
            before: WholeLimits::of(before),
        }]
    }

    fn begin(&mut self) -> Result<(), InjectorError> {
        let turn = Turn::take();
        if turn.is_none() || self.control.in_force()? != self.before {
            return Err(InjectorError::Impossible {
                what: "narrow the target's network",
                reason: "somebody changes its limits at the same time: try again".to_owned(),
            });
        }
        self.control.put_in_force(self.ours)?;
        Ok(())
    }

    fn in_force(&mut self) -> Result<f64, InjectorError> {
        let (now, ours) = (self.direction.of(self.control.in_force()?), self.direction.of(self.ours));
        let in_force = now.iter().zip(&ours).filter(|(now, ours)| now == ours).count();
        #[expect(clippy::cast_precision_loss, reason = "two at most")]
        let share = in_force as f64 / ours.len() as f64;
        Ok(self.requested * share)
    }

    fn end(&mut self) -> Result<Duration, InjectorError> {
        self.undo().iter().try_for_each(Undo::carry_out)?;
        Ok(clocks::monotonic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate: f64) -> Limit<BitsPerSecond> {
        Limit::At(BitsPerSecond::new(rate).unwrap())
    }

    fn asked(text: &str, direction: Direction) -> NetBandwidth {
        NetBandwidth { intensity: intensity(text).unwrap(), direction, traffic: false }
    }

    #[test]
    fn a_percentage_is_of_the_limit_of_each_way() {
        let before = EgressIngress { egress: at(20e6), ingress: at(8e6) };
        let wanted = asked("25%", Direction::Both).wanted(before).unwrap();
        assert_eq!(wanted, EgressIngress { egress: at(5e6), ingress: at(2e6) });
    }

    #[test]
    fn a_percentage_of_no_limit_is_refused_for_the_ways_concerned_only() {
        let before = EgressIngress { egress: at(20e6), ingress: Limit::Max };
        assert!(asked("25%", Direction::Both).wanted(before).is_err());
        assert!(asked("25%", Direction::Ingress).wanted(before).is_err());
        assert_eq!(asked("25%", Direction::Egress).wanted(before).unwrap().egress, at(5e6));
    }

    #[test]
    fn traffic_is_a_share_of_the_limit_and_not_too_little() {
        let sent = |text: &str, limit| asked(text, Direction::Both).sent_beside(limit).map(|(rate, _)| rate);
        assert_eq!((sent("150%", at(20e6)), sent("5Mbit/s", Limit::Max)), (Ok(30e6), Ok(5e6)));
        assert!(sent("50%", Limit::Max).is_err() && sent("99kbit/s", Limit::Max).is_err());
    }

    #[test]
    fn more_than_the_limit_in_force_is_refused() {
        let none = EgressIngress { egress: Limit::Max, ingress: Limit::Max };
        let some = EgressIngress { egress: at(5e6), ingress: Limit::Max };
        let more = EgressIngress { egress: at(6e6), ingress: at(6e6) };
        assert!(refuse_more(none, more).is_ok() && refuse_more(more, some).is_ok());
        assert!(refuse_more(some, more).unwrap_err().to_string().contains("would be more"));
    }
}
