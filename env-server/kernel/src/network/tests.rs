//! Failures and crashes between any two steps, on the real kernel, in private network namespaces.

use std::{cell::Cell, io, path::Path};

use ballast_api::{BitsPerSecond, EgressIngress, Limit};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcMessage},
};
use nix::errno::Errno;

use super::{
    Host, Interface, NetworkControl, NetworkLimit,
    links::{self, Link},
    namespace::in_private,
    netlink::{Netlink, Request},
    probe,
};
use crate::KernelError;

/// Makes the step after so many others go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Sabotage {
    #[default]
    None,
    /// That step, and no other.
    FailureAfter(u32),
    /// That step and all that follow: as good as a crash, which undoes nothing.
    CrashAfter(u32),
}

impl Sabotage {
    pub(super) fn before_an_act(sabotage: &Cell<Self>) -> io::Result<()> {
        let (next, result) = match sabotage.get() {
            Self::None => (Self::None, Ok(())),
            Self::FailureAfter(0) => (Self::None, Err(io::Error::from_raw_os_error(Errno::EIO as i32))),
            Self::FailureAfter(steps) => (Self::FailureAfter(steps - 1), Ok(())),
            Self::CrashAfter(0) => {
                (Self::CrashAfter(0), Err(io::Error::from_raw_os_error(Errno::EIO as i32)))
            }
            Self::CrashAfter(steps) => (Self::CrashAfter(steps - 1), Ok(())),
        };
        sabotage.set(next);
        result
    }
}

type Limits = EgressIngress<Limit<BitsPerSecond>>;

const NONE: Limits = EgressIngress { egress: Limit::Max, ingress: Limit::Max };

fn limits(egress_mbit: f64, ingress_mbit: f64) -> Limits {
    let at =
        |mbit: f64| if mbit > 0.0 { Limit::At(BitsPerSecond::new(mbit * 1e6).unwrap()) } else { Limit::Max };
    EgressIngress { egress: at(egress_mbit), ingress: at(ingress_mbit) }
}

/// Does it with a veth of this queue length, in a private namespace, where this machine can.
fn with_a_veth(test: &str, queue_length: u32, work: impl Fn(&Netlink, &NetworkControl) + Sync) {
    let proc = Path::new("/proc");
    let support = probe(proc);
    if let Err(reason) = support.egress.and(support.ingress) {
        eprintln!("SKIPPED {test}: {reason}");
        return;
    }
    let done = in_private(proc, || {
        let netlink = Netlink::open()?;
        netlink.act(&links::add_veths("veth", "peer"))?;
        let link = |name| Ok::<_, KernelError>(links::by_name(&netlink, name)?.unwrap());
        let (veth, peer) = (link("veth")?, link("peer")?);
        netlink.act(&links::set_queue_length(&veth, queue_length))?;
        netlink.act(&links::set_up(&veth))?;
        let interface =
            Interface { index: veth.index, peer_index: peer.index, namespace: 0, address: veth.address };
        work(&netlink, &NetworkControl::new(interface));
        Ok(())
    });
    done.unwrap();
}

/// All links, qdiscs, classes and filters, without what counts by itself.
fn snapshot(netlink: &Netlink, control: &NetworkControl) -> (Vec<Link>, Vec<TcMessage>) {
    let links = links::all(netlink).unwrap();
    let traffic = |message| match message {
        RouteNetlinkMessage::NewQueueDiscipline(message)
        | RouteNetlinkMessage::NewTrafficClass(message)
        | RouteNetlinkMessage::NewTrafficFilter(message) => message,
        other => panic!("{other:?}"),
    };
    let index = i32::try_from(control.interface().index).unwrap();
    let mut messages = Vec::new();
    for ask in [
        RouteNetlinkMessage::GetQueueDiscipline,
        RouteNetlinkMessage::GetTrafficClass,
        RouteNetlinkMessage::GetTrafficFilter,
    ] {
        let request = Request::new("list", "everything", ask(TcMessage::with_index(index)));
        messages.extend(netlink.dump(&request).unwrap().into_iter().map(traffic));
    }
    for message in &mut messages {
        message.attributes.retain(|attribute| {
            !matches!(attribute, TcAttribute::Stats(_) | TcAttribute::Stats2(_) | TcAttribute::Xstats(_))
        });
    }
    (links, messages)
}

/// Sets `limit` with the step after so many others sabotaged. Whether that step was reached.
fn is_stopped(control: &NetworkControl, limit: Limits, sabotage: Sabotage) -> bool {
    let host = Host::default();
    let set = host.with(|host| {
        host.netlink.sabotage.set(sabotage);
        Ok(())
    });
    set.unwrap();
    match NetworkControl::on(&host, control.interface()).set_limit(limit) {
        Ok(got) => {
            assert_eq!(got, limit);
            false
        }
        Err(error) => {
            assert!(format!("{error:?}").contains("code: 5"), "{error:?}");
            true
        }
    }
}

