//! Setting and taking back, without traffic.

use std::path::Path;

use ballast_api::Limit;
use ballast_kernel::{KernelError, network};

use crate::stage::{Container, NONE, PROC, dump, mbits, on_a_host, on_a_limiting_host, run};

#[test]
fn this_kernel_can_do_it_or_says_why_not() {
    on_a_host("this_kernel_can_do_it_or_says_why_not", || {
        let before = dump();
        let support = network::probe(Path::new(PROC));
        println!("{support:?}");
        for support in [&support.egress, &support.ingress] {
            assert!(support.as_ref().err().is_none_or(|reason| reason.contains(' ')), "{support:?}");
        }
        let container = Container::with_network("host0", 1000);
        let can = |limit| container.control().set_limit(limit).is_ok();
        assert_eq!(can(mbits(20.0, 0.0)), support.egress.is_ok());
        assert_eq!(can(mbits(0.0, 20.0)), support.ingress.is_ok());
        container.control().set_limit(NONE).unwrap();
        run("ip", "link del dev host0");
        assert_eq!(dump(), before);
    });
}

#[test]
fn limits_are_rounded_and_read_back() {
    on_a_limiting_host("limits_are_rounded_and_read_back", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        assert_eq!(control.limit().unwrap(), NONE);
        let odd = mbits(20.000_001, 33.499_998);
        let rounded = control.rounded(odd).unwrap();
        assert_eq!(rounded, mbits(20.0, 33.5));
        assert_eq!(control.limit().unwrap(), NONE);
        assert_eq!(control.set_limit(odd).unwrap(), rounded);
        assert_eq!(control.limit().unwrap(), rounded);
        let one_way = mbits(0.0, 5.0);
        assert_eq!(control.set_limit(one_way).unwrap(), one_way);
        assert!(!run("ip", "link show").contains("ballast"));
    });
}

#[test]
fn too_little_is_refused_before_anything_is_written() {
    on_a_limiting_host("too_little_is_refused", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        let before = dump();
        for limit in [mbits(0.099_9, 20.0), mbits(20.0, 0.099_9)] {
            let error = control.set_limit(limit).unwrap_err();
            assert!(matches!(error, KernelError::RateTooSmall { .. }), "{error}");
            assert!(error.to_string().contains("the smallest limit is 100000 bits/s"), "{error}");
            assert!(control.rounded(limit).is_err());
        }
        assert_eq!(dump(), before);
        assert!(matches!(control.set_limit(mbits(0.1, 0.1)).unwrap().egress, Limit::At(_)));
    });
}

#[test]
fn an_interface_that_is_gone_is_said_to_be_and_its_ifb_swept() {
    on_a_limiting_host("an_interface_that_is_gone", || {
        let empty = dump();
        let (gone, kept) = (Container::with_network("host0", 1000), Container::start());
        run("ip", &format!("link add host1 type veth peer name eth0 netns {}", kept.pid()));
        run("ip", "link add ballast type ifb");
        let (control, other) = (gone.control(), kept.control());
        control.set_limit(mbits(20.0, 20.0)).unwrap();
        other.set_limit(mbits(30.0, 30.0)).unwrap();
        assert_eq!(network::sweep().unwrap(), [""; 0]);
        run("ip", "link del dev host0");
        for error in [control.limit().unwrap_err(), control.set_limit(NONE).unwrap_err()] {
            assert!(error.is_gone(), "{error}");
        }
        assert!(control.counters().unwrap_err().is_gone());
        assert_eq!(network::sweep().unwrap(), [format!("ballast{:x}", control.interface().index)]);
        assert_eq!(other.limit().unwrap(), mbits(30.0, 30.0));
        other.set_limit(NONE).unwrap();
        run("ip", "link del dev host1");
        run("ip", "link del dev ballast");
        assert_eq!(dump(), empty);
    });
}

#[test]
fn a_downed_ifb_is_no_limit_and_is_repaired() {
    on_a_limiting_host("a_downed_ifb", || {
        let container = Container::with_network("host0", 1000);
        let control = container.control();
        control.set_limit(mbits(20.0, 0.0)).unwrap();
        run("ip", &format!("link set dev ballast{:x} down", control.interface().index));
        assert_eq!(control.limit().unwrap(), NONE);
        assert_eq!(control.set_limit(mbits(20.0, 0.0)).unwrap(), mbits(20.0, 0.0));
    });
}
