//! From a process to the host side of its veth.

use std::path::Path;

use ballast_kernel::{Interface, KernelError, network::NoInterface};

use crate::stage::{Container, PROC, on_a_host, run};

fn reason(pid: u32) -> NoInterface {
    match Interface::of_process(Path::new(PROC), pid).unwrap_err() {
        KernelError::NoInterface { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn the_host_side_is_found_from_any_process_of_the_container() {
    on_a_host("the_host_side_is_found", || {
        let containers = ["host0", "host1"].map(|name| {
            let container = Container::start();
            // One more on this side first, so that the indices of both sides differ.
            run("ip", &format!("link add spare-{name} type ifb"));
            run("ip", &format!("link add {name} type veth peer name eth0 netns {}", container.pid()));
            container
        });
        for (name, container) in ["host0", "host1"].into_iter().zip(&containers) {
            let found = container.interface();
            let shown = run("ip", &format!("-o link show dev {name}"));
            assert!(shown.starts_with(&format!("{}:", found.index)), "{found:?}, but {shown}");
            let inside = container.inside(|| run("ip", "-o link show dev eth0"));
            assert!(inside.starts_with(&format!("{}:", found.peer_index)), "{found:?}, but {inside}");
            let second = container.inside(Container::in_this_namespace);
            assert_eq!(second.interface(), found);
        }
        assert_ne!(containers[0].interface(), containers[1].interface());
    });
}

#[test]
fn what_cannot_be_controlled_has_its_reason() {
    on_a_host("what_cannot_be_controlled_has_its_reason", || {
        let sharing = Container::in_this_namespace();
        assert_eq!(reason(sharing.pid()), NoInterface::SharesHost);
        let lonely = Container::start();
        assert_eq!(reason(lonely.pid()), NoInterface::OnlyLoopback);
        lonely.inside(|| run("ip", "link add eth0 type ifb"));
        assert_eq!(reason(lonely.pid()), NoInterface::NoVeth("eth0".to_owned()));
        let (one, other) = (Container::start(), Container::start());
        let peer = format!("link add eth0 type veth peer name eth0 netns {}", other.pid());
        one.inside(|| run("ip", &peer));
        assert_eq!(reason(one.pid()), NoInterface::PeerElsewhere("eth0".to_owned()));
        assert_eq!(reason(other.pid()), NoInterface::PeerElsewhere("eth0".to_owned()));
    });
}

#[test]
fn several_veths_are_refused_but_one_to_the_host_is_enough() {
    on_a_host("several_veths", || {
        let (container, other) = (Container::start(), Container::start());
        run("ip", &format!("link add host0 type veth peer name eth0 netns {}", container.pid()));
        let beside = format!("link add eth9 type veth peer name eth0 netns {}", other.pid());
        container.inside(|| run("ip", &beside));
        assert!(Interface::of_process(Path::new(PROC), container.pid()).is_ok());
        run("ip", &format!("link add host1 type veth peer name eth1 netns {}", container.pid()));
        let error = Interface::of_process(Path::new(PROC), container.pid()).unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("several veths") && sentence.contains("eth0"), "{sentence}");
    });
}

#[test]
fn a_process_that_is_gone_is_gone() {
    on_a_host("a_process_that_is_gone_is_gone", || {
        let container = Container::start();
        let pid = container.pid();
        drop(container);
        assert_eq!(reason(pid), NoInterface::NoSuchProcess);
        assert!(Interface::of_process(Path::new(PROC), pid).unwrap_err().is_gone());
    });
}

#[test]
fn a_container_that_was_replaced_is_another() {
    on_a_host("a_container_that_was_replaced_is_another", || {
        let first = Container::with_network("host0", 1000);
        let before = first.interface();
        run("ip", "link del dev host0");
        let second = Container::start();
        let index = before.index;
        let same_index =
            format!("link add host0 index {index} type veth peer name eth0 netns {}", second.pid());
        run("ip", &same_index);
        let after = second.interface();
        assert_eq!(after.index, before.index);
        assert_ne!(after, before);
    });
}