#[test]
fn a_crash_between_any_two_steps_is_undone_afterwards() {
    for queue_length in [0, 1000, 500] {
        with_a_veth("a_crash_between_any_two_steps", queue_length, |netlink, control| {
            let before = snapshot(netlink, control);
            let mut crashes = 0;
            for limit in [limits(20.0, 40.0), limits(20.0, 0.0), limits(0.0, 40.0)] {
                for steps in 0.. {
                    let crashed = is_stopped(control, limit, Sabotage::CrashAfter(steps));
                    // Another crash at any point of the undoing, and then it succeeds.
                    for undo_steps in 0..steps {
                        is_stopped(control, NONE, Sabotage::CrashAfter(undo_steps));
                        control.set_limit(limit).unwrap();
                    }
                    assert_eq!(control.set_limit(NONE).unwrap(), NONE);
                    assert_eq!(snapshot(netlink, control), before, "{limit:?} after {steps} steps");
                    crashes += u32::from(crashed);
                    if !crashed {
                        break;
                    }
                }
            }
            // Qdisc and class for one way; ifb, qdisc, class, ingress qdisc and filter for the other.
            assert_eq!(crashes, 7 + 5 + 2);
        });
    }
}

#[test]
fn a_step_that_fails_leaves_the_limits_before() {
    for queue_length in [0, 1000] {
        with_a_veth("a_step_that_fails", queue_length, |netlink, control| {
            let pristine = snapshot(netlink, control);
            for from in [NONE, limits(10.0, 10.0), limits(10.0, 0.0), limits(0.0, 10.0)] {
                for to in [NONE, limits(20.0, 20.0), limits(20.0, 0.0), limits(0.0, 20.0)] {
                    for steps in 0.. {
                        control.set_limit(from).unwrap();
                        if !is_stopped(control, to, Sabotage::FailureAfter(steps)) {
                            break;
                        }
                        assert_eq!(control.limit().unwrap(), from, "to {to:?} after {steps} steps");
                    }
                    control.set_limit(NONE).unwrap();
                    assert_eq!(snapshot(netlink, control), pristine);
                }
            }
        });
    }
}

/// Limits of which an injection has put in force those of egress.
fn injected(limits: Limits) -> EgressIngress<NetworkLimit> {
    let EgressIngress { egress, ingress } = limits;
    EgressIngress { egress: NetworkLimit::injected(egress), ingress: NetworkLimit::lent(ingress) }
}

#[test]
fn whose_a_limit_is_can_be_read_and_changed() {
    with_a_veth("whose_a_limit_is", 1000, |netlink, control| {
        let pristine = snapshot(netlink, control);
        let injected = injected(limits(5.0, 40.0));
        // From nothing, from a lender's limits, and from the same rate in a lender's hands.
        for before in [NONE, limits(20.0, 40.0), limits(5.0, 40.0)] {
            control.set_limit(before).unwrap();
            assert_eq!(control.put_in_force(injected).unwrap(), injected);
            assert_eq!(NetworkControl::new(control.interface()).in_force().unwrap(), injected);
            assert_eq!(control.set_limit(before).unwrap(), before);
            assert_eq!(control.in_force().unwrap(), before.map(NetworkLimit::lent));
        }
        control.set_limit(NONE).unwrap();
        assert_eq!(snapshot(netlink, control), pristine);
    });
}

#[test]
fn a_lender_that_fails_leaves_an_injection_in_force() {
    with_a_veth("a_lender_that_fails", 1000, |_, control| {
        let injected = injected(limits(5.0, 40.0));
        let mut failures = 0;
        for to in [NONE, limits(20.0, 20.0), limits(5.0, 0.0), limits(0.0, 20.0)] {
            for steps in 0.. {
                control.put_in_force(injected).unwrap();
                if !is_stopped(control, to, Sabotage::FailureAfter(steps)) {
                    break;
                }
                failures += 1;
                assert_eq!(control.in_force().unwrap(), injected, "to {to:?} after {steps} steps");
            }
        }
        // Three removals; two classes; a class and a removal; a class and two removals.
        assert_eq!(failures, 3 + 2 + 2 + 3);
    });
}

#[test]
fn a_later_interface_of_the_same_index_is_not_taken_for_it() {
    with_a_veth("a_later_interface", 1000, |netlink, control| {
        let ours = control.interface();
        let before = snapshot(netlink, control);
        for earlier in [
            Interface { peer_index: ours.peer_index + 7, ..ours },
            Interface { address: Some([2, 0, 0, 0, 0, 1]), ..ours },
        ] {
            let other = NetworkControl::new(earlier);
            let error = other.set_limit(limits(20.0, 20.0)).unwrap_err();
            assert!(error.is_gone() && error.to_string().contains("veth has it now"), "{error}");
            assert!(other.counters().unwrap_err().is_gone());
        }
        assert_eq!(snapshot(netlink, control), before);
    });
}

#[test]
fn rates_of_every_size_are_read_back() {
    with_a_veth("rates_of_every_size", 1000, |_, control| {
        // 2^32 bytes/s is about 34.36 Gbit/s: above it the kernel needs other attributes.
        for mbit in [0.1, 1.0, 999.999_992, 34_359.0, 34_360.0, 400_000.0] {
            let got = control.set_limit(limits(mbit, mbit)).unwrap();
            assert_eq!(got, control.rounded(limits(mbit, mbit)).unwrap());
            let Limit::At(egress) = got.egress else { panic!("{got:?}") };
            assert!((egress.get() - mbit * 1e6).abs() <= 4.0, "{mbit} Mbit/s became {egress}");
        }
    });
}
